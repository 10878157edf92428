#!/usr/bin/env python3
"""wirelet agent: makes a machine a device that speaks wirelet frames. One file, the standard library, Python 3.9 or newer, Linux.

    python3 wirelet_agent.py --directory ~/.local/state/wirelet/rack     by hand, or started by a gateway over ssh

What is started is the front: it moves bytes between its standard input and output and the server, and starts that when there is none. The
server is detached from whoever started it and has everything else: the protocol (firmware-protocol/SPEC.md is normative, numbers in
brackets are its paragraphs), the log in memory, and the workloads, each a process group. So a connection may break at any time; when the
server dies its workloads are killed, as the reset of a board ends what runs on it.

A START's args are the command line; without any, the program's name is. Files, terminals and standard input are not offered.

It decides nothing about workloads: no restarts, no names of pods, no files of theirs.

Parts, top to bottom: msgpack, frames, streams, the session (pure: bytes and now in, bytes out), runs, the server, the front.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from array import array
from bisect import bisect_right
from collections import deque
from typing import Any, BinaryIO, Callable, Final, NamedTuple, Protocol
from zlib import crc32

U32: Final = 0xFFFFFFFF
HALF: Final = 0x80000000
"""A distance of this or more cannot be told from one in the other direction."""

Body = dict[int, object]


class Malformed(Exception):
    """The peer sent what the protocol does not allow."""


# -- msgpack profile [4]

MAX_DEPTH: Final = 4
MAX_MAP_ENTRIES: Final = 32
MAX_ITEMS: Final = 64
"""Of an array towards a device."""


def pack(value: object) -> bytes:
    """The shortest form. Maps have been built with ascending keys."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _pack_int(value)
    if isinstance(value, bytes):
        return _pack_head(len(value), None, 0, b"\xc4\xc5\xc6") + value
    if isinstance(value, str):
        text = value.encode(errors="replace")  # a name of this machine may be of any bytes
        return _pack_head(len(text), 0xA0, 32, b"\xd9\xda\xdb") + text
    if isinstance(value, (list, tuple)):
        return _pack_head(len(value), 0x90, 16, b"\0\xdc\xdd") + b"".join(map(pack, value))
    if isinstance(value, dict):
        head = _pack_head(len(value), 0x80, 16, b"\0\xde\xdf")
        return head + b"".join(pack(part) for item in value.items() for part in item)
    raise TypeError(type(value).__name__)


def _pack_int(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b", value)
    forms = ("BHIQ", 0xCC) if value >= 0 else ("bhiq", 0xD0)
    for number, form in enumerate(forms[0]):
        with contextlib.suppress(struct.error):
            return struct.pack(">B" + form, forms[1] + number, value)
    raise OverflowError(value)


def _pack_head(size: int, fix: int | None, fix_limit: int, codes: bytes) -> bytes:
    if fix is not None and size < fix_limit:
        return bytes([fix | size])
    if size < 1 << 8 and codes[0]:
        return struct.pack(">BB", codes[0], size)
    if size < 1 << 16:
        return struct.pack(">BH", codes[1], size)
    return struct.pack(">BI", codes[2], size)


def unpack(data: bytes) -> object:
    """The one object that data holds. Raises Malformed for anything outside the profile."""
    reader = _Reader(data)
    value = reader.value(MAX_DEPTH)
    if reader.at != len(data):
        raise Malformed(f"{len(data) - reader.at} bytes follow the object")
    return value


class _Reader:
    """A position in data. Each count is compared with the bytes that are left before anything is allocated."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def value(self, depth: int) -> object:
        code = self.number(1)
        if code <= 0x7F:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code <= 0x8F:
            return self.map(code & 0x0F, depth)
        if code <= 0x9F:
            return self.array(code & 0x0F, depth)
        if code <= 0xBF:
            return self.text(code & 0x1F)
        if code in (0xC0, 0xC2, 0xC3):
            return None if code == 0xC0 else code == 0xC3
        if 0xC4 <= code <= 0xC6:
            return self.take(self.number(1 << (code - 0xC4)))
        if 0xCC <= code <= 0xCF:
            return self.number(1 << (code - 0xCC))
        if 0xD0 <= code <= 0xD3:
            return int.from_bytes(self.take(1 << (code - 0xD0)), "big", signed=True)
        if 0xD9 <= code <= 0xDB:
            return self.text(self.number(1 << (code - 0xD9)))
        if code in (0xDC, 0xDD):
            return self.array(self.number(2 << (code - 0xDC)), depth)
        if code in (0xDE, 0xDF):
            return self.map(self.number(2 << (code - 0xDE)), depth)
        raise Malformed(f"msgpack code {code:02x} is not allowed")

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Malformed(f"{count} bytes are announced, {len(self.data) - self.at} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode()
        except UnicodeDecodeError:
            raise Malformed("text is not UTF-8") from None

    def array(self, count: int, depth: int) -> list[object]:
        self.allow(count, count, MAX_ITEMS, depth)
        return [self.value(depth - 1) for _ in range(count)]

    def map(self, count: int, depth: int) -> Body:
        self.allow(count, 2 * count, MAX_MAP_ENTRIES, depth)
        result: Body = {}
        last: int | None = None
        for _ in range(count):
            key = self.value(0)
            if type(key) is not int or (last is not None and key <= last):
                raise Malformed(f"map key {key!r}: keys are integers, ascend and are unique")
            result[key] = self.value(depth - 1)
            last = key
        return result

    def allow(self, count: int, least_bytes: int, limit: int, depth: int) -> None:
        if depth <= 0 or count > limit or least_bytes > len(self.data) - self.at:
            raise Malformed(f"a container of {count} entries is nested too deep, too long, or cut")


class Fields:
    """The map of one message, read by key with type and bounds. Unknown positive keys are ignored, negative ones refused [4.3]."""

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise Malformed("a map is expected")
        if any(key < 0 for key in body):
            raise Malformed(f"key {min(body)} must be understood, and is not")
        self._body: Body = body

    def uint(self, key: int, bits: int = 32, default: int | None = None) -> int:
        value = self._body.get(key, default)
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise Malformed(f"key {key} is not an unsigned integer of {bits} bits")
        return value

    def maybe_uint(self, key: int, bits: int = 32) -> int | None:
        return self.uint(key, bits) if key in self._body else None

    def binary(self, key: int, most: int) -> bytes:
        value = self._body.get(key, b"")
        if type(value) is not bytes or len(value) > most:
            raise Malformed(f"key {key} is not at most {most} bytes")
        return value

    def text(self, key: int, most: int, default: str | None = None) -> str:
        value = self._body.get(key, default)
        if type(value) is not str or len(value) > most:
            raise Malformed(f"key {key} is not text of at most {most} characters")
        return value

    def items(self, key: int) -> list[object]:
        value = self._body.get(key, [])
        if type(value) is not list:
            raise Malformed(f"key {key} is not a list")
        return value

    def texts(self, key: int) -> list[str]:
        texts = [value for value in self.items(key) if isinstance(value, str)]
        if len(texts) != len(self.items(key)):
            raise Malformed(f"key {key} is not a list of texts")
        return texts

    def maybe_map(self, key: int) -> Body | None:
        value = self._body.get(key)
        if value is not None and not isinstance(value, dict):
            raise Malformed(f"key {key} is not a map")
        return value


# -- frames [2]

DATA: Final = 0
ACK: Final = 1
DGRAM: Final = 2
SKIP: Final = 3
RST: Final = 4

LINK: Final = 0
CTRL: Final = 1
LOG: Final = 2

MTU_BYTES: Final = 4096
"""The longest payload that the wire allows: there is no line that it would occupy."""
MAX_DATAGRAM_BYTES: Final = 64

_HEADER: Final = struct.Struct("<BBBI")
_FCS_BYTES: Final = 4
_RESIDUE: Final = 0x2144DF1C
_KNOWN_VT: Final = frozenset(0x80 | flag << 3 | kind for flag in (0, 1) for kind in range(5))

Frame = tuple[int, int, int, int, int, bytes]
"""(type, flag, sid, ch, off, payload); off is the low half of a stream offset."""


def stuff(data: bytes) -> bytes:
    """COBS [2.2], without the zero that ends the frame."""
    out: list[bytes] = []
    blocks = data.split(b"\0")
    last = len(blocks) - 1
    for number, block in enumerate(blocks):
        while len(block) > 254:
            out.append(b"\xff" + block[:254])
            block = block[254:]
        if len(block) == 254:
            # A full block stands for no zero: the one behind it needs a block of its own, and at the end there is none.
            out.append(b"\xff" + block)
            if number != last:
                out.append(b"\1")
        else:
            out.append(bytes([len(block) + 1]) + block)
    return b"".join(out)


def unstuff(data: bytes) -> bytes:
    """Raises Malformed for what no encoder makes."""
    out: list[bytes] = []
    at, size = 0, len(data)
    while at < size:
        code = data[at]
        end = at + code
        if code == 0 or end > size or data.find(0, at + 1, end) >= 0:
            raise Malformed("no COBS")
        out.append(data[at + 1 : end])
        at = end
        if code != 0xFF and at < size:
            out.append(b"\0")
    if not size:
        raise Malformed("no COBS")
    return b"".join(out)


def encode_frame(kind: int, flag: int, sid: int, ch: int, off: int, payload: bytes) -> bytes:
    """With the zero that ends it."""
    frame = _HEADER.pack(0x80 | flag << 3 | kind, sid, ch, off & U32) + payload
    return stuff(frame + crc32(frame).to_bytes(_FCS_BYTES, "little")) + b"\0"


class Deframer:
    """Bytes of a link, cut anywhere, to frames. Text and noise beside them are dropped: a device without a shell may [3]."""

    def __init__(self, mtu: int) -> None:
        raw = _HEADER.size + mtu + _FCS_BYTES
        self._longest = raw + raw // 254 + 1
        self._held = b""
        self._is_too_long = False

    def feed(self, data: bytes) -> list[Frame]:
        segments = data.split(b"\0")
        frames: list[Frame] = []
        for segment in segments[:-1]:
            whole, self._held = self._held + segment, b""
            if not self._is_too_long and _HEADER.size + _FCS_BYTES < len(whole) <= self._longest:
                frame = self._decode(whole)
                if frame is not None:
                    frames.append(frame)
            self._is_too_long = False
        self._held += segments[-1]
        if len(self._held) > self._longest:
            self._held, self._is_too_long = b"", True
        return frames

    @staticmethod
    def _decode(segment: bytes) -> Frame | None:
        try:
            frame = unstuff(segment)
        except Malformed:
            return None
        if len(frame) < _HEADER.size + _FCS_BYTES or crc32(frame) != _RESIDUE or frame[0] not in _KNOWN_VT:
            return None
        vt, sid, ch, off = _HEADER.unpack_from(frame)
        return vt & 7, vt >> 3 & 1, sid, ch, off, frame[_HEADER.size : -_FCS_BYTES]


def distance(wrapped: int, reference: int) -> int:
    """The signed 32-bit difference: negative is back, or before."""
    return ((wrapped - reference + HALF) & U32) - HALF


def earliest(*deadlines: float | None) -> float | None:
    return min((deadline for deadline in deadlines if deadline is not None), default=None)


# -- streams [6]

RTO_S: Final = 0.2
MAX_RTO_S: Final = 2.0
MAX_LOST_MARKS: Final = 16384
"""Ends of records that were overwritten where the receiver may stop; more than a window of 64 KiB can hold."""
MAX_RECORDS: Final = U32
OVERWRITTEN: Final = 1

Outgoing = tuple[int, int, int, bytes]
"""(type, flag, full offset, payload)."""


class Sender:
    """The sending end of a channel: base <= una <= nxt <= next, or una < base when what the receiver lacks was overwritten.

    keeps: a ring of records, of which the oldest go when room is needed, acknowledged or not (LOG). Otherwise a queue of messages, freed
    when they are acknowledged and refused when there is no room; no frame holds bytes of two (CTRL).
    """

    def __init__(self, capacity_bytes: int, *, keeps: bool, offset: int = 0) -> None:
        self.base = self.una = self.nxt = self.next = self.limit = self.sent = offset
        self._capacity_bytes = capacity_bytes
        self._keeps = keeps
        self._buffer = bytearray()
        self._ends = array("Q")
        """Where the writes end whose bytes are kept; those before _head are gone."""
        self._head = 0
        self._lost: deque[tuple[int, int]] = deque()
        """(end, records) of what was overwritten unacknowledged; merged where the receiver cannot stop."""
        self._rto_s = RTO_S
        self._timer: float | None = None
        self._is_skipping = False
        self._is_kicked = False
        """The time-out passed: one more SKIP or probe may go."""
        self._rejected: int | None = None
        self._unmoved_since: float | None = None

    def in_flight(self) -> bool:
        return self.una < self.next

    def room_bytes(self) -> int:
        return self._capacity_bytes if self._keeps else self._capacity_bytes - len(self._buffer)

    def write(self, data: bytes) -> bool:
        """One record or message, whole or not at all."""
        over = len(self._buffer) + len(data) - self._capacity_bytes
        if over > 0:
            if not self._keeps:
                return False
            self._overwrite(self.base + over)
        self._buffer += data
        self.next += len(data)
        self._ends.append(self.next)
        return True

    def _overwrite(self, wanted: int) -> None:
        base = self.base
        while base < wanted:
            base = self._ends[self._head]
            self._head += 1
            if base > self.una:
                self._note_lost(base)
        self._forget_to(base)

    def _note_lost(self, end: int) -> None:
        lost = self._lost
        if lost and (lost[-1][0] > self.sent or len(lost) >= MAX_LOST_MARKS):
            lost[-1] = (end, lost[-1][1] + 1)
        else:
            lost.append((end, 1))

    def _forget_to(self, offset: int) -> None:
        del self._buffer[: offset - self.base]
        self.base = offset
        self.nxt = max(self.nxt, offset)
        self._head = bisect_right(self._ends, offset, self._head)
        if 2 * self._head > len(self._ends):
            del self._ends[: self._head]
            self._head = 0

    def join(self, stored: int | None, credit: int) -> None:
        """A session begins: the receiver has everything before stored (None: nothing that we know of) [5.6]."""
        una = self.base if stored is None else min(stored, self.next)
        if self.base - una >= HALF:
            una = self.base
        self.una = una
        self.nxt = max(una, self.base)
        self.sent = max(self.sent, una)
        self.limit = una + credit
        if stored is not None:
            self._settle(una)
        self._rejected = self._timer = self._unmoved_since = None
        self._is_skipping = self._is_kicked = False
        self._rto_s = RTO_S

    def acknowledged(self, off32: int, credit: int, rejects: bool, now: float) -> None:
        """An ACK; one that cannot be true is ignored (rule 8)."""
        off = self.una + distance(off32, self.una & U32)
        if not self.una <= off <= self.sent:
            return
        if off > self.una:
            self._advance(off, now)
        elif off + credit > self.limit and self._timer is not None:
            self._timer = now + self._rto_s
        self.limit = off + credit
        if rejects and off != self._rejected:
            self._rejected = off
            self.nxt = min(self.nxt, max(off, self.base))

    def _advance(self, off: int, now: float) -> None:
        self.una = off
        self.nxt = max(self.nxt, off)
        self._settle(off)
        self._rto_s = RTO_S
        self._is_skipping = self._is_kicked = False
        self._unmoved_since = now if off < self.sent else None
        self._timer = now + self._rto_s if off < self.next else None

    def _settle(self, una: int) -> None:
        while self._lost and self._lost[0][0] <= una:
            self._lost.popleft()
        if not self._keeps and una > self.base:
            self._forget_to(una)

    def poll(self, max_payload: int, now: float) -> Outgoing | None:
        """The next frame to send. Each call counts as sent."""
        if self.una < self.base:
            return self._poll_skip(now)
        if self.nxt >= self.next:
            return None
        off, end, flag = self.nxt, min(self.nxt + max_payload, self.next, self.limit), 0
        if end <= off:
            return self._poll_probe(now)
        if not self._keeps:
            border = self._ends[bisect_right(self._ends, off, self._head)]
            end, flag = min(end, border), int(end >= border)
        payload = bytes(self._buffer[off - self.base : end - self.base])
        self.nxt = end
        self.sent = max(self.sent, end)
        self._timer = now + self._rto_s if self._timer is None else self._timer
        self._unmoved_since = now if self._unmoved_since is None else self._unmoved_since
        return DATA, flag, off, payload

    def _poll_skip(self, now: float) -> Outgoing | None:
        """Rule 7: only SKIP, each time-out, until it is acknowledged."""
        if self._timer is None:
            self._timer = now + self._rto_s
        if self._is_skipping and not self._is_kicked:
            return None
        self._is_skipping, self._is_kicked = True, False
        self.sent = max(self.sent, self.base)
        records = min(sum(count for end, count in self._lost if end > self.una), MAX_RECORDS)
        return SKIP, 0, self.base, struct.pack("<IB", records, OVERWRITTEN)

    def _poll_probe(self, now: float) -> Outgoing | None:
        """Rule 6: there is no credit; asked for once each time-out."""
        if self._timer is None:
            self._timer = now + self._rto_s
        if not self._is_kicked:
            return None
        self._is_kicked = False
        return DATA, 0, self.nxt, b""

    def next_deadline(self) -> float | None:
        return self._timer

    def handle_deadline(self, now: float) -> None:
        if self._timer is None or now < self._timer:
            return
        self._rto_s = min(2 * self._rto_s, MAX_RTO_S)
        self._timer = now + self._rto_s
        self._is_kicked = True
        self.nxt = min(self.nxt, max(self.una, self.base))

    def unacknowledged_since(self) -> float | None:
        return self._unmoved_since if self.sent > self.una else None

    def must_leave(self) -> bool:
        """The ring ran so far ahead that no frame can say it [6, rule 7]."""
        return self.base - self.una >= HALF


class Inbox:
    """The receiving end of CTRL: whole messages. One that waits to be taken is not stored, so it is not acknowledged (rule 2)."""

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._expected = 0
        self._stored = 0
        self._partial = b""
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._owes_ack = False
        self._rejected: int | None = None
        self._wants_reject = False

    def receive(self, flag: int, off32: int, payload: bytes) -> None:
        """A DATA frame. Raises Malformed for a message longer than the window."""
        ahead = distance(off32, self._expected & U32)
        if ahead > 0:
            self._wants_reject = self._expected != self._rejected
            self._owes_ack = self._owes_ack or not payload
            return
        if ahead < 0 or not payload:
            self._owes_ack = True
        fresh = payload[-ahead:] if ahead else payload
        room = self._stored + self._window_bytes - self._expected
        is_cut = len(fresh) > room
        fresh = fresh[: max(room, 0)]
        self._expected += len(fresh)
        self._partial += fresh
        if len(self._partial) > self._window_bytes:
            raise Malformed(f"a message exceeds {self._window_bytes} bytes")
        if is_cut:
            self._owes_ack = True
        elif flag and fresh:
            self._waiting.append((self._expected, self._partial))
            self._partial = b""
        self._store()

    def take(self) -> bytes | None:
        """The oldest message; taking it acknowledges it."""
        if not self._waiting:
            return None
        end, message = self._waiting.popleft()
        self._stored, self._owes_ack = end, True
        self._store()
        return message

    def _store(self) -> None:
        if not self._waiting and self._expected > self._stored:
            self._stored, self._owes_ack = self._expected, True

    def poll_ack(self) -> tuple[int, int, int] | None:
        """(REJ, offset, credit) when an ACK is due."""
        rejects = self._wants_reject and self._stored == self._expected
        if not (rejects or self._owes_ack):
            return None
        if rejects:
            self._rejected, self._wants_reject = self._expected, False
        self._owes_ack = False
        return int(rejects), self._stored, self._window_bytes


# -- the session, device's end [5]

PROTOCOL_VERSION: Final = 1
HELLO, WELCOME, READY, SOLICIT, PING, PONG = range(1, 7)
START, STOP, LIST, REMOVE, REBOOT, INVENTORY = range(0x10, 0x16)
EXITED: Final = 0x51
AWAY: Final = 0x54
OK, UNSUPPORTED, INVALID, NOT_FOUND, BUSY, NO_SPACE, TOO_BIG, DENIED, BAD_STATE = range(9)
KEY_TEXT: Final = 30
UNKNOWN_SESSION, FENCED, FORGET, PROTOCOL_ERROR = range(1, 5)
AWAY_REBOOT: Final = 3
AWAY_UPDATE: Final = 4

CAPS: Final = 1 << 0 | 1 << 8
"""rlog, and the oldest is overwritten."""
LEVEL: Final = 2
MIN_MTU_BYTES: Final = 64
MAX_MESSAGE_BYTES: Final = 65535
ANSWERS_BYTES: Final = 65536
ANSWER_ROOM_BYTES: Final = 8192
"""More than the longest answer: a LIST of 31 runs has 3 KiB. With less room a request waits."""
HELLO_INTERVALS_S: Final = (0.25, 0.5, 1.0)
HELLO_MIN_INTERVAL_S: Final = 0.1
SILENCE_KEEPALIVES: Final = 3
STUCK_S: Final = 5.0
AWAY_WAIT_S: Final = 0.2
MAX_LINK_FRAMES: Final = 8


class Application(Protocol):
    """What is behind a session."""

    def on_request(self, method: int, body: Any, now: float) -> tuple[int, Body]:
        """Code and body of the answer. Malformed becomes INVALID."""
        ...

    def on_joined(self, now: float) -> None: ...

    def on_link_loss(self, now: float) -> None:
        """A session ended."""
        ...

    def on_gone(self, now: float) -> None:
        """After go_away: the gateway knows, or had its time."""
        ...


class DeviceConfig(NamedTuple):
    device_id: bytes
    ring_bytes: int
    mtu: int = MTU_BYTES
    max_msg: int = MAX_MESSAGE_BYTES
    first_offset: int = 0


class _Joined(NamedTuple):
    """A session that is up."""

    sid: int
    mtu: int
    silence_s: float
    """0: no end by silence."""
    ready: bytes
    tx: Sender
    rx: Inbox


class Session:
    """Lives as long as the server, which is a boot of the device. Pure: after each call ask data_to_send until it is empty."""

    def __init__(self, config: DeviceConfig, application: Application, now: float, *, uptime_ms: int = 0) -> None:
        self.log = Sender(config.ring_bytes, keeps=True, offset=config.first_offset)
        self.boot_id = 0
        self.epoch = 0
        self.is_gone = False
        self._config = config
        self._application = application
        self._born = now - uptime_ms / 1000
        self._boot_off = self.log.next
        self._deframer = Deframer(config.mtu)
        self._joined: _Joined | None = None
        self._heard_at = now
        self._link: deque[bytes] = deque(maxlen=MAX_LINK_FRAMES)
        self._notifications: dict[object, bytes] = {}
        self._is_linked = False
        self._hello_at: float | None = now
        self._is_hello_due = False
        self._hello_sent_at = float("-inf")
        self._hello_count = 0
        self._first_hello_ms: int | None = None
        self._away: bytes | None = None
        """The AWAY that waits to be sent."""
        self._away_end: int | None = None
        """Where it ends in CTRL."""
        self._gone_at: float | None = None

    @property
    def in_session(self) -> bool:
        return self._joined is not None

    def uptime_ms(self, now: float) -> int:
        return int((now - self._born) * 1000 + 0.5) & U32

    def notify(self, key: object, method: int, body: Body) -> None:
        """Tell a state when there is room; a newer one of the same key takes its place [8.4]."""
        if self._joined is not None:
            self._notifications[key] = pack([2, method, body])

    def go_away(self, reason: int, duration_ms: int, now: float) -> None:
        """Say AWAY; on_gone follows [5.15]."""
        self._away = pack([2, AWAY, {1: reason, 2: duration_ms}])
        if self._joined is None:
            self._go(now)

    # -- the link

    def link_up(self, now: float) -> None:
        """There is a pipe, and nothing was sent on it yet."""
        self._deframer = Deframer(self._config.mtu)
        self._link.clear()
        self._is_linked = True
        if self._joined is None:
            self._begin_hellos(now)

    def link_down(self, now: float) -> None:
        """Nobody hears us any more, so the session is over: waiting for silence would tell no more."""
        self._is_linked = False
        if self._joined is not None:
            self._leave(now)

    def receive_data(self, data: bytes, now: float) -> None:
        for frame in self._deframer.feed(data):
            if self.is_gone:
                return
            self._receive_frame(frame, now)
        self._serve(now)
        self._go_if_told(now)

    def _receive_frame(self, frame: Frame, now: float) -> None:
        kind, flag, sid, ch, off, payload = frame
        joined = self._joined
        try:
            if sid == 0:
                if kind == DGRAM and ch == LINK:
                    self._receive_welcome(payload, now)
            elif joined is not None and sid == joined.sid:
                self._heard_at = now
                self._receive_inside(joined, kind, flag, ch, off, payload, now)
        except Malformed:
            pass  # a datagram that makes no sense is dropped [4.3]
        if self._joined is None:
            soon = max(now, self._hello_sent_at + HELLO_MIN_INTERVAL_S)
            self._hello_at = soon if self._hello_at is None else min(self._hello_at, soon)

    def _receive_welcome(self, payload: bytes, now: float) -> None:
        kind, body = read_datagram(payload)
        if kind != WELCOME:
            return
        welcome = Welcome.read(body)
        joined = self._joined
        if joined is None:
            if self._is_answered_by(welcome, now) and self._may_be_for_me(welcome):
                self._join(welcome, now)
        elif welcome.sid == joined.sid:
            self._heard_at = now
            self._put(joined.ready)

    def _is_answered_by(self, welcome: Welcome, now: float) -> bool:
        """The echo lies between the first HELLO of the row and now [5.6]."""
        first = self._first_hello_ms
        if first is None or welcome.version != PROTOCOL_VERSION:
            return False
        return distance(welcome.echo_ms, first) >= 0 and distance(self.uptime_ms(now), welcome.echo_ms) >= 0

    def _may_be_for_me(self, welcome: Welcome) -> bool:
        """A boot without an id refuses what only an earlier one can have been told [5.6]."""
        if self.boot_id:
            return True
        return not (welcome.stored is not None and not self.epoch) and welcome.boot_id != self.epoch

    def _log_epoch(self) -> int | None:
        """What HELLO says: nothing when the epoch follows from the boot_id of the WELCOME that answers [5.3]."""
        return None if self.epoch in (0, self.boot_id) else self.epoch

    def _join(self, welcome: Welcome, now: float) -> None:
        if self._log_epoch() is None:
            self.epoch = welcome.boot_id
        self.boot_id = welcome.boot_id
        self.log.join(welcome.stored, welcome.credit)
        self._heard_at = now
        body: Body = {1: self.uptime_ms(now), 2: self.log.base, 3: self.log.next, 4: self._boot_off}
        ready = encode_frame(DGRAM, 0, welcome.sid, LINK, 0, pack([2, READY, body]))
        tx = Sender(ANSWERS_BYTES, keeps=False)
        tx.join(None, welcome.credit)
        mtu = min(self._config.mtu, welcome.mtu)
        silence_s = SILENCE_KEEPALIVES * welcome.ka_ms / 1000
        self._joined = _Joined(welcome.sid, mtu, silence_s, ready, tx, Inbox(self._config.max_msg))
        self._hello_at, self._is_hello_due = None, False
        self._link.clear()
        self._put(ready)
        self._application.on_joined(now)

    def _receive_inside(self, joined: _Joined, kind: int, flag: int, ch: int, off: int, payload: bytes, now: float) -> None:
        if kind == RST:
            if payload[:1] == bytes([FORGET]):
                self.boot_id = self.epoch = 0
            self._leave(now)
        elif kind == DGRAM:
            number, body = read_datagram(payload)
            if number == PING:
                pong: Body = {1: Fields(body).uint(1), 2: self.uptime_ms(now)}
                self._put(encode_frame(DGRAM, 0, joined.sid, LINK, 0, pack([2, PONG, pong])))
        elif kind == ACK and len(payload) == 2:
            credit = int.from_bytes(payload, "little")
            if ch == CTRL:
                joined.tx.acknowledged(off, credit, bool(flag), now)
            elif ch == LOG:
                self.log.acknowledged(off, credit, bool(flag), now)
        elif kind == DATA and ch == CTRL:
            try:
                joined.rx.receive(flag, off, payload)
            except Malformed:
                self._break(joined, now)

    def _break(self, joined: _Joined, now: float) -> None:
        """The gateway broke the protocol [8.1]."""
        self._leave(now)
        self._put(encode_frame(RST, 0, joined.sid, LINK, 0, bytes([PROTOCOL_ERROR])))

    def _leave(self, now: float) -> None:
        self._joined = None
        self._notifications.clear()
        self._link.clear()
        self._begin_hellos(now)
        if self._away is not None or self._away_end is not None:
            self._go(now)
        self._application.on_link_loss(now)

    # -- requests

    def _serve(self, now: float) -> None:
        """In order, as long as the longest answer has room; the others stay unacknowledged."""
        while self._joined is not None and self._away is None and self._away_end is None and not self.is_gone:
            joined = self._joined
            message = joined.rx.take() if joined.tx.room_bytes() >= ANSWER_ROOM_BYTES else None
            if message is None:
                return
            try:
                request = read_request(message)
            except Malformed:
                self._break(joined, now)
                return
            if request is None:
                continue
            rid, method, body = request
            try:
                code, answer = self._application.on_request(method, body, now)
            except Malformed as error:
                code, answer = INVALID, {KEY_TEXT: str(error)}
            joined.tx.write(pack([1, rid, code, answer]))

    # -- bytes out

    def data_to_send(self, now: float, frames: int = 2) -> bytes:
        """What to write next, at most so many frames; call again after it was written until it is empty."""
        if self.is_gone:
            return b""
        self._serve(now)
        out = [b"\0"]
        while len(out) <= frames:
            frame = self._next_frame(now)
            if frame is None:
                break
            out.append(frame)
        return b"".join(out) if len(out) > 1 else b""

    def _next_frame(self, now: float) -> bytes | None:
        """LINK before CTRL before ACK before LOG [6.1]."""
        if self._link:
            return self._link.popleft()
        joined = self._joined
        if joined is None:
            return self._say_hello(now) if self._is_hello_due_by(now) else None
        if self._away_end is None:
            self._queue_states(joined, now)
        outgoing = joined.tx.poll(joined.mtu, now)
        if outgoing is not None:
            return self._stream_frame(joined, CTRL, outgoing)
        ack = joined.rx.poll_ack()
        if ack is not None:
            return encode_frame(ACK, ack[0], joined.sid, CTRL, ack[1], ack[2].to_bytes(2, "little"))
        if self._away_end is not None:
            return None
        if self.log.must_leave():
            self._leave(now)
            return None
        outgoing = self.log.poll(joined.mtu, now)
        return None if outgoing is None else self._stream_frame(joined, LOG, outgoing)

    @staticmethod
    def _stream_frame(joined: _Joined, ch: int, outgoing: Outgoing) -> bytes:
        kind, flag, off, payload = outgoing
        return encode_frame(kind, flag, joined.sid, ch, off, payload)

    def _queue_states(self, joined: _Joined, now: float) -> None:
        for key in list(self._notifications):
            if not joined.tx.write(self._notifications[key]):
                return
            del self._notifications[key]
        if self._away is not None and joined.tx.write(self._away):
            self._away, self._away_end, self._gone_at = None, joined.tx.next, now + AWAY_WAIT_S

    def _put(self, frame: bytes) -> None:
        if frame not in self._link:
            self._link.append(frame)

    # -- HELLO [5.5]

    def _begin_hellos(self, now: float) -> None:
        """A new row: WELCOMEs to HELLOs of an earlier one are stale."""
        self._first_hello_ms = None
        self._hello_count = 0
        self._hello_at = max(now, self._hello_sent_at + HELLO_MIN_INTERVAL_S)

    def _is_hello_due_by(self, now: float) -> bool:
        """HELLOs that could not be written become one, with the uptime of when it is."""
        if self._hello_at is not None and now >= self._hello_at:
            self._is_hello_due = True
            self._hello_at = now + HELLO_INTERVALS_S[min(self._hello_count, len(HELLO_INTERVALS_S) - 1)]
            self._hello_count += 1
        return self._is_hello_due

    def _say_hello(self, now: float) -> bytes:
        config, uptime_ms, log_epoch = self._config, self.uptime_ms(now), self._log_epoch()
        body: Body = {1: PROTOCOL_VERSION, 2: LEVEL, 3: config.device_id, 4: self.boot_id, 5: uptime_ms}
        body.update({6: config.mtu, 7: config.max_msg, 8: CAPS, 9: min(config.ring_bytes, 65535)})
        if log_epoch is not None:
            body[10] = log_epoch
        if self._first_hello_ms is None:
            self._first_hello_ms = uptime_ms
        self._hello_sent_at, self._is_hello_due = now, False
        return encode_frame(DGRAM, 0, 0, LINK, 0, pack([2, HELLO, body]))

    # -- AWAY [5.15]

    def _go_if_told(self, now: float) -> None:
        """Go once the AWAY is acknowledged or had its time."""
        joined, end = self._joined, self._away_end
        if joined is None or end is None or self._gone_at is None:
            return
        if joined.tx.una >= end or now >= self._gone_at:
            self._go(now)

    def _go(self, now: float) -> None:
        self._away = self._away_end = self._gone_at = None
        self.is_gone = True
        self._link.clear()
        self._application.on_gone(now)

    # -- time

    def next_deadline(self) -> float | None:
        """When to call handle_deadline, and then data_to_send."""
        if self.is_gone or not self._is_linked:
            return None
        joined = self._joined
        if joined is None:
            return self._hello_at
        silence = self._heard_at + joined.silence_s if joined.silence_s else None
        since = joined.tx.unacknowledged_since()
        stuck = None if since is None else since + STUCK_S
        log = self.log.next_deadline() if self._away_end is None else None
        return earliest(silence, stuck, log, joined.tx.next_deadline(), self._gone_at)

    def handle_deadline(self, now: float) -> None:
        joined = self._joined
        if self.is_gone or not self._is_linked:
            return
        if joined is None:
            self._is_hello_due_by(now)
            return
        self._go_if_told(now)
        if self._joined is None or self.is_gone:
            return
        self.log.handle_deadline(now)
        joined.tx.handle_deadline(now)
        since = joined.tx.unacknowledged_since()
        is_silent = bool(joined.silence_s) and now >= self._heard_at + joined.silence_s
        if is_silent or (since is not None and now >= since + STUCK_S):
            self._leave(now)


class Welcome(NamedTuple):
    version: int
    sid: int
    boot_id: int
    echo_ms: int
    mtu: int
    credit: int
    ka_ms: int
    stored: int | None

    @classmethod
    def read(cls, body: object) -> Welcome:
        """Raises Malformed."""
        f = Fields(body)
        numbers = (f.uint(1, 8), f.uint(2, 8), f.uint(3), f.uint(4), f.uint(5, 16, MIN_MTU_BYTES), f.uint(6, 16), f.uint(7, 16))
        welcome = cls(*numbers, f.maybe_uint(8, 64))
        if not welcome.sid or not welcome.boot_id or welcome.mtu < MIN_MTU_BYTES:
            raise Malformed("sid, boot_id or mtu of WELCOME cannot be used")
        return welcome


def read_datagram(payload: bytes) -> tuple[int, object]:
    """Type and body of one."""
    value = unpack(payload)
    if not isinstance(value, list) or len(value) != 3 or value[0] != 2 or type(value[1]) is not int:
        raise Malformed("a datagram is [2, type, {..}]")
    return value[1], value[2]


def read_request(message: bytes) -> tuple[int, int, Body] | None:
    """rid, method and body of a request; nothing of an answer or a notification, of which there is none for an agent [4.3]."""
    value = unpack(message)
    numbers, body = (value[:-1], value[-1]) if isinstance(value, list) and value else ([], None)
    if isinstance(body, dict) and all(type(number) is int and 0 <= number <= U32 for number in numbers):
        if len(numbers) == 3 and numbers[0] == 0:
            return numbers[1], numbers[2], body
        if (len(numbers), numbers[:1]) in ((3, [1]), (2, [2])):
            return None
    raise Malformed("a message is [0, rid, method, {..}], [1, rid, code, {..}] or [2, method, {..}]")


# -- LOG records [7]

RECORD_OVERHEAD_BYTES: Final = 11
"""The most of a record that is not its line."""
MAX_LINE_BYTES: Final = 1024 - RECORD_OVERHEAD_BYTES
STDOUT, STDERR = 1, 2
PARTIAL: Final = 2
"""Added to the kind: a piece of a line."""


def start_record(uptime_ms: int, slot: int, wid: int, gen: int) -> bytes:
    return pack([uptime_ms, slot * 8, [1, wid, gen]])


def line_records(uptime_ms: int, slot: int, kind: int, lines: list[bytes]) -> list[bytes]:
    """A record for each line, or more where it is long."""
    head = _record_head(uptime_ms, slot, kind)
    records: list[bytes] = []
    for line in lines:
        size = len(line)
        if size > MAX_LINE_BYTES:
            cut = (size - 1) // MAX_LINE_BYTES * MAX_LINE_BYTES
            records += piece_records(uptime_ms, slot, kind, [line[at : at + MAX_LINE_BYTES] for at in range(0, cut, MAX_LINE_BYTES)])
            line = line[cut:]
            size -= cut
        records.append(head + (bytes((0xC4, size)) if size < 256 else bytes((0xC5, size >> 8, size & 255))) + line)
    return records


def piece_records(uptime_ms: int, slot: int, kind: int, pieces: list[bytes]) -> list[bytes]:
    """Of a line that goes on in the next record of its kind."""
    head = _record_head(uptime_ms, slot, kind + PARTIAL)
    return [head + pack(piece) for piece in pieces]


def _record_head(uptime_ms: int, slot: int, kind: int) -> bytes:
    return b"\x93" + pack(uptime_ms) + pack(slot * 8 + kind)


# -- requests [8.2]

MAX_NAME_CHARS: Final = 255
MAX_TEXT_CHARS: Final = 4096
MAX_TAG_BYTES: Final = 24
FLAG_TTY: Final = 1
NO_TTY: Final = (
    "tty: a program that outlives its connection has no terminal; leave it out, and have one beside it: wirelet exec -it POD -- sh"
)


class Start(NamedTuple):
    wid: int
    gen: int
    program: str
    args: list[str]
    env: list[str]
    tag: bytes
    directory: str
    flags: int
    link_loss_ms: int | None
    """End it so long after the session did; None: keep it."""
    has_limits: bool

    @classmethod
    def read(cls, body: object) -> Start:
        """Raises Malformed."""
        f = Fields(body)
        start = cls(
            wid=f.uint(1),
            gen=f.uint(2),
            program=f.text(3, MAX_NAME_CHARS),
            args=f.texts(4),
            env=f.texts(5),
            tag=f.binary(6, MAX_TAG_BYTES),
            directory=f.text(7, MAX_TEXT_CHARS, ""),
            flags=f.uint(8, 32, 0),
            link_loss_ms=_read_link_loss(f.items(9)),
            has_limits=bool(f.maybe_map(10)),
        )
        if any("\0" in word for word in (start.program, start.directory, *start.args, *start.env)):
            raise Malformed("a word has a NUL character, which no argument and no variable can hold")
        if any(variable.find("=") < 1 for variable in start.env):
            raise Malformed("a variable is NAME=value")
        return start


def _read_link_loss(items: list[object]) -> int | None:
    """A process has no other safe state than to be ended."""
    if not items:
        return None
    if len(items) == 2:
        action, after_ms = items
        if type(action) is int and type(after_ms) is int and 0 <= after_ms <= U32:
            return after_ms if action else None
    raise Malformed("key 9 is not [action, after_ms]")


class Stop(NamedTuple):
    wid: int
    gen: int
    grace_ms: int
    signal: int

    @classmethod
    def read(cls, body: object) -> Stop:
        f = Fields(body)
        stop = cls(f.uint(1), f.uint(2), f.uint(3, 32, 0), f.uint(4, 8, int(signal.SIGTERM)))
        if not 0 < stop.signal < signal.NSIG:
            raise Malformed(f"{stop.signal} is no signal of this machine, which has 1 to {signal.NSIG - 1}")
        return stop


# -- runs

STARTING, RUNNING, STOPPING, EXITED_STATE = range(1, 5)
COMPLETED: Final = 0
ERROR: Final = 1
STOPPED: Final = 5
LINK_LOSS: Final = 6
START_FAILED: Final = 7
CODE_NOT_FOUND: Final = 127
CODE_NOT_STARTED: Final = 126
"""As shells have them."""
SIGNALED: Final = 128
READ_BYTES: Final = 65536
DRAIN_S: Final = 5.0
"""So long may who left the group hold the output open after the end of the program."""
LINK_LOSS_GRACE_S: Final = 5.0
LIVE: Final = (RUNNING, STOPPING)


class Pipe:
    """One output of a run."""

    def __init__(self, run: Run, kind: int, fd: int) -> None:
        self.run = run
        self.kind = kind
        self.fd = fd
        self.read_at = 0.0
        self._left: int | None = None
        """So many bytes are still read; None: all that come."""
        self._half = b""
        os.set_blocking(fd, False)

    def read(self, most: int) -> list[bytes] | None:
        """Lines that are whole; None at the end. Raises BlockingIOError."""
        data = os.read(self.fd, most if self._left is None else min(most, self._left))
        if not data:
            return None
        if self._left is not None:
            self._left -= len(data)
        lines = (self._half + data).split(b"\n")
        self._half = lines.pop()
        return lines

    def leave(self) -> bool:
        """Read no more than what is there now. Whether that is nothing."""
        (there,) = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))
        self._left = there if self._left is None else min(there, self._left)
        return self._left == 0

    def overlong(self) -> list[bytes]:
        """Pieces of the line whose end has not come, if it is too long for a record."""
        pieces = [self._half[at : at + MAX_LINE_BYTES] for at in range(0, len(self._half) - MAX_LINE_BYTES, MAX_LINE_BYTES)]
        self._half = self._half[len(pieces) * MAX_LINE_BYTES :]
        return pieces

    def rest(self) -> list[bytes]:
        """The last line, if it has no end."""
        half, self._half = self._half, b""
        return [half] if half else []


class Program(subprocess.Popen[bytes]):
    """The first process of a run. The guardian knows it from before its program begins; if that cannot begin, no more."""

    def __init__(self, argv: list[bytes], directory: bytes, environment: dict[bytes, bytes], guardian: Guardian) -> None:
        """Raises OSError."""
        try:
            super().__init__(
                argv,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=guardian.enrol,
            )
        except (OSError, subprocess.SubprocessError):
            if self.pid:
                guardian.release(self.pid)
            raise


class Run:
    """A (wid, gen) in a slot from START to REMOVE."""

    def __init__(self, start: Start, slot: int, start_off: int, uptime_ms: int) -> None:
        self.wid, self.gen, self.slot = start.wid, start.gen, slot
        self.state = RUNNING
        self.link_loss_ms = start.link_loss_ms
        self.link_loss_at: float | None = None
        self.kill_at: float | None = None
        self.drained_by: float | None = None
        """Set when the program has ended."""
        self.process: Program | None = None
        self.pipes: list[Pipe] = []
        self._ended_as: int | None = None
        self._status: Body = {1: start.wid, 2: start.gen, 3: slot, 4: RUNNING, 5: start_off, 10: uptime_ms}
        if start.tag:
            self._status[12] = start.tag

    @property
    def is_over(self) -> bool:
        return self.state == EXITED_STATE

    @property
    def status(self) -> Body:
        return dict(sorted({**self._status, 4: self.state}.items()))

    def begin(self, start: Start, guardian: Guardian) -> None:
        """Start the program. Raises OSError."""
        argv = [word.encode() for word in start.args or [start.program]]
        environment = {name: value for name, value in os.environb.items() if not name.startswith(b"SSH_")}  # of a connection that may end
        environment.update((name.encode(), value.encode()) for name, _, value in (variable.partition("=") for variable in start.env))
        directory = start.directory.encode() or os.fsencode(os.path.expanduser("~"))
        self.process = Program(argv, directory, environment, guardian)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.pipes = [Pipe(self, STDOUT, self.process.stdout.fileno()), Pipe(self, STDERR, self.process.stderr.fileno())]

    def stop(self, number: int, grace_s: float, now: float, *, reason: int = STOPPED) -> None:
        """Ask the program to end; a shorter grace than before counts [8.7]."""
        if self.is_over or self.drained_by is not None:
            return
        kill_at = now + grace_s
        self.kill_at = kill_at if self.kill_at is None else min(kill_at, self.kill_at)
        self.state = STOPPING
        self._ended_as = self._ended_as or reason
        if grace_s > 0:
            self.signal(number)

    def signal(self, number: int) -> None:
        """The whole group. Only while the program has not been waited for: until then nobody else has its number."""
        if self.process is not None and self.drained_by is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def has_ended(self) -> bool:
        """Whether the program has, just now. It is waited for only after its group was killed."""
        if self.process is None or self.drained_by is not None:
            return False
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def handle_deadline(self, now: float) -> None:
        if self.link_loss_at is not None and now >= self.link_loss_at:
            self.link_loss_at = None
            self.stop(signal.SIGTERM, LINK_LOSS_GRACE_S, now, reason=LINK_LOSS)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = None
            self.signal(signal.SIGKILL)

    def finish(self, code: int, end_off: int, uptime_ms: int, *, reason: int | None = None) -> None:
        """code as subprocess tells it: negative for a signal."""
        told = reason if reason is not None else self._ended_as if self._ended_as is not None else ERROR if code else COMPLETED
        self.state = EXITED_STATE
        self.kill_at = self.link_loss_at = self.drained_by = None
        self._status.update({6: end_off, 7: code if code >= 0 else SIGNALED - code, 9: told, 11: uptime_ms})
        if code < 0:
            self._status[8] = -code


# -- the server

GREETING: Final = b"wirelet-agent "
GREETED: Final = b"ok\n"
REPLACE: Final = b"replace\n"
MAX_GREETING_BYTES: Final = 256
MAX_GREETING_SOCKETS: Final = 8
MAX_UNSENT_BYTES: Final = 32768
"""Of frames that the connection has not taken: more, and an answer would wait long behind the log."""
FRAMES_AT_ONCE: Final = 8
PATIENCE_S: Final = 10.0
"""So long a program waits for a gateway that takes nothing of a full log, before the oldest lines go."""
MAX_UNACKNOWLEDGED_BYTES: Final = 1 << 20
MAX_WAIT_S: Final = 3600.0
"""At once: epoll takes no more than 24 days, and a grace may be of 49."""
READING_S: Final = 0.05
GUARD_AGAIN_S: Final = 1.0
LOOK_AT_PLACE_S: Final = 5.0
REBOOT_MS: Final = 5000
START_RECORD_BYTES: Final = 24
NODE: Final = platform.node() or "linux"


def clock() -> float:
    """Seconds, those in suspend too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Guardian:
    """A process that kills the workloads when the server is no more. It has the server's lock until then: no other starts before."""

    def __init__(self, pids: list[int], others: list[int]) -> None:
        """others: file descriptors of the server that it must not hold open. Raises OSError."""
        read_end, self._write_end = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(read_end)
            os.close(self._write_end)
            raise
        if self.pid == 0:
            for fd in (*others, self._write_end):
                os.close(fd)
            os.setsid()
            with contextlib.suppress(BaseException):
                self._watch(read_end, set(pids))
            os._exit(0)
        os.close(read_end)

    def enrol(self) -> None:
        """In a workload's process, before its program. Popen has just made SIGPIPE deadly again: not for what we write."""
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._tell("+", os.getpid())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def release(self, pid: int) -> None:
        self._tell("-", pid)

    def _tell(self, sign: str, pid: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # another one is made when its end is noticed
            os.write(self._write_end, f"{sign}{pid}\n".encode())

    def close(self) -> None:
        os.close(self._write_end)

    @staticmethod
    def _watch(read_end: int, groups: set[int]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with open(read_end, "rb", buffering=0) as lines:
            for line in lines:
                (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


class Settings(NamedTuple):
    slots: int
    ring_bytes: int
    version: str
    """Of this file; a server of another version or with other settings is replaced when nothing runs on it."""

    @property
    def greeting(self) -> bytes:
        return GREETING + f"{self.version} {self.slots} {self.ring_bytes}\n".encode()


class Connection:
    """A front, and what it has not taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        """Of its greeting."""
        self.unsent = bytearray()

    def flush(self) -> bool:
        """False when it is lost."""
        try:
            while self.unsent:
                del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


class Hold:
    """Whether outputs are not read, because the log is full of what is not acknowledged. While a gateway takes what is said, programs wait
    rather than that lines go; for a gateway that takes nothing, or none, nobody waits long. Pure."""

    def __init__(self, full_bytes: int) -> None:
        self.is_on = False
        self._full_bytes = full_bytes
        self._una = 0
        self._moved_at = 0.0
        self._has_waited = False
        """In vain: until something moves nobody waits again."""

    def look(self, una: int, end: int, in_session: bool, now: float) -> bool:
        """Whether it changed."""
        if una != self._una or not in_session:
            self._una, self._moved_at, self._has_waited = una, now, False
        if self.is_on and now >= self._moved_at + PATIENCE_S:
            self._has_waited = True
        limit = self._full_bytes // 2 if self.is_on else self._full_bytes
        wanted = in_session and not self._has_waited and end - una > limit
        if wanted == self.is_on:
            return False
        self.is_on = wanted
        if wanted:
            self._moved_at = now
        return True

    def next_deadline(self) -> float | None:
        return self._moved_at + PATIENCE_S if self.is_on else None


class Place:
    """The files by which a front finds this server. Where they are gone another server may be started, whatever lives here."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._files = [(path, os.stat(path)) for path in map(os.path.abspath, (LOCK, SOCKET))]

    def is_there(self) -> bool:
        """Of a disk that gives no answer nothing is known."""
        try:
            return all(os.path.samestat(os.stat(path), known) for path, known in self._files)
        except OSError as error:
            return not isinstance(error, (FileNotFoundError, NotADirectoryError))


class Server:
    """Runs and the session over one connection at a time: the newest. run() is its life."""

    def __init__(self, listener: socket.socket, settings: Settings, device_id: bytes, place: Place) -> None:
        now = clock()
        self._settings = settings
        self._listener = listener
        self._session = Session(DeviceConfig(device_id, settings.ring_bytes), self, now)
        self._runs: dict[int, Run] = {}
        self._connection: Connection | None = None
        self._greeting: list[Connection] = []
        self._is_outdated = False
        self._is_over = False
        self._has_news = False
        """A child has ended."""
        self._place = place
        self._look_at_place_at = now
        self._hold = Hold(min(settings.ring_bytes // 2, MAX_UNACKNOWLEDGED_BYTES))
        self._read_bytes = min(READ_BYTES, settings.ring_bytes // 2 // RECORD_OVERHEAD_BYTES)
        """What one read brings has room beside what makes the log full, even if it is all empty lines."""
        self._selector = selectors.DefaultSelector()
        self._guardian = Guardian([], [])
        self._guard_at: float | None = None
        """There is none: another one is made then."""

    # -- life

    def run(self) -> None:
        bell, ringer = socket.socketpair()
        bell.setblocking(False)
        ringer.setblocking(False)
        signal.set_wakeup_fd(ringer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._hear_of_child)
        signal.signal(signal.SIGHUP, lambda *_: None)
        signal.signal(signal.SIGTERM, self._hear_of_end)
        self._listener.setblocking(False)
        self._selector.register(bell, selectors.EVENT_READ, lambda now: bell.recv(4096))
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        try:
            while not self._is_over:
                self._turn()
        finally:
            self._end()

    def _turn(self) -> None:
        deadline = self._next_deadline()
        timeout = None if deadline is None else min(max(0.0, deadline - clock()), MAX_WAIT_S)
        ready: list[Pipe] = []
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Pipe):
                ready.append(key.data)
                continue
            with contextlib.suppress(BlockingIOError):
                key.data(clock())
        self._read_some(ready)
        self._go_on(clock())

    def _read_some(self, ready: list[Pipe]) -> None:
        """Who waits longest is first, and soon the others have their turn: programs that print without end must not keep a gateway out."""
        until = clock() + READING_S
        for pipe in sorted(ready, key=lambda each: each.read_at):
            with contextlib.suppress(BlockingIOError):
                self._read(pipe, clock())
            if clock() >= until:
                return

    def _hear_of_child(self, *_: object) -> None:
        self._has_news = True

    def _hear_of_end(self, *_: object) -> None:
        self._is_over = True

    def _next_deadline(self) -> float | None:
        deadlines = [self._session.next_deadline()]
        for run in self._runs.values():
            deadlines += [run.kill_at, run.link_loss_at, None if self._hold.is_on else run.drained_by]
        look_at = None if self._session.in_session else self._look_at_place_at
        return earliest(*deadlines, self._hold.next_deadline(), self._guard_at, look_at)

    def _go_on(self, now: float) -> None:
        """What follows from time and from what was read."""
        session = self._session
        deadline = session.next_deadline()
        if deadline is not None and now >= deadline:
            session.handle_deadline(now)
        if self._has_news:
            self._has_news = False
            self._reap(now)
        if self._guard_at is not None and now >= self._guard_at:
            self._guard_again(now)
        for run in self._runs.values():
            run.handle_deadline(now)
            if run.drained_by is not None and now >= run.drained_by:
                self._leave_behind(run, now)
            if run.drained_by is not None and not run.pipes:
                self._finish(run, now)
        if self._is_outdated and session.in_session and self._is_idle():
            self._is_outdated = False
            session.go_away(AWAY_UPDATE, REBOOT_MS, now)
        if not session.in_session and now >= self._look_at_place_at:
            self._look_at_place_at = now + LOOK_AT_PLACE_S
            self._is_over = self._is_over or not self._place.is_there()
        self._hold_or_read(now)
        self._flush(now)

    def _end(self) -> None:
        """By a fault, too: there may be no guardian just then."""
        for run in self._runs.values():
            run.signal(signal.SIGKILL)

    def _is_idle(self) -> bool:
        return not self._runs and not self._session.log.in_flight()

    # -- connections

    def _accept(self, now: float) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # whoever it was is gone again; what runs here does not depend on it
        sock.setblocking(False)
        connection = Connection(sock)
        self._greeting.append(connection)
        self._selector.register(sock, selectors.EVENT_READ, lambda at: self._hear_greeting(connection, at))
        if len(self._greeting) > MAX_GREETING_SOCKETS:
            self._drop(self._greeting.pop(0))

    def _drop(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()

    def _hear_greeting(self, connection: Connection, now: float) -> None:
        if connection not in self._greeting:
            return  # since this round of events began
        data = _received(connection.sock)
        connection.received += data
        line, end, rest = connection.received.partition(b"\n")
        if data and not end and len(line) <= MAX_GREETING_BYTES:
            return
        self._greeting.remove(connection)
        if not end or not line.startswith(GREETING):
            self._drop(connection)
            return
        is_same = line + end == self._settings.greeting
        if not is_same and self._is_idle():
            with contextlib.suppress(OSError):
                connection.sock.send(REPLACE)
            self._is_over = True
            return
        self._is_outdated = not is_same
        self._selector.modify(connection.sock, selectors.EVENT_READ, lambda at: self._receive(connection, at))
        self._connect(connection, now)
        self._session.receive_data(rest, now)

    def _connect(self, connection: Connection, now: float) -> None:
        """The newest connection is the one: a gateway that lost one may be back before we hear of its end."""
        if self._connection is not None:
            self._disconnect(now)
        self._connection = connection
        connection.unsent += GREETED
        self._session.link_up(now)

    def _disconnect(self, now: float) -> None:
        if self._connection is not None:
            self._drop(self._connection)
            self._connection = None
            self._session.link_down(now)

    def _receive(self, connection: Connection, now: float) -> None:
        if connection is not self._connection:
            return  # since this round of events began
        data = _received(connection.sock)
        if data:
            self._session.receive_data(data, now)
        else:
            self._disconnect(now)

    def _flush(self, now: float) -> None:
        connection = self._connection
        if connection is None:
            return
        while len(connection.unsent) < MAX_UNSENT_BYTES:
            data = self._session.data_to_send(now, FRAMES_AT_ONCE)
            if not data:
                break
            connection.unsent += data
            if not connection.flush():
                break
        if not connection.flush():
            self._disconnect(now)
            return
        key = self._selector.get_key(connection.sock)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        if key.events != events:
            self._selector.modify(connection.sock, events, lambda at: self._receive(connection, at))

    # -- output

    def _hold_or_read(self, now: float) -> None:
        log = self._session.log
        if self._hold.look(log.una, log.next, self._session.in_session, now):
            for run in self._runs.values():
                for pipe in run.pipes:
                    self._listen_to(pipe)

    def _listen_to(self, pipe: Pipe) -> None:
        if self._hold.is_on:
            with contextlib.suppress(KeyError):
                self._selector.unregister(pipe.fd)
        else:
            self._selector.register(pipe.fd, selectors.EVENT_READ, pipe)

    def _read(self, pipe: Pipe, now: float) -> None:
        if self._hold.is_on:
            return  # since this round of events began
        pipe.read_at = now
        lines = pipe.read(self._read_bytes)
        if lines is None:
            self._close(pipe, now)
        else:
            self._log(pipe, lines, now)
            self._hold_or_read(now)

    def _close(self, pipe: Pipe, now: float) -> None:
        self._log(pipe, pipe.rest(), now)
        with contextlib.suppress(KeyError):
            self._selector.unregister(pipe.fd)
        pipe.run.pipes.remove(pipe)

    def _log(self, pipe: Pipe, lines: list[bytes], now: float) -> None:
        uptime_ms, slot, write = self._session.uptime_ms(now), pipe.run.slot, self._session.log.write
        for record in line_records(uptime_ms, slot, pipe.kind, lines):
            write(record)
        for record in piece_records(uptime_ms, slot, pipe.kind, pipe.overlong()):
            write(record)

    # -- ends

    def _reap(self, now: float) -> None:
        if self._guard_at is None and os.waitpid(self._guardian.pid, os.WNOHANG)[0]:
            self._guard_at = now
        for run in self._runs.values():
            if run.has_ended() and run.process is not None:
                run.signal(signal.SIGKILL)
                self._guardian.release(run.process.pid)
                run.process.wait()
                run.drained_by = now + DRAIN_S

    def _guard_again(self, now: float) -> None:
        """By another guardian; while there is no room for one, later."""
        live = [run.process.pid for run in self._runs.values() if run.process is not None and run.drained_by is None]
        others = {key.fd for key in self._selector.get_map().values()} | {pipe.fd for run in self._runs.values() for pipe in run.pipes}
        try:
            guardian = Guardian(live, list(others))
        except OSError:
            self._guard_at = now + GUARD_AGAIN_S
            return
        self._guardian.close()
        self._guardian, self._guard_at = guardian, None

    def _leave_behind(self, run: Run, now: float) -> None:
        """Who still holds its output open had time. What is said by now waits for room in the log like anything else."""
        for pipe in list(run.pipes):
            if pipe.leave():
                self._close(pipe, now)

    def _finish(self, run: Run, now: float) -> None:
        """Its output is in the log."""
        process = run.process
        assert process is not None
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        run.process = None
        run.finish(process.returncode, self._session.log.next, self._session.uptime_ms(now))
        self._session.notify(run.slot, EXITED, run.status)

    # -- Application

    def on_joined(self, now: float) -> None:
        for run in self._runs.values():
            run.link_loss_at = None

    def on_link_loss(self, now: float) -> None:
        self._look_at_place_at = now
        for run in self._runs.values():
            if run.link_loss_ms is not None and run.state in LIVE and run.link_loss_at is None:
                run.link_loss_at = now + run.link_loss_ms / 1000

    def on_gone(self, now: float) -> None:
        self._is_over = True

    def on_request(self, method: int, body: Any, now: float) -> tuple[int, Body]:
        if method == START:
            return self._start(Start.read(body), now)
        if method == STOP:
            return self._stop(Stop.read(body), now)
        if method == LIST:
            f = Fields(body)
            wid, begin = f.maybe_uint(1), f.maybe_uint(2) or 0
            found = [run.status for slot, run in sorted(self._runs.items()) if slot >= begin and wid in (None, run.wid)]
            return OK, {1: found}
        if method == REMOVE:
            f = Fields(body)
            return self._remove(f.uint(1), f.uint(2))
        if method == INVENTORY:
            Fields(body).maybe_uint(2)
            firmware = f"wirelet-agent {self._settings.version}, Python {platform.python_version()}"
            return OK, {1: [["*", ""]], 3: self._settings.slots, 4: NODE[:MAX_NAME_CHARS], 6: firmware}
        if method == REBOOT:
            if Fields(body).uint(1, 8, 0):
                return UNSUPPORTED, {KEY_TEXT: "an agent has one way to start"}
            self._session.go_away(AWAY_REBOOT, REBOOT_MS, now)
            return OK, {}
        return UNSUPPORTED, {KEY_TEXT: f"method {method:02x}"}

    def _start(self, start: Start, now: float) -> tuple[int, Body]:
        known = next((run for run in self._runs.values() if run.wid == start.wid), None)
        if known is not None:
            return (OK, known.status) if known.gen == start.gen else (BAD_STATE, {KEY_TEXT: f"gen {known.gen} is in slot {known.slot}"})
        slot = next((slot for slot in range(self._settings.slots) if slot not in self._runs), None)
        if slot is None:
            return BUSY, {KEY_TEXT: f"all {self._settings.slots} slots are in use"}
        if start.flags & FLAG_TTY:
            return UNSUPPORTED, {KEY_TEXT: NO_TTY}
        if start.has_limits:
            return UNSUPPORTED, {KEY_TEXT: "limits"}
        session = self._session
        uptime_ms, start_off = session.uptime_ms(now), session.log.next
        session.log.write(start_record(uptime_ms, slot, start.wid, start.gen))
        run = self._runs[slot] = Run(start, slot, start_off, uptime_ms)
        try:
            run.begin(start, self._guardian)
        except (OSError, subprocess.SubprocessError) as error:
            self._fail(run, error, now)
        for pipe in run.pipes:
            self._listen_to(pipe)
        return OK, run.status

    def _fail(self, run: Run, error: Exception, now: float) -> None:
        """The log says why; the codes are those of a shell."""
        session, text = self._session, str(error)
        if isinstance(error, OSError):
            name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
            text = f"{name}: {error.strerror}" if name else str(error.strerror)
        for record in line_records(session.uptime_ms(now), run.slot, STDERR, [f"wirelet-agent: {text}".encode()]):
            session.log.write(record)
        code = CODE_NOT_FOUND if isinstance(error, FileNotFoundError) else CODE_NOT_STARTED
        run.finish(code, session.log.next, session.uptime_ms(now), reason=START_FAILED)
        session.notify(run.slot, EXITED, run.status)

    def _stop(self, stop: Stop, now: float) -> tuple[int, Body]:
        for run in self._runs.values():
            if (run.wid, run.gen) == (stop.wid, stop.gen):
                run.stop(stop.signal, stop.grace_ms / 1000, now)
        return OK, {}

    def _remove(self, wid: int, gen: int) -> tuple[int, Body]:
        for slot, run in list(self._runs.items()):
            if (run.wid, run.gen) == (wid, gen):
                if not run.is_over:
                    return BAD_STATE, {KEY_TEXT: "it has not exited"}
                del self._runs[slot]
        return OK, {}


def _received(sock: socket.socket) -> bytes:
    """Nothing at the end, whatever that was."""
    try:
        return sock.recv(READ_BYTES)
    except ConnectionError:
        return b""


# -- the front

LOCK: Final = "agent.lock"
SOCKET: Final = "agent.sock"
STDERR_FILE: Final = "agent.err"
MAX_STDERR_BYTES: Final = 65536
"""Nothing but what a fault of ours leaves."""
ID_FILE: Final = "agent.id"
ID_BYTES: Final = 16
ATTACH_DEADLINE_S: Final = 10.0
LOOK_S: Final = 0.05
MAX_STARTS: Final = 3
"""By one front, of servers that leave a fault: one without may just have been replaced by another front."""
MIN_RING_BYTES: Final = 65536
MAX_RING_BYTES: Final = 1 << 30
MAX_SLOTS: Final = 31


def attach(settings: Settings) -> socket.socket:
    """A connection to the server of this directory, which is started if there is none. Raises OSError."""
    deadline = time.monotonic() + ATTACH_DEADLINE_S
    starts, told_bytes = 0, _told_bytes()
    while time.monotonic() < deadline:
        lock = _try_lock()
        if lock is not None and starts >= MAX_STARTS and _told_bytes() != told_bytes:
            raise ChildProcessError(errno.ECHILD, f"it ends as soon as it is started: {_last_words()}", os.path.abspath(STDERR_FILE))
        if lock is not None:
            starts += 1
            _start_server(lock, settings)
        sock = _connect(settings, deadline - time.monotonic())
        if sock is not None:
            return sock
        time.sleep(LOOK_S)  # another front starts it, or it is just ending
    with open(LOCK) as file:
        who = f"process {file.read(16).strip()} does not answer within {ATTACH_DEADLINE_S:g} s"
    raise TimeoutError(errno.ETIMEDOUT, who, os.path.abspath(SOCKET))


def _told_bytes() -> int:
    """How much servers of this directory have left."""
    with contextlib.suppress(OSError):
        return os.path.getsize(STDERR_FILE)
    return 0


def _last_words() -> str:
    with open(STDERR_FILE, errors="replace") as file:
        return (file.read().splitlines() or [""])[-1]


def _try_lock() -> int | None:
    """The lock of the server, which is held as long as that lives."""
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _connect(settings: Settings, patience_s: float) -> socket.socket | None:
    """None when nobody took it."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(max(LOOK_S, patience_s))
    reply = b""
    with contextlib.suppress(ConnectionError, FileNotFoundError, BlockingIOError, TimeoutError, socket.timeout):
        sock.connect(SOCKET)
        sock.sendall(settings.greeting)
        while len(reply) < len(GREETED):
            piece = sock.recv(len(GREETED) - len(reply))
            if not piece:
                break
            reply += piece
    if reply == GREETED:
        sock.settimeout(None)
        return sock
    sock.close()
    return None


def _start_server(lock: int, settings: Settings) -> None:
    """The socket is there before the server is, so nobody has to wait for that."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
        listener.listen(MAX_GREETING_SOCKETS)
        child = os.fork()
        if child == 0:
            _be_server(lock, listener, settings)
    os.close(lock)
    os.waitpid(child, 0)


def _be_server(lock: int, listener: socket.socket, settings: Settings) -> None:
    """In a process of its own, detached from the connection by which it was started. Does not return."""
    code = 1
    try:
        os.setsid()
        if os.fork() == 0:
            with open(os.devnull, "r+b") as null, _open_stderr() as told:
                for fd, file in ((0, null), (1, null), (2, told)):
                    os.dup2(file.fileno(), fd)
            with contextlib.suppress(OSError):  # of a full disk
                os.pwrite(lock, b"%-10d\n" % os.getpid(), 0)  # for people
            Server(listener, settings, device_id(), Place()).run()
        code = 0
    except Exception as error:
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
        sys.stderr.flush()
    finally:
        os._exit(code)


def _open_stderr() -> BinaryIO:
    """Nowhere, if the disk is full."""
    with contextlib.suppress(OSError):
        is_long = os.path.exists(STDERR_FILE) and os.path.getsize(STDERR_FILE) > MAX_STDERR_BYTES
        return open(STDERR_FILE, "wb" if is_long else "ab")
    return open(os.devnull, "wb")


def device_id() -> bytes:
    """The same for life: of the machine, the user and the directory."""
    machine = b""
    with contextlib.suppress(OSError), open("/etc/machine-id", "rb") as file:
        machine = file.read(64).strip()
    machine = machine or _own_id()
    where = os.path.realpath(".").encode("utf-8", "surrogateescape")
    return hashlib.sha256(b"\0".join([b"wirelet-agent", machine, str(os.getuid()).encode(), where])).digest()[:8]


def _own_id() -> bytes:
    """Made once where a machine has none. Half of one would be that of other machines, too."""
    with contextlib.suppress(FileNotFoundError), open(ID_FILE, "rb") as file:
        kept = file.read(64)
        if len(kept) == ID_BYTES:
            return kept
    made = os.urandom(ID_BYTES)
    with open(ID_FILE + ".new", "wb") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    os.rename(ID_FILE + ".new", ID_FILE)
    return made


def pump(sock: socket.socket) -> None:
    """Move bytes until one side ends. Does not return."""
    threading.Thread(target=_copy, args=(lambda: os.read(0, READ_BYTES), sock.sendall), daemon=True).start()
    _copy(lambda: sock.recv(READ_BYTES), _write_all)


def _copy(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
    with contextlib.suppress(OSError):
        while True:
            data = read()
            if not data:
                break
            write(data)
    os._exit(0)


def _write_all(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def usual_directory() -> str:
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "wirelet", "agent")


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,12}", text) and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")

    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--directory", metavar="DIR", default="", help="one for each agent (default ~/.local/state/wirelet/agent)")
    parser.add_argument("--slots", metavar="N", type=_between(1, MAX_SLOTS), default=8, help="workloads at once (default 8)")
    ring = _between(MIN_RING_BYTES, MAX_RING_BYTES)
    parser.add_argument("--log", metavar="BYTES", type=ring, default=4 << 20, help="kept while no gateway reads it (default 4194304)")


def run(arguments: argparse.Namespace) -> int:
    """Does not return once there is a connection; else says why there is none."""
    # Whatever who started us did with them: ends of children must be heard, and programs begin as anywhere.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        with open(__file__, "rb") as file:
            version = hashlib.sha256(file.read()).hexdigest()[:12]
        directory = arguments.directory or usual_directory()
        os.makedirs(directory, 0o700, exist_ok=True)
        os.chdir(directory)
        found = os.stat(".")
        if found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PermissionError(errno.EPERM, "others may write there, or own it", directory)
        pump(attach(Settings(arguments.slots, arguments.log, version)))
    except OSError as error:
        where, way = (f"{error.filename}: ", "; choose another --directory") if error.filename else ("", "")
        sys.stderr.write(f"wirelet-agent: {where}{error.strerror or error}{way}\n")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="wirelet-agent", description="Makes this machine a device that speaks wirelet frames on stdin and stdout."
    )
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
