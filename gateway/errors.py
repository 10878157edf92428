"""The gateway's error tree. Messages are for people: what is wrong, where, and what is allowed."""

from __future__ import annotations


class GatewayError(Exception):
    """Base of the tree; never raised itself."""


class ConfigError(GatewayError):
    """The configuration cannot be used. path is the key, for example devices[2].link.serial.baud."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message
