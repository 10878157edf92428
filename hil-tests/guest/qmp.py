"""QEMU's machine protocol: one command at a time over its unix socket. Events are not looked at."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ANSWER_TIMEOUT_S: Final = 20.0
LET_GO_TIMEOUT_S: Final = 10.0
"""QEMU frees the id and the chardev of a device some time after device_del has answered: the guest has a say in it."""
RETRY_S: Final = 0.02


class QmpError(Exception):
    """QEMU refused a command; the message is its own."""


class Qmp:
    """May be used from several threads."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rw", encoding="utf-8", newline="\n")
        self._lock = threading.Lock()
        self._lines.readline()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """What it returns. Raises QmpError."""
        with self._lock:
            self._lines.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
            self._lines.flush()
            while line := self._lines.readline():
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise QmpError(answer["error"]["desc"])
        raise QmpError(f"QEMU ended before it answered {command}")

    def execute_when_free(self, command: str, arguments: Mapping[str, Any]) -> None:
        """As execute, again and again while QEMU says that an earlier user has not let go."""
        deadline = time.monotonic() + LET_GO_TIMEOUT_S
        while True:
            try:
                self.execute(command, arguments)
                return
            except QmpError as error:
                if not any(reason in str(error) for reason in ("in use", "busy", "Duplicate", "duplicate")) or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_S)

    def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(OSError):  # a command that could not be sent
            self._lines.close()
        self._socket.close()
