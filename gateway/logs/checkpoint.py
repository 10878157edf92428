"""How far each device's stream is stored: one small mapped file per device, written for every batch and read at the start.

Two slots are written in turn, each with a number and a CRC; the newest valid one counts. A kill in the midst of a write leaves the
one before. What the numbers mean is the protocol's; here they are plain fields.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

SLOT_BYTES: Final = 2048

_FIXED: Final = struct.Struct("<QIIQIBxH")
"""Number of the save, boot id, epoch, expected, uptime_ms, sid, tail bytes."""

_CRC: Final = struct.Struct("<I")

MAX_TAIL_BYTES: Final = SLOT_BYTES - _FIXED.size - _CRC.size
"""A tail is half a record; records are at most 1 KiB."""


class SavedCheckpoint(NamedTuple):
    """The fields of transports.protocol.Checkpoint, in its order."""

    boot_id: int
    epoch: int
    expected: int = 0
    tail: bytes = b""
    sid: int = 0
    uptime_ms: int = 0


class CheckpointSlots:
    """Two slots in 2 * SLOT_BYTES of memory. Pure: the memory is a mapped file in production."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._number, self._value = max((_read(memory, slot) for slot in (0, 1)), key=lambda found: found[0])

    @property
    def value(self) -> SavedCheckpoint | None:
        return self._value

    def save(self, value: SavedCheckpoint) -> None:
        """Saved when it returns. Raises ValueError for a tail that cannot be half a record."""
        if len(value.tail) > MAX_TAIL_BYTES:
            raise ValueError(f"tail of {len(value.tail)} bytes exceeds {MAX_TAIL_BYTES}")
        number = self._number + 1
        fixed = _FIXED.pack(number, value.boot_id, value.epoch, value.expected, value.uptime_ms, value.sid, len(value.tail))
        content = fixed + value.tail
        at = (number & 1) * SLOT_BYTES
        self._memory[at : at + len(content) + 4] = content + _CRC.pack(zlib.crc32(content))
        self._number, self._value = number, value

    def release(self) -> None:
        self._memory.release()


class CheckpointFile:
    """A device's slots in a file. Opening and closing are file operations; save() is memory only."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A sparse page of a full tmpfs would end the process with SIGBUS when it is first written.
            os.posix_fallocate(fd, 0, 2 * SLOT_BYTES)
            self._map = mmap.mmap(fd, 2 * SLOT_BYTES)
        finally:
            os.close(fd)
        self._slots = CheckpointSlots(memoryview(self._map))

    @property
    def value(self) -> SavedCheckpoint | None:
        return self._slots.value

    def save(self, value: SavedCheckpoint) -> None:
        self._slots.save(value)

    def close(self) -> None:
        self._slots.release()
        self._map.close()


def checkpoint_path(directory: Path, device: str) -> Path:
    """Where a device's checkpoint lies; the name may hold any character."""
    return directory / f"{sha256(device.encode()).hexdigest()[:32]}.checkpoint"


def _read(memory: memoryview, slot: int) -> tuple[int, SavedCheckpoint | None]:
    at = slot * SLOT_BYTES
    number, boot_id, epoch, expected, uptime_ms, sid, tail_bytes = _FIXED.unpack_from(memory, at)
    if number == 0 or tail_bytes > MAX_TAIL_BYTES:
        return 0, None
    end = at + _FIXED.size + tail_bytes
    if _CRC.unpack_from(memory, end)[0] != zlib.crc32(memory[at:end]):
        return 0, None
    return number, SavedCheckpoint(boot_id, epoch, expected, bytes(memory[end - tail_bytes : end]), sid, uptime_ms)
