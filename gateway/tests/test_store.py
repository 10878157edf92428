"""Logs of many attempts in one budget, across restarts and without space."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.logs.file import SEGMENT_BYTES
from gateway.logs.record import Entry, GapCause, Stream, unpack_gap
from gateway.logs.store import SHORTAGE_S, AttemptKey, DeviceKey, LogKey, LogStore

FIRST, SECOND = AttemptKey("uid-1", "main", 1), AttemptKey("uid-1", "main", 2)
OTHER, BOARD = AttemptKey("uid-2", "main", 1), DeviceKey("board/ä")


def lines(count: int, start: int = 0, size: int = 80) -> list[Entry]:
    return [Entry(n, Stream.STDOUT, b"%0*d" % (size, n), False, 1, n + 1) for n in range(start, start + count)]


def content(store: LogStore, key: LogKey) -> list[bytes]:
    log = store.find(key)
    assert log is not None
    assert log.ring is not None
    return [record[3] for record in log.ring.read(log.ring.oldest(), 1 << 30)]


@contextmanager
def full_tmpfs(monkeypatch: pytest.MonkeyPatch, directory: Path | None = None) -> Iterator[None]:
    """The operating system says what it says when a tmpfs is full: of what directory holds now, or for ever."""
    most = None if directory is None else len(list(directory.iterdir()))
    allocate = os.posix_fallocate

    def no_space(fd: int, offset: int, size: int) -> None:
        if directory is not None and most is not None and len(list(directory.iterdir())) <= most:
            allocate(fd, offset, size)
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_space)
        yield


def test_the_next_process_finds_every_log_and_drops_resends(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "logs", budget_bytes=1 << 20)
    for key in (FIRST, SECOND, OTHER, BOARD):
        store.append(key, lines(10))
    store.close_attempt(FIRST)
    store.close()

    again = LogStore(tmp_path / "logs", budget_bytes=1 << 20)
    again.reopen_all()
    assert {info.key: (info.records, info.epoch, info.offset, info.closed) for info in again.rings()} == {
        FIRST: (10, 1, 10, True),
        SECOND: (10, 1, 10, False),
        OTHER: (10, 1, 10, False),
        BOARD: (10, 1, 10, False),
    }
    again.append(SECOND, lines(12))
    assert content(again, SECOND) == [entry.data for entry in lines(12)]
    assert again.allocated_bytes == 4 * SEGMENT_BYTES


def test_a_process_that_was_killed_left_the_same_as_one_that_ended(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=1 << 20)
    store.append(FIRST, lines(2000))
    again = LogStore(tmp_path, budget_bytes=1 << 20)  # the first was never closed
    again.reopen_all()
    assert content(again, FIRST) == content(store, FIRST)
    assert again.allocated_bytes == store.allocated_bytes == 4 * SEGMENT_BYTES


def test_a_released_pod_leaves_nothing(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=1 << 20)
    for key in (FIRST, SECOND, OTHER, BOARD):
        store.append(key, lines(1))
    store.release("uid-1")
    store.release_attempt(OTHER)
    store.release("uid-unknown")
    assert [info.key for info in store.rings()] == [BOARD]
    assert len(list(tmp_path.iterdir())) == 1
    assert store.allocated_bytes == SEGMENT_BYTES


def test_a_log_grows_to_its_bound_and_then_drops_its_oldest(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=16 << 20, ring_bytes=3 * SEGMENT_BYTES)
    for start in range(0, 10_000, 100):
        store.append(FIRST, lines(100, start))
    assert store.allocated_bytes == 3 * SEGMENT_BYTES
    kept = content(store, FIRST)
    assert kept[-1] == b"%080d" % 9999
    assert 1700 <= len(kept) <= 1880
    [path] = tmp_path.iterdir()
    assert path.stat().st_blocks * 512 == 3 * SEGMENT_BYTES


def test_a_pod_may_have_a_size_of_its_own_which_its_logs_keep(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=16 << 20, ring_bytes=3 * SEGMENT_BYTES)
    store.limit("uid-1", 5 * SEGMENT_BYTES + 1)
    for key in (FIRST, OTHER):
        store.append(key, lines(10_000))
    assert store.allocated_bytes == (5 + 3) * SEGMENT_BYTES
    store.close()

    again = LogStore(tmp_path, budget_bytes=16 << 20, ring_bytes=3 * SEGMENT_BYTES)
    again.reopen_all()
    for key in (FIRST, OTHER):
        again.append(key, lines(10_000, 10_000))
    assert again.allocated_bytes == (5 + 3) * SEGMENT_BYTES
    again.limit("uid-1", None)
    again.append(SECOND, lines(10_000))
    assert again.allocated_bytes == (5 + 3 + 3) * SEGMENT_BYTES


@pytest.mark.parametrize(("asked", "segments"), [(1, 1), (1 << 40, 6)])
def test_a_size_is_a_segment_at_least_and_never_beyond_the_budget(tmp_path: Path, asked: int, segments: int) -> None:
    store = LogStore(tmp_path, budget_bytes=8 * SEGMENT_BYTES)
    store.limit("uid-1", asked)
    store.append(FIRST, lines(10_000))
    assert store.allocated_bytes == segments * SEGMENT_BYTES


def test_a_firehose_cannot_starve_the_next_pod(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=8 * SEGMENT_BYTES)
    store.append(FIRST, lines(10_000))
    assert store.allocated_bytes == 6 * SEGMENT_BYTES
    store.append(SECOND, lines(1))
    store.append(OTHER, lines(1))
    assert content(store, SECOND) == content(store, OTHER) == [entry.data for entry in lines(1)]
    assert store.counters.evicted == 0


def test_when_the_budget_is_used_up_the_oldest_closed_log_goes_and_says_so(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=2 * SEGMENT_BYTES)
    store.append(FIRST, lines(7))
    store.append(SECOND, lines(3, 100))
    store.close_attempt(SECOND)
    store.close_attempt(FIRST)
    store.append(OTHER, lines(1))
    assert {info.key for info in store.rings()} == {SECOND, OTHER}
    lost = store.find(FIRST)
    assert lost is not None
    assert lost.lost is not None
    assert (lost.lost.records, lost.lost.size_bytes, lost.lost.cause, lost.lost.to_ns) == (7, 560, GapCause.LOG_FULL, 6)
    assert store.counters.evicted == 1


def test_output_without_any_room_is_declared_as_a_gap_later(tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=SEGMENT_BYTES)
    store.append(FIRST, lines(1))
    store.append(OTHER, lines(5))
    store.append(OTHER, lines(2, 5))
    assert store.counters.refused_records == 7
    assert store.shortage == "logs.budget is used up by containers that run"
    store.release("uid-1")
    store.append(OTHER, lines(1, 7))
    gap, line = content(store, OTHER)
    assert line == b"%080d" % 7
    assert unpack_gap(gap)[:3] == (7, 560, GapCause.NO_SPACE)


def test_a_full_tmpfs_costs_old_records_and_no_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, begun = [1000.0], []
    store = LogStore(tmp_path, budget_bytes=16 << 20, now=lambda: now[0])
    store.shortage_began = lambda: begun.append(now[0])
    store.append(FIRST, lines(10))
    assert (store.shortage, store.shortage_ends_at) == ("", None)
    with full_tmpfs(monkeypatch):
        store.append(FIRST, lines(5000, 10))
        store.append(OTHER, lines(3))
        assert [path.name for path in tmp_path.iterdir()] == [next(tmp_path.glob("*.ring")).name], "no half-made file is left"
    assert store.counters.no_space >= 2
    assert (store.shortage, begun) == (f"{tmp_path}: No space left on device", [1000.0])
    now[0] += SHORTAGE_S
    assert (store.shortage, store.shortage_ends_at) == ("", None)
    assert content(store, FIRST)[-1] == b"%080d" % 5009
    assert store.allocated_bytes == SEGMENT_BYTES
    store.append(OTHER, lines(1, 3))
    assert len(content(store, OTHER)) == 2


def test_on_a_full_tmpfs_the_oldest_log_of_an_ended_container_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LogStore(tmp_path, budget_bytes=16 << 20)
    store.append(FIRST, lines(10))
    store.close_attempt(FIRST)
    with full_tmpfs(monkeypatch, tmp_path):
        store.append(OTHER, lines(3))
        assert len(content(store, OTHER)) == 3
        assert store.counters.evicted == 1
        assert store.shortage
        lost = store.find(FIRST)
        assert lost is not None
        assert lost.lost is not None
        assert lost.lost.records == 10


def test_files_that_are_no_rings_are_removed_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = LogStore(tmp_path, budget_bytes=1 << 20)
    store.append(FIRST, lines(3))
    store.append(OTHER, lines(3))
    store.close()
    (tmp_path / "empty.ring").touch()
    (tmp_path / "zeros.ring").write_bytes(bytes(SEGMENT_BYTES))
    path = sorted(tmp_path.glob("????????????????????????????????.ring"))[0]
    with path.open("r+b") as file:
        file.seek(256)  # the slot that counts after one append
        file.write(b"\xff" * 64)
    again = LogStore(tmp_path, budget_bytes=1 << 20)
    again.reopen_all()
    assert again.counters.corrupt == 3
    assert len(again.rings()) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_log_of_another_version_is_removed_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = LogStore(tmp_path, budget_bytes=1 << 20)
    store.append(FIRST, lines(3))
    store.close()
    (path,) = tmp_path.glob("*.ring")
    with path.open("r+b") as file:
        file.write(b"WLRING01")
    again = LogStore(tmp_path, budget_bytes=1 << 20)
    again.reopen_all()
    assert (again.counters.corrupt, list(tmp_path.iterdir())) == (1, [])
    (told,) = caplog.records
    assert (told.getMessage(), told.__dict__["error"]) == ("a log file cannot be taken over and was removed", "no ring of this version")


def test_logs_belong_to_their_user_alone(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "run" / "logs", budget_bytes=1 << 20)
    store.append(FIRST, lines(1))
    assert (tmp_path / "run" / "logs").stat().st_mode & 0o777 == 0o700
    assert next((tmp_path / "run" / "logs").iterdir()).stat().st_mode & 0o777 == 0o600


WRITER = """
import sys
from pathlib import Path
from gateway.logs.record import Entry, Stream
from gateway.logs.store import AttemptKey, LogStore

store = LogStore(Path(sys.argv[1]), budget_bytes=1 << 20)
store.reopen_all()
number = int(sys.argv[2])
while True:
    batch = [Entry(n, Stream.STDOUT, b"%080d" % n, False, 1, n + 1) for n in range(number, number + 1 + number % 7)]
    store.append(AttemptKey("uid-1", "main", 1), batch)
    number += len(batch)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_kill_9_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    said = 0
    for reports in (3, 50, 400, 1500, 1501):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(said)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(reports):
                said = int(writer.stdout.readline())
            writer.kill()
        store = LogStore(tmp_path, budget_bytes=1 << 20)
        store.reopen_all()
        assert store.counters.corrupt == 0
        [info] = store.rings()
        numbers = [int(line) for line in content(store, FIRST)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert info.offset == numbers[-1] + 1 >= said
        store.close()
        said = max(0, said - 20)  # the device sends again what was not acknowledged
