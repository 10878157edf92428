"""What the ports of this machine lack of what Wirelet's udev rules give, each with the way to mend it. Pure."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.doctor.finding import Finding
from gateway.doctor.udev_database import Device

GROUP: Final = "dialout"
MODE: Final = 0o660
LOCAL_RULES: Final = "/etc/udev/rules.d/60-wirelet-local.rules"
LOCAL_TABLE: Final = "/etc/udev/hwdb.d/62-local.hwdb"
NOT_A_UART: Final = "0"
"""The `type` of a port that the device tree promises and the board does not have."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What the kernel says of a device that udev knows."""

    group: str = ""
    mode: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Of sysfs, as far as there are such: latency_timer, type, console."""


def find(devices: Sequence[Device], states: Mapping[str, NodeState]) -> list[Finding]:
    """Everything, in the order of the nodes. states are by path; a device without one was unplugged meanwhile and is passed over."""
    ours = [device for device in devices if device.path in states and device.properties.get("WIRELET_IGNORE") != "1"]
    each = (_of_device(device, states[device.path]) for device in sorted(ours, key=lambda device: device.node))
    return [*itertools.chain.from_iterable(each), *_shared_names(ours)]


def of_process(name: str) -> Finding | None:
    """What a process of that name does to ports, whatever the rules say."""
    if name != "brltty":
        return None
    problem = "runs, and looks for braille displays behind USB adapters like yours by itself"
    return Finding("brltty", problem, "if nobody here reads braille: systemctl mask --now brltty.service", is_note=True)


def _of_device(device: Device, state: NodeState) -> Iterator[Finding]:
    if device.is_uart and state.attributes.get("type") == NOT_A_UART:
        return
    if device.is_uart and state.attributes.get("console") == "Y":
        fix = "to have a board there, take console=... out of the kernel's command line and mask its serial-getty"
        yield Finding(device.node, "is the kernel's console", fix, is_note=True)
        return
    if device.is_port:
        yield from _of_port(device, state)
    if device.chip and device.is_usb_device and device.properties.get("ID_MM_DEVICE_IGNORE") != "1":
        yield Finding(device.node, "ModemManager may take the device", _again(device))
    if device.is_port or (device.chip and device.is_usb_device):
        yield from _of_node(device, state)


def _of_port(device: Device, state: NodeState) -> Iterator[Finding]:
    if "wirelet" not in device.tags or not device.names:
        yield Finding(device.node, "the rules have not run for it", _again(device))
        return
    if device.is_usb_tty and not device.chip:
        problem = f"{_ids(device)} is not in the table, so ModemManager and others may open it"
        entry = f"usb:v{_id(device, 'VENDOR')}p{_id(device, 'MODEL')}*"
        fix = f"if it is a board: printf '%s\\n WIRELET_CHIP=mine\\n' '{entry}' >>{LOCAL_TABLE}; wirelet udev install"
        yield Finding(device.node, problem, fix, is_note=True)
    if device.is_usb_tty and device.chip and device.properties.get("ID_MM_PORT_IGNORE") != "1":
        yield Finding(device.node, "ModemManager may open it", _again(device))
    wanted, has = device.properties.get("WIRELET_LATENCY_MS"), state.attributes.get("latency_timer")
    if wanted and has and wanted != has:
        adapter = device.path.rpartition("/tty/")[0]  # which the driver gives the attribute
        yield Finding(
            device.node, f"its latency timer is {has} ms instead of {wanted} ms", f"as root: udevadm trigger --settle /sys{adapter}"
        )


def _of_node(device: Device, state: NodeState) -> Iterator[Finding]:
    if state.group != GROUP or state.mode != MODE:
        problem = f"belongs to group {state.group} with mode {state.mode:04o} instead of {GROUP} with {MODE:04o}"
        yield Finding(device.node, problem, f"{_again(device)}; if it stays, `udevadm test /sys{device.path}` names the rules that differ")


def _shared_names(devices: Iterable[Device]) -> Iterator[Finding]:
    """Two boards that say the same serial number: one of them has no name by it, and which one is chance."""
    claims: dict[str, list[Device]] = collections.defaultdict(list)
    for device in devices:
        for name in device.names:
            claims[name].append(device)
    for name, claimants in sorted(claims.items()):
        if len(claimants) > 1:
            serial = claimants[0].properties.get("ID_SERIAL_SHORT", "")
            fix = f'use their names in /dev/wirelet/by-port, and say so: ENV{{ID_SERIAL_SHORT}}=="{serial}", ENV{{WIRELET_FAKE_SERIAL}}="1"'
            nodes = " and ".join(sorted(device.node for device in claimants))
            yield Finding(f"/dev/{name}", f"{nodes} both want that name", f"{fix} in {LOCAL_RULES}")


def _again(device: Device) -> str:
    return f"as root: udevadm trigger --settle /sys{device.path}"


def _ids(device: Device) -> str:
    return f"{_id(device, 'VENDOR').lower()}:{_id(device, 'MODEL').lower()}"


def _id(device: Device, which: str) -> str:
    return device.properties.get(f"ID_{which}_ID", "????").upper()
