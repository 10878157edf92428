"""virtual-kubelet's environment and flags win over the file, flags over the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Configuration, check
from gateway.errors import ConfigError
from gateway.overrides import Flags, apply, empty_document

FILE = {
    **empty_document(),
    "node": {"name": "from-file", "address": "10.0.0.1"},
    "cluster": {"kubeconfig": "/file/kubeconfig"},
    "server": {"port": 10250},
    "classes": [{"name": "sim"}],
}


def configured(environment: dict[str, str] | None = None, **flags: object) -> Configuration:
    return check(apply(FILE, environment or {}, Flags(**flags)))  # type: ignore[arg-type]  # flags come from a table


def test_nothing_said_is_the_file() -> None:
    assert configured() == check(dict(FILE))


def test_the_environment_wins_over_the_file() -> None:
    configuration = configured(
        {
            "KUBECONFIG": "/env/kubeconfig",
            "APISERVER_CERT_LOCATION": "/env/cert",
            "APISERVER_KEY_LOCATION": "/env/key",
            "KUBELET_PORT": "10999",
            "VKUBELET_POD_IP": "10.9.9.9",
            "DEFAULT_NODE_NAME": "from-env",
        }
    )
    assert configuration.cluster is not None
    assert configuration.cluster.kubeconfig == "/env/kubeconfig"
    assert (configuration.server.cert_file, configuration.server.key_file) == ("/env/cert", "/env/key")
    assert configuration.server.port == 10999
    assert (configuration.node.name, configuration.node.address) == ("from-env", "10.9.9.9")


def test_flags_win_over_the_environment() -> None:
    configuration = configured({"DEFAULT_NODE_NAME": "from-env"}, nodename="from-flag", os="Linux", namespace="lab")
    assert configuration.node.name == "from-flag"
    assert configuration.cluster is not None
    assert configuration.cluster.namespace == "lab"


@pytest.mark.parametrize(
    ("environment", "flags", "taint"),
    [
        ({}, {}, "virtual-kubelet.io/provider=wirelet:NoSchedule"),
        ({"VKUBELET_TAINT_KEY": "k"}, {}, "k=wirelet:NoSchedule"),
        ({"VKUBELET_TAINT_VALUE": "v", "VKUBELET_TAINT_EFFECT": "NoExecute"}, {}, "virtual-kubelet.io/provider=v:NoExecute"),
        ({"VKUBELET_TAINT_KEY": "k"}, {"taint": "from-flag"}, "from-flag=wirelet:NoSchedule"),
        ({"VKUBELET_TAINT_KEY": "k"}, {"disable_taint": True}, None),
    ],
)
def test_the_taint(environment: dict[str, str], flags: dict[str, object], taint: str | None) -> None:
    assert configured(environment, **flags).node.taint == taint


def test_a_provider_file_gives_the_nodes_capacity(tmp_path: Path) -> None:
    path = tmp_path / "vk.json"
    path.write_text('{"from-file": {"cpu": "2", "memory": "32Gi", "pods": 128}}')
    assert configured(provider_config=str(path)).node.capacity == {"cpu": "2", "memory": "32Gi", "pods": "128"}
    with pytest.raises(ConfigError, match="has no object for node 'other'"):
        configured(nodename="other", provider_config=str(path))


def test_the_mock_provider_shares_every_class() -> None:
    assert configured(provider="mock").classes[0].shared
    with pytest.raises(ConfigError, match="--provider: must be one of wirelet, mock, not 'azure'"):
        configured(provider="azure")


def test_a_wrong_value_is_told_like_one_in_the_file() -> None:
    with pytest.raises(ConfigError, match=r"server\.port: must be a whole number, not 'high'"):
        configured({"KUBELET_PORT": "high"})


def test_a_node_that_is_no_mapping_is_told_by_the_check_and_not_by_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "provider.json").write_text('{"desk": {"cpu": "2"}}')
    with pytest.raises(ConfigError):
        check(apply({**empty_document(), "node": ["desk"]}, {}, Flags(provider_config=str(tmp_path / "provider.json"))))
