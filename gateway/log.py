"""The gateway's own log: one line per change of state, on stderr, key=value; systemd adds the time.

INFO is a change of state, WARNING something we recovered from, ERROR something a person must act on. Fields come in by `extra=`.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; everything else came in by extra."""
_NOISY: Final = ("asyncio", "aiohttp", "kubernetes", "urllib3")


class KeyValueFormatter(logging.Formatter):
    """`WARNING link is down device=board-a why="..."`"""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{name}={_quoted(str(value))}" for name, value in vars(record).items() if name not in _STANDARD and value is not None]
        line = " ".join([record.levelname, _one_line(record.getMessage()), *fields])
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


def _quoted(text: str) -> str:
    """A device may have put anything into it: it stays one field of one line."""
    if text and not any(character in ' "=\\' for character in text):
        return _one_line(text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_one_line(escaped)}"'


def _one_line(text: str) -> str:
    """Everything that would move a terminal's cursor becomes an escape."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)
