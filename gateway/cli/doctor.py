"""`wirelet doctor`: what keeps the ports of a configuration from working, each with the command that mends it.

It opens no port that nobody has open, but for the one that `--loopback` names.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.client import add_socket_argument, socket_path
from gateway.cli.documents import add_output_argument, tell
from gateway.cli.guard import clash_of_transports
from gateway.doctor.packages import clashes
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Configuration

DEFAULT_FILE: Final = "/etc/wirelet/gateway.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", default=DEFAULT_FILE, help=f"the configuration (default: {DEFAULT_FILE})")
    parser.add_argument("--loopback", metavar="PORT", help="open this port, whose TX and RX are joined, and send every byte value")
    add_output_argument(parser)
    add_socket_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 and `ok`, 1 when something needs somebody to act, or the configuration is wrong."""
    if clash := clash_of_transports():
        print(f"wirelet doctor: {clash}", file=sys.stderr)
        return 1
    if hidden := list(clashes()):  # then nothing else can be believed, and much cannot be imported
        return tell([], hidden, arguments.output)
    if arguments.loopback is not None:
        from gateway.cli import loopback

        return loopback.run(arguments.loopback, arguments.output)
    import anyio

    from gateway import config
    from gateway.devices.port_addresses import addresses
    from gateway.devices.ssh_targets import ask
    from gateway.doctor.examination import examine

    try:
        configuration = config.load(arguments.config)
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"wirelet doctor: {line}", file=sys.stderr)
        return 1
    ports = anyio.run(addresses, configuration)
    gateway = gateway_pid(socket_path(arguments.socket, {**os.environ, **_socket_of(configuration)}))
    rows = [
        {"device": device, "port": port.path, "state": port.why_not or "there"}
        for device, port in ports.items()
        if port.path or port.why_not
    ]
    return tell(rows, examine(configuration, ports, gateway, anyio.run(ask, configuration)), arguments.output)


def gateway_pid(path: Path) -> int | None:
    """Of the gateway that listens there; None when none does."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(os.fspath(path))
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    return int(struct.unpack("3i", credentials)[0])


def _socket_of(configuration: Configuration) -> dict[str, str]:
    """A configuration may say where its gateway's socket is."""
    folder = configuration.runtime_directory
    return {} if folder is None else {"WIRELET_SOCKET": str(Path(folder) / "wirelet.sock")}
