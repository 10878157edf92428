"""A ring's file: mapped once at its greatest size, backed by memory segment by segment.

Only allocated segments are ever touched: a sparse page of a full tmpfs would end the process with SIGBUS. The mapping holds one
descriptor; growing opens the file anew.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

from gateway.logs.ring import HEADER_BYTES, Ring, RingCorrupt

SEGMENT_BYTES: Final = 64 * 1024
"""The unit of allocation and the smallest ring."""


class RingFile:
    """One ring and its file. Made by create() or reopen()."""

    def __init__(self, path: Path, mapping: mmap.mmap, ring: Ring, segments: int) -> None:
        self.path = path
        self.ring = ring
        self.segments = segments
        self._mapping = mapping

    @classmethod
    def create(cls, path: Path, key: bytes, max_bytes: int) -> RingFile:
        """A new ring of one segment that may grow to max_bytes. Raises OSError, ENOSPC too, and leaves no file then."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, SEGMENT_BYTES)
            os.ftruncate(fd, max_bytes)
            mapping = mmap.mmap(fd, max_bytes)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(fd)
        memory = memoryview(mapping)
        Ring.format(memory, SEGMENT_BYTES - HEADER_BYTES, key)
        return cls(path, mapping, Ring(memory), 1)

    @classmethod
    def reopen(cls, path: Path) -> RingFile:
        """The ring as the last process left it, with the greatest size that it was made for. Raises OSError, RingCorrupt."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size < SEGMENT_BYTES:
                raise RingCorrupt(f"{size} bytes are no ring")
            mapping = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        try:
            ring = Ring(memoryview(mapping))
        except RingCorrupt:
            mapping.close()
            raise
        return cls(path, mapping, ring, -(-(ring.capacity + HEADER_BYTES) // SEGMENT_BYTES))

    def extend(self) -> int:
        """Allocate one segment more, if the ring may grow; return its bytes or 0. Raises OSError."""
        if (self.segments + 1) * SEGMENT_BYTES > len(self._mapping):
            return 0
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(fd, self.segments * SEGMENT_BYTES, SEGMENT_BYTES)
        finally:
            os.close(fd)
        self.segments += 1
        return SEGMENT_BYTES

    def close(self) -> None:
        """Unmap; the file stays."""
        self.ring.release()
        self._mapping.close()

    def remove(self) -> None:
        """Unmap and delete."""
        self.close()
        self.path.unlink(missing_ok=True)
