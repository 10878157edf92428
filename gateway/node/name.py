"""One gateway on this machine is one node of one cluster: the name is held while the process lives. Who has it on another machine is told
by the Node and its lease (gateway.node.controller)."""

from __future__ import annotations

import socket
from hashlib import sha256

from gateway.errors import ConfigError


def hold_node_name(name: str, api_server: str) -> socket.socket:
    """Hold it until the socket is closed or the process ends, however it ends. Raises ConfigError."""
    held = socket.socket(socket.AF_UNIX)
    try:
        # An abstract address: no file, so nothing is left behind.
        held.bind(f"\0wirelet-node-{sha256(f'{api_server} {name}'.encode()).hexdigest()}")
    except OSError as error:
        held.close()
        raise ConfigError(
            [("node.name", f"another gateway on this machine is node {name}; give this gateway a name of its own")]
        ) from error
    return held
