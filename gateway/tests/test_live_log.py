"""A log for somebody who looks on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.logs.clock import SystemClock
from gateway.logs.live import look_on
from gateway.logs.record import Entry, Stream
from gateway.logs.store import AttemptKey, LogStore

KEY = AttemptKey("uid-1", "main", 1)


@pytest.mark.anyio
async def test_who_looks_on_gets_what_comes_after_the_call_and_nothing_older(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=1 << 20)
    store.append(KEY, [Entry(0, Stream.STDOUT, b"older", False, 1, 1)])
    looking = look_on(store, KEY, clock=SystemClock())
    store.append(KEY, [Entry(1, Stream.STDOUT, b"before the first look", False, 1, 2), Entry(2, Stream.STDERR, b"login: ", True, 1, 3)])
    store.close_attempt(KEY)
    assert [piece async for piece in looking] == [(Stream.STDOUT, b"before the first look\n"), (Stream.STDERR, b"login: ")]
    store.close()
