"""`wirelet doctor`: what keeps the ports of a configuration from working, each with the command that mends it. Opens no port."""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli import udev
from gateway.cli.client import add_socket_argument, socket_path
from gateway.cli.guard import clash_of_transports
from gateway.cli.openers import Holder, holders
from gateway.cli.table import aligned
from gateway.cli.udev_findings import Finding
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Configuration
    from gateway.devices.port_addresses import Address

DEFAULT_FILE: Final = "/etc/wirelet/gateway.yaml"
CONSOLES: Final = Path("/proc/consoles")
USB_TTYS: Final = ("ttyUSB", "ttyACM")
RESTARTS: Final = "a board that is wired to restart by them does so once after it is plugged in, at the gateway's first open, and not again"
_LOGINS: Final = ("agetty", "getty", "login")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", default=DEFAULT_FILE, help=f"the configuration (default: {DEFAULT_FILE})")
    add_socket_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 and `ok`, 1 when something needs somebody to act, or the configuration is wrong."""
    if clash := clash_of_transports():
        print(clash, file=sys.stderr)
        return 1
    import anyio

    from gateway import config
    from gateway.devices.port_addresses import addresses

    try:
        configuration = config.load(arguments.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    ports = anyio.run(addresses, configuration)
    gateway = gateway_pid(socket_path(arguments.socket, {**os.environ, **_socket_of(configuration)}))
    rows = [[device, port.path or "-", port.why_not or "there"] for device, port in ports.items() if port.path or port.why_not]
    if rows:
        sys.stdout.write(aligned(["DEVICE", "PORT", "STATE"], rows))
        sys.stdout.flush()
    findings = [*of_ports(ports, gateway), *udev.findings_of_machine()]
    for finding in findings:
        print(finding, file=sys.stderr)
    if any(not finding.is_note for finding in findings):
        return 1
    print("ok")
    return 0


def of_ports(ports: Mapping[str, Address], gateway: int | None) -> Iterator[Finding]:
    """What is wrong with the ports themselves. gateway is the process that may have them open."""
    nodes = {port.path: device for device, port in ports.items() if port.path.startswith("/")}
    for device, port in ports.items():
        if port.why_not:
            yield Finding(device, port.why_not, "plug it in, or look for it with: wirelet get devices --all")
    consoles = kernel_consoles(CONSOLES.read_text())
    for node, device in nodes.items():
        name = os.path.basename(os.path.realpath(node))
        if not os.access(node, os.R_OK | os.W_OK):
            group = Path(node).group()
            yield Finding(device, f"you may not open {node}", f"as root: usermod -aG {group} $USER; then log in anew")
        if name in consoles:
            fix = f"take console={name} out of the kernel's command line, and restart"
            yield Finding(device, f"{node} is the kernel's console, which writes there whenever it likes", fix)
        if name.startswith(USB_TTYS):
            yield Finding(device, f"to open {node} raises DTR and RTS, which Linux does by itself", RESTARTS, is_note=True)
    for holder in holders(nodes):
        if holder.pid != gateway:
            yield Finding(nodes[holder.node], f"{holder.node} is open in process {holder.pid} ({holder.command})", ending_of(holder))


def kernel_consoles(text: str) -> frozenset[str]:
    """Names of ttys in /proc/consoles."""
    return frozenset(line.split()[0] for line in text.splitlines() if line.strip())


def gateway_pid(path: Path) -> int | None:
    """Of the gateway that listens there; None when none does."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(os.fspath(path))
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    return int(struct.unpack("3i", credentials)[0])


def ending_of(holder: Holder) -> str:
    if holder.command in _LOGINS and holder.unit:
        return f"to have a board there: systemctl mask --now {holder.unit}"
    return f"end it: systemctl stop {holder.unit}" if holder.unit else f"end it: kill {holder.pid}"


def _socket_of(configuration: Configuration) -> dict[str, str]:
    """A configuration may say where its gateway's socket is."""
    folder = configuration.runtime_directory
    return {} if folder is None else {"WIRELET_SOCKET": str(Path(folder) / "wirelet.sock")}
