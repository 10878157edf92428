"""From a container of a pod to a Program and Claims: what a device is asked to run, and what the pod pays for it. Pure.

It refuses, with the path of the key, whatever a device could not honour; it chooses no device and knows no slots.
"""

from __future__ import annotations

from typing import Final

from gateway.pods.env import References, resolve_env
from gateway.pods.expansion import expand
from gateway.pods.fields import check_fields
from gateway.pods.node import NodeAddresses
from gateway.pods.quantity import parse_quantity
from gateway.pods.refusal import TranslationError
from gateway.pods.seams import Claims, Program
from gateway.pods.view import ContainerView, PodView
from gateway.pods.volumes import check_volumes

RESOURCE_PREFIX: Final = "wirelet.dev/"
"""wirelet.dev/<class> in resources.requests or resources.limits asks for a slot on a device of that class."""
DEVICE_ANNOTATION: Final = "wirelet.dev/device"
LOG_BYTES_ANNOTATION: Final = "wirelet.dev/log-bytes"
LOG_FROM_ANNOTATION: Final = "wirelet.dev/log-from"


def translate(pod: PodView, container: ContainerView, references: References, node: NodeAddresses) -> Program:
    """Everything that container wants to run, with nothing left to look up. Raises TranslationError."""
    check_fields(pod)
    check_volumes(pod, container)
    if not container.image:
        raise TranslationError(f"{container.path}.image", "the image names the program to run and is empty")
    env = resolve_env(pod, container, references, node)
    argv = tuple(expand(str(word), env) for word in (*container.command, *container.args))
    return Program(container.image, argv, tuple(env.items()), tty=container.tty, stdin=container.stdin, working_dir=container.working_dir)


def claims_of(pod: PodView) -> Claims:
    """What every container of the pod asks for. Raises TranslationError for what no container can have."""
    containers = {container.name: _classes(container) for container in pod.all_containers}
    inits = frozenset(container.name for container in pod.init_containers)
    return Claims(containers, pod.annotations.get(DEVICE_ANNOTATION) or None, inits, _log_bytes(pod), _is_from_boot(pod))


def _log_bytes(pod: PodView) -> int | None:
    written = pod.annotations.get(LOG_BYTES_ANNOTATION)
    if not written:
        return None
    path = f"metadata.annotations.{LOG_BYTES_ANNOTATION}"
    try:
        size = parse_quantity(written)
    except ValueError as error:
        raise TranslationError(path, str(error)) from error
    if size < 1:
        raise TranslationError(path, f"{written} must be a number of bytes such as 256Ki or 4Mi")
    return int(size)


def _is_from_boot(pod: PodView) -> bool:
    written = pod.annotations.get(LOG_FROM_ANNOTATION) or "start"
    if written not in ("start", "boot"):
        raise TranslationError(f"metadata.annotations.{LOG_FROM_ANNOTATION}", f"{written} must be start or boot")
    return written == "boot"


def claimed_class(container: ContainerView) -> str | None:
    """The class whose resource this container requests itself. Raises TranslationError."""
    return next(iter(_classes(container)), None)


def _classes(container: ContainerView) -> dict[str, int]:
    classes: dict[str, int] = {}
    # The API server defaults requests of extended resources from limits and holds them equal.
    for kind in ("limits", "requests"):
        for resource, written in container.resources(kind).items():
            if not resource.startswith(RESOURCE_PREFIX):
                continue
            path = f"{container.path}.resources.{kind}.{resource}"
            try:
                count = parse_quantity(written)
            except ValueError as error:
                raise TranslationError(path, str(error)) from error
            if count not in (0, 1):
                raise TranslationError(path, f"{resource}: {written} must be 1: a container runs in one slot of one device")
            if count == 1:
                classes[resource.removeprefix(RESOURCE_PREFIX)] = 1
    if len(classes) > 1:
        asked = ", ".join(f"{RESOURCE_PREFIX}{name}" for name in sorted(classes))
        raise TranslationError(f"{container.path}.resources", f"a container runs on one device and cannot have all of {asked}")
    return classes
