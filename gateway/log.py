"""The gateway's own log: one line per change of state, on stderr, key=value; systemd adds the time.

INFO is a change of state, WARNING something we recovered from, ERROR something a person must act on. Fields come in by `extra=`.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

_FIELDS: Final = ("device", "pod", "container", "reason", "why", "rung", "hook", "path", "workloads", "attempt", "node", "status")
_NOISY: Final = ("asyncio", "aiohttp", "kubernetes", "urllib3")


class KeyValueFormatter(logging.Formatter):
    """`WARNING link is down device=board-a why="..."`"""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{name}={_quoted(value)}" for name in _FIELDS if (value := getattr(record, name, None)) is not None]
        line = " ".join([record.levelname, record.getMessage(), *fields])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up(level: str = "INFO") -> None:
    """Send everything to stderr at level; libraries only warn."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _quoted(value: object) -> str:
    """One line whatever a device put into it."""
    text = str(value).encode("unicode_escape").decode() if not str(value).isprintable() else str(value)
    return f'"{text}"' if " " in text or not text else text
