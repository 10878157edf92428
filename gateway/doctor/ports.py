"""What is wrong with the ports themselves, by the kernel's own tables. Blocks; opens no port that nobody else has open."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.devices.port_addresses import Address
from gateway.doctor.finding import Finding
from gateway.doctor.line import takes_xon_xoff
from gateway.doctor.openers import Holder, holders
from gateway.doctor.udev import group_name

CONSOLES: Final = Path("/proc/consoles")
USB_TTYS: Final = ("ttyUSB", "ttyACM")
RESTARTS: Final = "a board that is wired to restart by them does so once after it is plugged in, at the gateway's first open, and not again"
_LOGINS: Final = ("agetty", "getty", "login")


def of_ports(ports: Mapping[str, Address], gateway: int | None) -> Iterator[Finding]:
    """What is wrong with the ports themselves. gateway is the process that may have them open."""
    nodes = {port.path: device for device, port in ports.items() if port.path.startswith("/")}
    for device, port in ports.items():
        if port.why_not:
            yield Finding(device, port.why_not, "plug it in, or look for it with: wirelet get devices --all", reason="PortAbsent")
    consoles = kernel_consoles(CONSOLES.read_text())
    for node, device in nodes.items():
        with suppress(FileNotFoundError):  # unplugged since its address was asked for
            yield from _of_node(node, device, consoles)
    yield from _of_openers(nodes, gateway)


def _of_node(node: str, device: str, consoles: Collection[str]) -> Iterator[Finding]:
    name = os.path.basename(os.path.realpath(node))
    if not os.access(node, os.R_OK | os.W_OK):
        fix = f"as root: usermod -aG {group_name(os.stat(node).st_gid)} $USER; then log in anew"
        yield Finding(device, f"you may not open {node}", fix, reason="PortForbidden")
    if name in consoles:
        fix = f"take console={name} out of the kernel's command line, and restart"
        yield Finding(device, f"{node} is the kernel's console, which writes there whenever it likes", fix, reason="KernelConsole")
    if name.startswith(USB_TTYS):
        problem = f"to open {node} raises DTR and RTS, which Linux does by itself"
        yield Finding(device, problem, RESTARTS, is_note=True, reason="ModemLines")


def _of_openers(nodes: Mapping[str, str], gateway: int | None) -> Iterator[Finding]:
    """Who has them open, and how the gateway has them: what it has not open is set up when it opens it."""
    ours = set(nodes) if gateway == os.getpid() else set()
    for holder in holders(nodes):
        if holder.pid == gateway:
            ours.add(holder.node)
        else:
            problem = f"{holder.node} is open in process {holder.pid} ({holder.command})"
            yield Finding(nodes[holder.node], problem, ending_of(holder), reason="PortHeld")
    for node in sorted(ours):
        if gateway is not None and takes_xon_xoff(node, gateway):
            problem = f"somebody has turned XON/XOFF on for {node}, which takes the bytes 0x11 and 0x13 out of what is sent"
            yield Finding(nodes[node], problem, f"turn it off: stty -F {node} -ixon -ixoff", reason="XonXoff")


def kernel_consoles(text: str) -> frozenset[str]:
    """Names of ttys in /proc/consoles."""
    return frozenset(line.split()[0] for line in text.splitlines() if line.strip())


def ending_of(holder: Holder) -> str:
    if holder.command in _LOGINS and holder.unit:
        return f"to have a board there: systemctl mask --now {holder.unit}"
    return f"end it: systemctl stop {holder.unit}" if holder.unit else f"end it: kill {holder.pid}"
