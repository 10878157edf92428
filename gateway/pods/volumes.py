"""Volumes: the automatic service account volume is left out silently, every other one is refused with its path. Pure.

Every pod carries a projected volume kube-api-access-* unless automountServiceAccountToken is false; plain `kubectl run` must work on the
smallest device, so no token is asked for and no mount is made.
"""

from __future__ import annotations

from typing import Final

from gateway.pods.refusal import TranslationError
from gateway.pods.seams import JsonObject
from gateway.pods.view import ContainerView, PodView

API_ACCESS_PREFIX: Final = "kube-api-access-"
API_ACCESS_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_API_ACCESS_SOURCES: Final = frozenset({"serviceAccountToken", "configMap", "downwardAPI"})
"""The kinds that the ServiceAccount admission plug-in projects; OpenShift adds a second ConfigMap."""


def check_volumes(pod: PodView, container: ContainerView) -> None:
    """Raise TranslationError for the first volume of the pod, or mount of this container, that a device cannot have."""
    automatic: set[str] = set()
    for index, volume in enumerate(pod.spec.get("volumes") or ()):
        name = str(volume.get("name") or "")
        if not _is_api_access(volume):
            kind = next((key for key in volume if key != "name"), "emptyDir")
            raise TranslationError(
                f"spec.volumes[{index}].{kind}", f'volume "{name}" is not supported: this device holds no files', is_unsupported=True
            )
        automatic.add(name)
    for index, mount in enumerate(container.volume_mounts):
        if mount.get("name") not in automatic or mount.get("mountPath") != API_ACCESS_PATH:
            raise TranslationError(
                f"{container.path}.volumeMounts[{index}]",
                f'mount of "{mount.get("name")}" at {mount.get("mountPath")} is not supported: this device holds no files',
                is_unsupported=True,
            )


def _is_api_access(volume: JsonObject) -> bool:
    if not str(volume.get("name") or "").startswith(API_ACCESS_PREFIX):
        return False
    sources = (volume.get("projected") or {}).get("sources") or ()
    return {kind for source in sources for kind in source} == _API_ACCESS_SOURCES
