"""Ring records as the bytes that `kubectl logs` shows. Pure.

Lines keep their bytes: carriage returns, colours and what is not UTF-8. The pieces of a line are joined, each stream for itself, so
that two streams never mix within a line. A gap is a line of its own; a line of a device that looks like one is escaped with a
backslash, so that only the gateway can say that something is missing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from gateway.logs.record import FLAG_GAP, FLAG_PARTIAL, Gap, RawRecord, unpack_gap

GAP_MARK: Final = b"--- wirelet gap:"

MAX_JOINED_BYTES: Final = 64 * 1024
"""A line that is longer is shown as it comes: progress bars and hex dumps without an end must not gather in memory."""

_NS: Final = 1_000_000_000


class Renderer:
    """Turns records in order into output. offset_ns is wall time minus boot clock; stamps before since_ns are left out."""

    def __init__(self, *, timestamps: bool, offset_ns: int, since_ns: int | None = None) -> None:
        self.skipped: set[int] = set()
        """Streams that are silent up to the end of a line that began before the first record."""
        self.offset_ns = offset_ns
        self._timestamps = timestamps
        self._since_ns = since_ns
        self._pieces: dict[int, list[bytes]] = {}
        self._stamps: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._open: int | None = None
        """The stream whose line is written but not ended."""
        self._second, self._second_text = -1, b""

    @property
    def has_unfinished(self) -> bool:
        """A piece of a line waits for its rest; flush() shows it."""
        return bool(self._pieces)

    def render(self, records: Sequence[RawRecord]) -> bytes:
        """The output of whole lines; pieces wait in here."""
        out: list[bytes] = []
        since = self._since_ns
        plain = not self._timestamps and not self.skipped
        for record in records:
            stamp_ns, stream, flags, data = record
            if (since is not None and stamp_ns < since) or stream == 0:
                continue
            if plain and not flags and not self._pieces and self._open is None and GAP_MARK not in data:
                out += (data, b"\n")
                continue
            self._render_one(out, stamp_ns, stream, flags, data)
        return b"".join(out)

    def gap(self, gap: Gap) -> bytes:
        """The line of a gap that is not in the ring."""
        out: list[bytes] = []
        if self._since_ns is None or gap.to_ns >= self._since_ns:
            self._write_gap(out, gap)
        return b"".join(out)

    def flush(self) -> bytes:
        """The unfinished lines as they are; the last of them stays open for its rest."""
        out: list[bytes] = []
        for stream in list(self._pieces):
            self._write(out, stream, self._take(stream), ends=False)
        return b"".join(out)

    def _render_one(self, out: list[bytes], stamp_ns: int, stream: int, flags: int, data: bytes) -> None:
        if flags & FLAG_GAP:
            self.skipped.clear()
            self._write_gap(out, unpack_gap(data))
            return
        if stream in self.skipped:
            if not flags & FLAG_PARTIAL:
                self.skipped.discard(stream)
            return
        self._stamps.setdefault(stream, stamp_ns)
        self._pieces.setdefault(stream, []).append(data)
        size = self._sizes[stream] = self._sizes.get(stream, 0) + len(data)
        if not flags & FLAG_PARTIAL:
            self._write(out, stream, self._take(stream), ends=True)
        elif size > MAX_JOINED_BYTES:
            self._write(out, stream, self._take(stream), ends=False)

    def _take(self, stream: int) -> tuple[int, bytes]:
        self._sizes.pop(stream, None)
        return self._stamps.pop(stream), b"".join(self._pieces.pop(stream))

    def _write(self, out: list[bytes], stream: int, line: tuple[int, bytes], *, ends: bool) -> None:
        stamp_ns, data = line
        begins = self._open != stream
        if begins:
            if self._open is not None:
                out.append(b"\n")
            if self._timestamps:
                out.append(self._stamp(stamp_ns))
        out.append(escape(data, begins=begins))
        if ends:
            out.append(b"\n")
        self._open = None if ends else stream

    def _write_gap(self, out: list[bytes], gap: Gap) -> None:
        for stream in list(self._pieces):
            self._write(out, stream, self._take(stream), ends=True)
        if self._open is not None:
            out.append(b"\n")
            self._open = None
        if self._timestamps:
            out.append(self._stamp(gap.to_ns))
        out.append(gap_line(gap, self.offset_ns))

    def _stamp(self, stamp_ns: int) -> bytes:
        second, rest = divmod(stamp_ns + self.offset_ns, _NS)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%09dZ " % (self._second_text, rest)


def gap_line(gap: Gap, offset_ns: int) -> bytes:
    """The frozen text of SPEC.md, with its line end; times are UTC."""
    sizes = [f"{n} {unit}" for n, unit in ((gap.records, "records"), (gap.size_bytes, "bytes")) if n is not None]
    size = ", ".join(sizes) or "unknown size"
    times = f"{_time_of_day(gap.from_ns + offset_ns)}..{_time_of_day(gap.to_ns + offset_ns)}"
    return f"--- wirelet gap: {size}, {gap.cause.words}, {times} ---\n".encode()


def escape(data: bytes, *, begins: bool = True) -> bytes:
    """Put a backslash before what looks like a gap line at the begin of a line."""
    if GAP_MARK not in data:
        return data
    data = data.replace(b"\n" + GAP_MARK, b"\n\\" + GAP_MARK)
    return b"\\" + data if begins and data.startswith(GAP_MARK) else data


def _time_of_day(wall_ns: int) -> str:
    second, rest = divmod(wall_ns, _NS)
    return f"{time.strftime('%H:%M:%S', time.gmtime(second))}.{rest // 1_000_000:03d}"
