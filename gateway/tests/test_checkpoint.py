"""Checkpoints survive a kill in the midst of a write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.logs.checkpoint import MAX_TAIL_BYTES, SLOT_BYTES, CheckpointFile, CheckpointSlots, SavedCheckpoint, checkpoint_path

OLD = SavedCheckpoint(boot_id=0xFFFFFFFF, epoch=1, expected=2**63, tail=b"\x93\xce", sid=255, uptime_ms=7)
NEW = SavedCheckpoint(boot_id=2, epoch=0xFFFFFFFF, expected=2**63 + 90, tail=b"\x93" * 700, sid=1, uptime_ms=2**32 - 1)


def test_a_device_never_seen_has_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointFile(checkpoint_path(tmp_path, "board/../a")).value is None


def test_the_newest_checkpoint_is_found_by_the_next_process(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, "board-a")
    file = CheckpointFile(path)
    for number in range(5):
        file.save(SavedCheckpoint(1, 2, expected=number))
    file.close()
    assert CheckpointFile(path).value == SavedCheckpoint(1, 2, expected=4)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_tmpfs_is_told_when_the_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by a signal when it is written."""

    def no_space(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(OSError, match="No space left"):
        CheckpointFile(checkpoint_path(tmp_path, "board-a"))


def test_any_prefix_of_a_write_leaves_the_old_or_the_new_value() -> None:
    memory = bytearray(2 * SLOT_BYTES)
    slots = CheckpointSlots(memoryview(memory))
    slots.save(SavedCheckpoint(boot_id=3, epoch=4, expected=5, tail=b"\x93" * 300))
    slots.save(OLD)
    before = bytes(memory)
    slots.save(NEW)
    after = bytes(memory)
    found = [CheckpointSlots(memoryview(bytearray(after[:cut] + before[cut:]))).value for cut in range(len(before) + 1)]
    assert set(found) == {OLD, NEW}
    assert found == sorted(found, key=lambda value: value == NEW), "once new, never old again"


def test_a_damaged_slot_leaves_the_one_before() -> None:
    memory = bytearray(2 * SLOT_BYTES)
    slots = CheckpointSlots(memoryview(memory))
    slots.save(OLD)
    slots.save(NEW)
    for at in range(60):
        damaged = bytearray(memory)
        damaged[at] ^= 0x10
        assert CheckpointSlots(memoryview(damaged)).value == OLD


def test_a_tail_that_is_no_half_record_is_refused() -> None:
    slots = CheckpointSlots(memoryview(bytearray(2 * SLOT_BYTES)))
    slots.save(SavedCheckpoint(1, 1, tail=bytes(MAX_TAIL_BYTES)))
    with pytest.raises(ValueError, match="exceeds"):
        slots.save(SavedCheckpoint(1, 1, tail=bytes(MAX_TAIL_BYTES + 1)))
