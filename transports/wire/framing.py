"""Frames between zeros, and the text beside them (SPEC.md, frame and text).

`encode_frame` makes the bytes of one frame; `Deframer` turns any cut of a byte stream back into frames and text, in order. Both are
pure and know nothing of sessions or streams: a frame is the tuple (type, flag, sid, ch, off, payload) because a line at full speed
brings thousands of them a second, and text is plain bytes.

The deframer refuses nothing loudly: what is neither frame nor text is line noise, counted and kept in a short raw ring.
"""

from __future__ import annotations

import codecs
import re
import struct
from enum import Enum, auto
from typing import Final
from zlib import crc32

from cobs import cobs

DATA: Final = 0
ACK: Final = 1
DGRAM: Final = 2
SKIP: Final = 3
RST: Final = 4

Frame = tuple[int, int, int, int, int, bytes]
"""(type, flag, sid, ch, off, payload); off is the low 32 bits of a stream offset."""

HEADER_BYTES: Final = 7
FCS_BYTES: Final = 4
IDLE_TEXT_S: Final = 0.05
"""After this long without a byte a held segment is shown if it is text, and goes on being held: it may still be a frame."""
RAW_RING_BYTES: Final = 4096
"""How much line noise is kept for a person to look at."""
MIN_RUN_BYTES: Final = 8
"""Shorter printable runs inside noise are chance."""

_HEADER: Final = struct.Struct("<BBBI")
_pack_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from
_cobs_encode = cobs.encode
_cobs_decode = cobs.decode
DecodeError = cobs.DecodeError
_MARKER: Final = 0x80
_RESIDUE: Final = 0x2144DF1C
"""CRC-32 over anything followed by its own CRC-32."""
_MIN_SEGMENT_BYTES: Final = HEADER_BYTES + FCS_BYTES + 1
_KNOWN_VT: Final = frozenset(_MARKER | flag << 3 | type_ for flag in (0, 1) for type_ in (DATA, ACK, DGRAM, SKIP, RST))
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PRINTABLE_RUN: Final = re.compile(rb"[\t-\r\x1b\x20-\x7e]{%d,}" % MIN_RUN_BYTES)


def encode_frame(type_: int, flag: int, sid: int, ch: int, off: int, payload: bytes) -> bytes:
    """The frame's bytes with the zero that ends it. The caller puts a zero before it after idle or after text."""
    frame = _pack_header(_MARKER | flag << 3 | type_, sid, ch, off & 0xFFFFFFFF) + payload
    return _cobs_encode(frame + crc32(frame).to_bytes(4, "little")) + b"\0"  # type: ignore[no-any-return]  # cobs has no types


def max_segment_bytes(max_payload: int) -> int:
    """The longest encoding of a frame, with the one code byte that decoders accept after a last full block."""
    raw = HEADER_BYTES + max_payload + FCS_BYTES
    return raw + raw // 254 + 1


class _Mode(Enum):
    HOLD = auto()
    """Since the last zero everything is held: it may become a frame."""
    REST = auto()
    """The segment has outgrown every frame; it is judged in pieces until the next zero."""
    TEXT = auto()
    """The segment is text; bytes pass at once until the next zero."""


class Deframer:
    """One direction of one link. max_payload bounds what is held; the output does not depend on how the input was cut."""

    def __init__(self, max_payload: int) -> None:
        self.rx_frames = 0
        self.rx_bad = 0
        """Segments, or pieces of endless ones, that were neither frame nor text."""
        self.rx_unknown = 0
        """Good frames of a type or header version that we do not know; dropped."""
        self._max = max_segment_bytes(max_payload)
        self._mode = _Mode.HOLD
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._shown = 0
        self._idle_at: float | None = None
        self._raw = bytearray()

    @property
    def raw(self) -> bytes:
        """The newest bytes that were neither frame nor text."""
        return bytes(self._raw)

    def next_deadline(self) -> float | None:
        """When held bytes should be looked at as text, or None."""
        return self._idle_at

    def feed(self, data: bytes, now: float) -> list[Frame | bytes]:
        """Frames (tuples) and text (bytes) in the order in which they came."""
        segments = data.split(b"\0")
        tail = segments.pop()
        out: list[Frame | bytes] = []
        if segments:
            segments[0] = self._end_held(segments[0], out)
            longest = self._max
            for segment in segments:
                if _MIN_SEGMENT_BYTES <= len(segment) <= longest:
                    try:
                        frame = _cobs_decode(segment)
                        if crc32(frame) == _RESIDUE and (vt := frame[0]) in _KNOWN_VT:
                            _, sid, ch, off = _unpack_header(frame)
                            out.append((vt & 7, vt >> 3 & 1, sid, ch, off, frame[7:-4]))
                            self.rx_frames += 1
                            continue
                    except DecodeError:
                        pass
                if segment:
                    self._judge_segment(segment, out)
        if tail:
            self._hold(tail, now, out)
        return out

    def handle_deadline(self, now: float) -> list[bytes]:
        """Show held bytes that read as text; they stay held. Idle never discards a frame."""
        if self._idle_at is None or now < self._idle_at:
            return []
        self._idle_at = None
        held = self._take_held()
        self._held, self._held_bytes = [held], len(held)
        fresh = held[self._shown :]
        shows = 0x20 <= held[0] <= 0x7E if len(held) == 1 else is_text(fresh)
        if not shows:
            return []
        self._shown = len(held)
        return [fresh]

    def close(self) -> list[bytes]:
        """The link is gone: what was held is judged as if it had ended, and the next byte begins a segment."""
        out: list[Frame | bytes] = []
        held = self._take_held()
        self._mode, self._idle_at = _Mode.HOLD, None
        if held:
            self._judge(held, out)
        return [item for item in out if isinstance(item, bytes)]

    def _take_held(self) -> bytes:
        held = b"".join(self._held)
        self._held, self._held_bytes = [], 0
        return held

    def _end_held(self, segment: bytes, out: list[Frame | bytes]) -> bytes:
        """A zero ends the segment that earlier calls began; returns the whole of it when it is still to be tried as a frame."""
        mode, self._mode, self._idle_at = self._mode, _Mode.HOLD, None
        match mode:
            case _Mode.TEXT:
                if segment:
                    out.append(segment)
                return b""
            case _Mode.REST:
                self._judge_pieces(self._take_held() + segment, out)
                return b""
            case _Mode.HOLD:
                if not self._held:
                    return segment
                self._held.append(segment)
                segment = self._take_held()
                if not self._shown:
                    return segment
        frame = try_frame(segment) if len(segment) <= self._max else None
        if frame is None:
            self._judge_segment(segment, out)
        else:
            self._shown = 0
            self._deliver(frame, out)
        return b""

    def _deliver(self, frame: bytes, out: list[Frame | bytes]) -> None:
        vt, sid, ch, off = _unpack_header(frame)
        if vt not in _KNOWN_VT:
            self.rx_unknown += 1
            return
        self.rx_frames += 1
        out.append((vt & 7, vt >> 3 & 1, sid, ch, off, frame[HEADER_BYTES:-FCS_BYTES]))

    def _hold(self, tail: bytes, now: float, out: list[Frame | bytes]) -> None:
        """The newest bytes of a segment without its end."""
        if self._mode is _Mode.TEXT:
            out.append(tail)
            return
        before = self._held_bytes
        self._held.append(tail)
        self._held_bytes += len(tail)
        self._idle_at = now + IDLE_TEXT_S
        if self._mode is _Mode.HOLD and before < 2 <= self._held_bytes and not may_be_frame(b"".join(self._held)):
            self._pass_text(self._take_held()[self._shown :], out)
        elif self._held_bytes > self._max:
            self._mode = _Mode.REST
            rest = self._judge_pieces(self._take_held(), out, ended=False)
            if rest is not None:
                self._held, self._held_bytes = [rest], len(rest)

    def _pass_text(self, data: bytes, out: list[Frame | bytes]) -> None:
        self._mode, self._idle_at, self._shown = _Mode.TEXT, None, 0
        if data:
            out.append(data)

    def _judge_segment(self, segment: bytes, out: list[Frame | bytes]) -> None:
        """A whole segment that is no frame for us."""
        if not may_be_frame(segment):
            fresh, self._shown = segment[self._shown :], 0
            if fresh:
                out.append(fresh)
        elif len(segment) <= self._max and try_frame(segment) is not None:
            self._shown = 0
            self.rx_unknown += 1
        else:
            self._judge_pieces(segment, out)

    def _judge_pieces(self, segment: bytes, out: list[Frame | bytes], *, ended: bool = True) -> bytes | None:
        """Cut always at the same places, so that the output does not depend on reads. Returns what waits for more, None if it is text."""
        while len(segment) > self._max:
            piece, segment = segment[: self._max], segment[self._max :]
            if self._judge(piece, out, goes_on=True):
                if ended:
                    out.append(segment)
                else:
                    self._pass_text(segment, out)
                return None
        if ended:
            self._judge(segment, out)
        return segment

    def _judge(self, piece: bytes, out: list[Frame | bytes], *, goes_on: bool = False) -> bool:
        fresh, self._shown = piece[self._shown :], 0
        if is_text(piece, goes_on=goes_on):
            if fresh:
                out.append(fresh)
            return True
        self.rx_bad += 1
        self._raw += piece
        del self._raw[:-RAW_RING_BYTES]
        out.extend(_PRINTABLE_RUN.findall(fresh))
        return False


def may_be_frame(segment: bytes) -> bool:
    """Whether the second byte could be a frame's marker; a lone byte may be the first of one."""
    return len(segment) < 2 or segment[1] & 0xC0 == _MARKER


def try_frame(segment: bytes) -> bytes | None:
    """The decoded frame with a good check sequence, or None."""
    if len(segment) < _MIN_SEGMENT_BYTES:
        return None
    try:
        frame: bytes = _cobs_decode(segment)
    except DecodeError:
        return None
    return frame if crc32(frame) == _RESIDUE and frame[0] & 0xC0 == _MARKER else None


def is_text(data: bytes, *, goes_on: bool = False) -> bool:
    """Well-formed UTF-8 without control bytes other than tab, line ends and escape; goes_on: the last character may be cut."""
    if _CONTROLS.search(data):
        return False
    try:
        codecs.utf_8_decode(data, "strict", not goes_on)
    except UnicodeDecodeError:
        return False
    return True
