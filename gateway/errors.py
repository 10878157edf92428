"""The gateway's error tree. Messages are for people: what is wrong, where, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence


class GatewayError(Exception):
    """Base of the tree; never raised itself."""


class ConfigError(GatewayError):
    """The configuration cannot be used. problems are (path of the key, what is allowed), for example devices[2].link.serial.baud.

    Its text is one line per problem.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{path}: {message}" if path else message for path, message in problems))
        self.problems = tuple(problems)
