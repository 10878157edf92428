"""One line that tells a person at a terminal what is waited for. Elsewhere, and for what is quick, there is none."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from gateway.cli.table import age

PATIENCE_S: Final = 0.5
"""What is done by then needs no line."""
STEP_S: Final = 1.0
_ERASE: Final = "\r\x1b[K"


@contextmanager
def waiting(what: str, stream: TextIO | None = None) -> Iterator[None]:
    """Inside, `waiting: what (3s)` stands on stderr if that is a terminal; afterwards it is gone."""
    out = sys.stderr if stream is None else stream
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    is_over = threading.Event()
    line = threading.Thread(target=_show, args=(what, out, is_over), daemon=True)
    line.start()
    try:
        yield
    finally:
        is_over.set()
        line.join()


def _show(what: str, out: TextIO, is_over: threading.Event) -> None:
    begun = time.monotonic()
    if is_over.wait(PATIENCE_S):
        return
    while True:
        text = f"waiting: {what} ({age(time.monotonic() - begun)})"
        out.write(f"{_ERASE}{text[: _columns(out) - 1]}")  # a line that wraps could not be taken back
        out.flush()
        if is_over.wait(STEP_S):
            out.write(_ERASE)
            out.flush()
            return


def _columns(out: TextIO) -> int:
    return os.get_terminal_size(out.fileno()).columns or 80
