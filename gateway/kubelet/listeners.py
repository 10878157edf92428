"""Opening the two doors: a TCP port and a unix socket. What cannot be opened is one ConfigError with the key to change."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from pathlib import Path
from typing import Final

from anyio import to_thread

from gateway.errors import ConfigError

BACKLOG: Final = 128
"""Connections waiting to be accepted; they wait for microseconds."""
MAX_UNIX_PATH_BYTES: Final = 107
"""sun_path of Linux is 108 bytes with its final zero."""
OWNER_ONLY: Final = 0o600


async def listen_tcp(address: str, port: int) -> socket.socket:
    """Listen on an IP address; `::` means every address of both families. Port 0 takes a free one. Raises ConfigError."""
    try:
        ipaddress.ip_address(address)
        return await to_thread.run_sync(_bind_tcp, address, port)
    except ValueError as error:
        raise ConfigError([("server.address", f"must be an IP address of this host, not {address!r}")]) from error
    except OSError as error:
        raise ConfigError([_explained(error, address, port)]) from error


def _bind_tcp(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    both = address == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)


def _explained(error: OSError, address: str, port: int) -> tuple[str, str]:
    match error.errno:
        case errno.EADDRINUSE:
            return "server.port", f"port {port} on {address} is taken, perhaps by a kubelet or k3s on this host; choose another server.port"
        case errno.EACCES | errno.EPERM:
            return "server.port", f"this user may not listen on port {port}; choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return "server.address", f"{address} is not an address of this host"
        case _:
            return "server.address", f"cannot listen on {address} port {port}: {os.strerror(error.errno or 0)}"


async def listen_unix(path: Path, mode: int = OWNER_ONLY) -> socket.socket:
    """Listen on a unix socket whose file mode is its guard (0600, or 0660 for a group). A socket that nobody serves is replaced.

    Raises ConfigError.
    """
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        raise ConfigError([("runtimeDirectory", f"{path} is longer than a socket's path may be ({MAX_UNIX_PATH_BYTES} bytes)")])
    try:
        return await to_thread.run_sync(_bind_unix, path, mode)
    except OSError as error:
        text = "a file of this name is in the way" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigError([("runtimeDirectory", f"cannot make the socket {path}: {text}")]) from error


def _bind_unix(path: Path, mode: int) -> socket.socket:
    if _is_served(path):
        raise ConfigError([("runtimeDirectory", f"another gateway serves {path}; stop it or choose another directory")])
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(path))
        path.chmod(mode)
        listener.listen(BACKLOG)  # nobody can connect before this, so the mode is in time
    except BaseException:
        listener.close()
        raise
    return listener


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:  # its backlog is full: somebody is there
            return True
    return True
