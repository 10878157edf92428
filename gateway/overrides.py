"""What the command line and the environment say instead of the file: the names that virtual-kubelet manifests use.

Flags win over the environment, the environment wins over the file. Works on the mapping before it is checked, so a wrong value is told with
the same key path as one in the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.config import API_VERSION, KIND
from gateway.errors import ConfigError

DEFAULT_TAINT_KEY: Final = "virtual-kubelet.io/provider"
DEFAULT_TAINT_EFFECT: Final = "NoSchedule"
PROVIDERS: Final = ("wirelet", "mock")


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `wirelet run` that change the configuration; None where not given."""

    kubeconfig: str | None = None
    nodename: str | None = None
    namespace: str | None = None
    os: str | None = None
    provider: str | None = None
    provider_config: str | None = None
    taint: str | None = None
    disable_taint: bool = False


_ENVIRONMENT: Final = {
    "KUBECONFIG": ("cluster", "kubeconfig"),
    "APISERVER_CERT_LOCATION": ("server", "certFile"),
    "APISERVER_KEY_LOCATION": ("server", "keyFile"),
    "KUBELET_PORT": ("server", "port"),
    "VKUBELET_POD_IP": ("node", "address"),
    "DEFAULT_NODE_NAME": ("node", "name"),
}


def empty_document() -> dict[str, Any]:
    """What there is without a file."""
    return {"apiVersion": API_VERSION, "kind": KIND}


def apply(document: Mapping[str, Any], environment: Mapping[str, str], flags: Flags) -> dict[str, Any]:
    """document with what environment and flags say. Raises ConfigError for a provider or provider file that cannot be used."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in document.items()}
    for name, (section, key) in _ENVIRONMENT.items():
        _put(result, section, key, environment.get(name) or None)
    _put(result, "cluster", "kubeconfig", flags.kubeconfig)
    _put(result, "cluster", "namespace", flags.namespace)
    _put(result, "node", "name", flags.nodename)
    _put(result, "node", "operatingSystem", flags.os.lower() if flags.os else None)
    _put_taint(result, environment, flags)
    if flags.provider is not None and flags.provider not in PROVIDERS:
        raise ConfigError([("--provider", f"must be one of {', '.join(PROVIDERS)}, not {flags.provider!r}")])
    if flags.provider_config is not None:
        node = result.get("node")
        name = node.get("name", "") if isinstance(node, dict) else ""
        _put(result, "node", "capacity", _capacity(Path(flags.provider_config), str(name)))
    if flags.provider == "mock":
        _share_all(result)
    return result


def _put(document: dict[str, Any], section: str, key: str, value: Any) -> None:
    if value is None:
        return
    held = document.setdefault(section, {})
    if isinstance(held, dict):
        held[key] = value


def _put_taint(document: dict[str, Any], environment: Mapping[str, str], flags: Flags) -> None:
    key = flags.taint or environment.get("VKUBELET_TAINT_KEY")
    if key or "VKUBELET_TAINT_VALUE" in environment or "VKUBELET_TAINT_EFFECT" in environment:
        value = environment.get("VKUBELET_TAINT_VALUE", "wirelet")
        effect = environment.get("VKUBELET_TAINT_EFFECT", DEFAULT_TAINT_EFFECT)
        _put(document, "node", "taint", f"{key or DEFAULT_TAINT_KEY}={value}:{effect}")
    if flags.disable_taint and isinstance(document.setdefault("node", {}), dict):
        document["node"]["taint"] = None


def _capacity(path: Path, node: str) -> dict[str, str]:
    """virtual-kubelet's JSON: {"<node name>": {"cpu": "2", "memory": "32Gi", "pods": "128"}}"""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError([("--provider-config", f"cannot read {path}: {error}")]) from error
    capacity = content.get(node) if isinstance(content, dict) else None
    if not isinstance(capacity, dict):
        raise ConfigError([("--provider-config", f"{path} has no object for node {node!r}")])
    return {name: str(quantity) for name, quantity in capacity.items()}


def _share_all(document: dict[str, Any]) -> None:
    """The mock provider takes pods that request nothing, on every class."""
    classes = document.get("classes")
    if isinstance(classes, list):
        document["classes"] = [{**section, "shared": True} if isinstance(section, dict) else section for section in classes]
