"""A log that got its name late: everything once, in order, and resends are still known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.devices.handover import hand_over_log
from gateway.logs.record import FLAG_GAP, Entry, Gap, GapCause, Stream, gap_entry
from gateway.logs.store import AttemptKey, LogStore

OLD, NEW = AttemptKey("uid", "wid-00000001", 1), AttemptKey("uid", "main", 1)
EPOCH = 7


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[LogStore]:
    store = LogStore(tmp_path / "logs", budget_bytes=1 << 20)
    yield store
    store.close()


def lines(first: int, last: int) -> list[Entry]:
    """Numbered lines of ten bytes of stream each."""
    return [Entry(number, Stream.STDOUT, b"%d" % number, False, EPOCH, number * 10) for number in range(first, last + 1)]


def held(logs: LogStore, key: AttemptKey) -> list[bytes]:
    log = logs.find(key)
    assert log is not None
    assert log.ring is not None
    records = log.ring.read(log.ring.oldest(), 1 << 20)
    return [b"gap" if flags & FLAG_GAP else data for _, _, flags, data in records]


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last + 1)]


def test_what_both_hold_comes_once(logs: LogStore) -> None:
    """The ledger and the checkpoint were lost, the rings were not: the device sent everything again, to nobody known."""
    logs.append(NEW, lines(1, 5))
    logs.append(OLD, lines(3, 9))
    hand_over_log(logs, OLD, NEW)
    assert held(logs, NEW) == numbers(1, 9)
    assert logs.find(OLD) is None


def test_a_resend_after_the_hand_over_is_known(logs: LogStore) -> None:
    logs.append(OLD, lines(1, 3))
    hand_over_log(logs, OLD, NEW)
    logs.append(NEW, lines(2, 4))
    assert held(logs, NEW) == numbers(1, 4)


def test_a_gap_stays_where_it_was(logs: LogStore) -> None:
    gap = gap_entry(Gap(None, 40, GapCause.UNKNOWN, 0, 1, 20), epoch=EPOCH, offset_end=60)
    logs.append(NEW, lines(1, 2))
    logs.append(OLD, [gap, *lines(7, 8)])
    hand_over_log(logs, OLD, NEW)
    assert held(logs, NEW) == [b"1", b"2", b"gap", b"7", b"8"]


def test_what_the_old_log_dropped_is_named(tmp_path: Path) -> None:
    logs = LogStore(tmp_path / "small", budget_bytes=1 << 20, ring_bytes=64 * 1024)
    logs.append(OLD, lines(1, 4000))
    hand_over_log(logs, OLD, NEW)
    first, second, *_ = held(logs, NEW)
    assert first == b"gap"
    assert second != b"1"
    logs.close()


def test_a_log_that_is_over_stays_over(logs: LogStore) -> None:
    logs.append(OLD, lines(1, 2))
    logs.close_attempt(OLD)
    hand_over_log(logs, OLD, NEW)
    log = logs.find(NEW)
    assert log is not None
    assert log.closed
