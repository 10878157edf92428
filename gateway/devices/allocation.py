"""Which device a container gets. Pure: decides from a picture of the devices, changes nothing.

A container that requests `wirelet.dev/<class>: 1` gets a slot of its own on a device of that class. A container without a request shares
the device of the one that pays for its pod (another slot of it, or for an init container the same one), or takes a free slot of a class
marked shared. The annotation wirelet.dev/device narrows the choice and never replaces the request (kubelet-facts 4: otherwise the
scheduler counts wrong).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from gateway.pods.seams import AdmissionRejected, Claims, StartRefused


@dataclass(frozen=True, slots=True)
class DeviceView:
    """What allocation may know of a device. ending counts the slots whose pods are on their way out; used leaves out what the container
    that asks would take over from its own pod."""

    name: str
    class_name: str
    shared: bool
    slots: int
    used: int
    ending: int
    is_ready: bool
    is_dirty: bool

    @property
    def free(self) -> int:
        return 0 if self.is_dirty else self.slots - self.used


def payer(claims: Claims, container: str) -> str | None:
    """The container whose device this one shares because it requests none itself: the first regular one that requests, else the first."""
    if _request(claims, container):
        return None
    paying = [name for name in claims.containers if _request(claims, name)]
    return next((name for name in paying if name not in claims.inits), paying[0] if paying else None)


def choose(devices: Sequence[DeviceView], claims: Claims, container: str, pod_devices: Mapping[str, str]) -> str:
    """The name of the device for container, whose pod already has pod_devices (container -> device).

    Raises AdmissionRejected when the node could never have room, StartRefused when it may have later.
    """
    request = _request(claims, container)
    if len(request) > 1 or any(count > 1 for count in request.values()):
        asked = ", ".join(f"wirelet.dev/{name}: {count}" for name, count in request.items())
        raise StartRefused("CreateContainerConfigError", f"a container runs on one device: it cannot have {asked}")
    candidates = list(devices)
    if claims.device is not None:
        candidates = [device for device in candidates if device.name == claims.device]
        if not candidates:
            known = ", ".join(device.name for device in devices) or "none"
            raise StartRefused(
                "CreateContainerConfigError", f"annotation wirelet.dev/device: no device {claims.device!r}; there are: {known}"
            )
    own = set(pod_devices.values())
    if request:
        class_name = next(iter(request))
        candidates = [device for device in candidates if device.class_name == class_name]
        if not candidates:
            raise StartRefused("CreateContainerConfigError", _not_of_class(class_name, devices, claims.device))
        return _of_class(candidates, class_name, own, claims.device, _needed(claims, class_name, pod_devices))
    return _without_request(candidates, own)


def _request(claims: Claims, container: str) -> Mapping[str, int]:
    return {name: count for name, count in claims.containers.get(container, {}).items() if count}


def _needed(claims: Claims, class_name: str, pod_devices: Mapping[str, str]) -> int:
    """Slots of the class that the pod does not have yet: for all of its containers or for none, as an admission counts them."""
    without = [name for name in claims.containers if name not in claims.inits and name not in pod_devices]
    return max(1, sum(class_name in _request(claims, name) for name in without))


def _not_of_class(class_name: str, devices: Sequence[DeviceView], selected: str | None) -> str:
    own = {device.name: device.class_name for device in devices}
    if selected is not None:
        return f"device {selected}, which the pod selects, is of class {own[selected]}, not {class_name}"
    return f"no device here is of class {class_name}; there are: {', '.join(sorted(set(own.values()))) or 'none'}"


def _of_class(candidates: Sequence[DeviceView], class_name: str, own: Set[str], selected: str | None, needed: int) -> str:
    free = [device for device in candidates if device.free > 0]
    if sum(device.free for device in free) >= needed:
        return _best(free, own)
    if selected is not None:
        raise StartRefused("DeviceBusy", f"device {selected}, which the pod selects, has no free slot for each container that requests one")
    used, slots = sum(device.used for device in candidates), sum(device.slots for device in candidates)
    if used - sum(device.ending for device in candidates) + needed > slots:
        resource = f"wirelet.dev/{class_name}"
        # InsufficientResourceError in pkg/kubelet/lifecycle/predicate.go
        text = f"Node didn't have enough resource: {resource}, requested: {needed}, used: {used}, capacity: {slots}"
        raise AdmissionRejected(f"OutOf{resource}", text)
    raise StartRefused("DeviceBusy", f"every slot of class {class_name} is held by pods that are ending, or dirty")


def _without_request(candidates: Sequence[DeviceView], own: Set[str]) -> str:
    beside = [device for device in candidates if device.name in own]
    if beside and not any(device.free for device in beside):
        raise StartRefused(
            "CreateContainerConfigError",
            f"device {beside[0].name} has no further slot for a container without a request; request wirelet.dev/{beside[0].class_name}: 1",
        )
    open_to_all = beside or [device for device in candidates if device.shared]
    if not open_to_all:
        classes = ", ".join(sorted({f"wirelet.dev/{device.class_name}" for device in candidates})) or "none"
        raise StartRefused("CreateContainerConfigError", f"the container requests no device; request one of: {classes}")
    free = [device for device in open_to_all if device.free > 0]
    if not free:
        raise StartRefused("DeviceBusy", "every slot of the shared classes is taken, or on a device that is dirty")
    return _best(free, own)


def _best(free: Sequence[DeviceView], own: Set[str]) -> str:
    """The pod's own device, then a connected one, then the emptiest, then by name: the same picture gives the same choice."""
    return min(free, key=lambda device: (device.name not in own, not device.is_ready, device.used / device.slots, device.name)).name
