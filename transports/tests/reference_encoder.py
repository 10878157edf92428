"""A second encoder of the wire protocol, written from SPEC.md alone, and the test vectors made with it.

It imports nothing of this project and none of its libraries: COBS by the paper, the CRC bit by bit, msgpack by hand. What it and the
gateway agree on is the specification. It only writes; what a receiver must make of bytes is stated by hand, case by case.

    python transports/tests/reference_encoder.py --write    writes firmware-protocol/vectors/*.jsonl anew
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parents[2] / "firmware-protocol" / "vectors"

Vector = dict[str, Any]

DATA, ACK, DGRAM, SKIP, RST = range(5)
LINK, CTRL, LOG = range(3)
F = 1


# -- the encoder


def cobs(data: bytes) -> bytes:
    """Blocks of up to 254 bytes without a zero, each after its length + 1; a full block at the end is not followed by another."""
    out, at = bytearray(), 0
    while True:
        end = at
        while end < len(data) and data[end] and end - at < 254:
            end += 1
        out += bytes([end - at + 1]) + data[at:end]
        if end == len(data):
            return bytes(out)
        at = end if end - at == 254 else end + 1


def crc32(data: bytes) -> int:
    """CRC-32/ISO-HDLC, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sealed(content: bytes) -> bytes:
    """Header and payload with check sequence, stuffed, with the zero that ends it."""
    return cobs(content + struct.pack("<I", crc32(content))) + b"\0"


def frame(kind: int, flag: int, sid: int, ch: int, off: int, payload: bytes = b"") -> bytes:
    return sealed(struct.pack("<BBBI", 0x80 | flag << 3 | kind, sid, ch, off) + payload)


def pack(value: Any) -> bytes:
    """msgpack in the profile: shortest integers, ascending keys."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _pack_int(value)
        case bytes():
            return _head(len(value), [(1 << 8, b"\xc4", 1), (1 << 16, b"\xc5", 2), (1 << 32, b"\xc6", 4)]) + value
        case str():
            raw = value.encode()
            head = bytes([0xA0 | len(raw)]) if len(raw) < 32 else _head(len(raw), [(1 << 8, b"\xd9", 1), (1 << 16, b"\xda", 2)])
            return head + raw
        case list():
            head = bytes([0x90 | len(value)]) if len(value) < 16 else _head(len(value), [(1 << 16, b"\xdc", 2), (1 << 32, b"\xdd", 4)])
            return head + b"".join(map(pack, value))
        case dict():
            head = bytes([0x80 | len(value)]) if len(value) < 16 else _head(len(value), [(1 << 16, b"\xde", 2)])
            return head + b"".join(pack(key) + pack(item) for key, item in sorted(value.items()))
    raise TypeError(value)


def _pack_int(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack("b", value) if value < 0 else bytes([value])
    if value >= 0:
        return next(bytes([0xCC + n]) + value.to_bytes(1 << n, "big") for n in range(4) if value < 1 << (8 << n))
    return next(bytes([0xD0 + n]) + value.to_bytes(1 << n, "big", signed=True) for n in range(4) if value >= -(1 << ((8 << n) - 1)))


def _head(count: int, forms: list[tuple[int, bytes, int]]) -> bytes:
    return next(code + count.to_bytes(size, "big") for limit, code, size in forms if count < limit)


def tagged(value: Any) -> Any:
    """The value as JSON: bytes are {"bin": hex}, maps are {"map": [[key, value] ..]}."""
    match value:
        case bytes():
            return {"bin": value.hex()}
        case list():
            return [tagged(item) for item in value]
        case dict():
            return {"map": [[key, tagged(item)] for key, item in sorted(value.items())]}
        case _:
            return value


# -- cobs.jsonl, crc.jsonl


def cobs_vectors() -> Iterator[Vector]:
    patterns = {"all 00": b"\0" * 509, "all ff": b"\xff" * 509, "counting from 1": bytes(k % 255 + 1 for k in range(509))}
    for size in (0, 1, 2, 242, 243, 244, 253, 254, 255, 256, 507, 508, 509):
        for name, pattern in patterns.items():
            if size or name == "all 00":
                yield {"name": f"{size} bytes, {name}", "data": pattern[:size].hex(), "encoded": cobs(pattern[:size]).hex()}
    for name, data in {
        "a zero in the middle": b"\x11\x00\x22",
        "zeros at both ends": b"\x00\x11\x00",
        "a zero after 253 bytes": b"\x55" * 253 + b"\x00",
        "a zero after a full block": b"\x55" * 254 + b"\x00",
        "a zero before a full block": b"\x00" + b"\x55" * 254,
    }.items():
        yield {"name": name, "data": data.hex(), "encoded": cobs(data).hex()}
    full = b"\xff" * 254
    yield {"name": "a code byte after a last full block", "data": full.hex(), "encoded": (cobs(full) + b"\x01").hex(), "decode_only": True}
    for name, encoded in {
        "the block is cut": b"\x05\x11\x22",
        "only a code, which promises more": b"\x02",
        "a zero inside": b"\x03\x11\x00",
    }.items():
        yield {"name": name, "encoded": encoded.hex(), "error": True}


def crc_vectors() -> Iterator[Vector]:
    for name, data in {
        "check value": b"123456789",
        "empty": b"",
        "one zero": b"\0",
        "four zeros": bytes(4),
        "four ff": b"\xff" * 4,
        "a header": bytes.fromhex("80070200000000"),
        "all bytes": bytes(range(256)),
    }.items():
        yield {"name": name, "data": data.hex(), "crc": f"{crc32(data):08x}"}


# -- frames.jsonl: one frame each, both ways


def frame_vectors() -> Iterator[Vector]:
    def one(name: str, kind: int, flag: int, sid: int, ch: int, off: int, payload: bytes = b"") -> Vector:
        fields = {"type": kind, "flag": flag, "sid": sid, "ch": ch, "off": off, "payload": payload.hex()}
        return {"name": name, "frame": fields, "wire": frame(kind, flag, sid, ch, off, payload).hex()}

    def credit(count: int) -> bytes:
        return struct.pack("<H", count)

    def skip(records: int, reason: int) -> bytes:
        return struct.pack("<IB", records, reason)

    for name, sid, message in EXAMPLES_LINK:
        yield one(name, DGRAM, 0, sid, LINK, 0, pack(message))
    yield one("LOG probe at ffffffff", DATA, 0, 7, LOG, 0xFFFFFFFF)
    yield one("LIST rid 1 at the begin of CTRL", DATA, F, 7, CTRL, 0, pack([0, 1, 0x12, {}]))
    yield one("the answer to LIST without workloads", DATA, F, 7, CTRL, 0, pack([1, 1, 0, {1: []}]))
    start = pack([0, 2, 0x10, START_EXAMPLE])
    yield one("START of 81 bytes, the first 64", DATA, 0, 7, CTRL, 5, start[:64])
    yield one("START of 81 bytes, the rest", DATA, F, 7, CTRL, 69, start[64:])
    yield one("a LOG record", DATA, 0, 7, LOG, 0, pack([1000, 1, b"hi"]))
    yield one("input of a command", DATA, 0, 7, 16, 0, b"ls\n")
    yield one("ACK of a conversation, no room left", ACK, 0, 7, 16, 256, credit(0))
    yield one("a probe of a conversation", DATA, 0, 7, 16, 256)
    yield one("full last block", DATA, 0, 7, 16, 0x01010101, b"\xff" * 243)
    yield one("ACK 300, credit 4096", ACK, 0, 7, LOG, 300, credit(4096))
    yield one("ACK and REJ 300, credit 4096", ACK, F, 7, LOG, 300, credit(4096))
    yield one("ACK without credit", ACK, 0, 7, CTRL, 5, credit(0))
    yield one("ACK with all credit there is", ACK, 0, 7, LOG, 0xFFFFFFFF, credit(0xFFFF))
    yield one("SKIP to 100000, 12 records overwritten", SKIP, 0, 7, LOG, 100_000, skip(12, 1))
    yield one("SKIP over the wrap, lossy sender", SKIP, 0, 7, LOG, 3, skip(0xFFFFFFFF, 2))
    for code, words in {1: "unknown session", 2: "FENCED", 3: "FORGET", 4: "protocol error"}.items():
        yield one(f"RST {words}", RST, 0, 7, LINK, 0, bytes([code]))
    for sid in (1, 127, 128, 254, 255):
        yield one(f"session {sid}", DATA, 0, sid, LOG, 1, b"s")
    for ch in (0, 1, 2, 16, 239, 240, 255):
        yield one(f"channel {ch}", DATA, 0, 1, ch, 1, b"c")
    for off in (0, 1, 0xFF, 0x100, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF):
        yield one(f"offset {off:x}", DATA, 0, 1, LOG, off, b"o")
    for size in (1, 63, 64, 65, 242, 243, 244, 253, 254, 255, 1024):
        yield one(f"{size} zeros", DATA, 0, 1, LOG, 0, bytes(size))
        yield one(f"{size} times ff at ffffffff", DATA, F, 255, 255, 0xFFFFFFFF, b"\xff" * size)
    yield one("all bytes", DATA, 0, 1, LOG, 0, bytes(range(256)))
    yield one("the largest frame", DATA, 0, 1, LOG, 0, bytes(k * 7 & 0xFF for k in range(4096)))


START_EXAMPLE: dict[int, Any] = {
    1: 0xA1B2C3D4,
    2: 1,
    3: "blinky",
    4: ["--rate", "5"],
    5: ["WIFI_SSID=lab"],
    6: bytes(range(24)),
    9: [1, 30_000],
}

HELLO_EXAMPLE: dict[int, Any] = {
    1: 1, 2: 1, 3: bytes.fromhex("240ac4123456"), 4: 0, 5: 412, 6: 64, 7: 192, 8: 0x11, 9: 4096, 11: 1
}  # fmt: skip  # one line is easier to read beside SPEC.md
WELCOME_EXAMPLE: dict[int, Any] = {1: 1, 2: 7, 3: 0x5EED1234, 4: 412, 5: 64, 6: 4096, 7: 1000}

EXAMPLES_LINK: list[tuple[str, int, Any]] = [
    ("HELLO", 0, [2, 1, HELLO_EXAMPLE]),
    ("WELCOME", 0, [2, 2, WELCOME_EXAMPLE]),
    ("READY", 7, [2, 3, {1: 413, 2: 0, 3: 300, 4: 0}]),
    ("SOLICIT", 0, [2, 4, {}]),
    ("PING", 7, [2, 5, {1: 0x1234}]),
    ("PONG", 7, [2, 6, {1: 0x1234, 2: 5000}]),
]


# -- receive.jsonl: what a receiver makes of a line


def receive_vectors() -> Iterator[Vector]:
    hi = frame(DATA, 0, 7, LOG, 0, pack([1000, 1, b"hi"]))
    hi_fields = {"type": DATA, "flag": 0, "sid": 7, "ch": LOG, "off": 0, "payload": pack([1000, 1, b"hi"]).hex()}

    def case(
        name: str, wire: bytes, *, frames: int = 0, text: bytes = b"", bad: int = 0, raw: int = 0, unknown: int = 0, mtu: int = 4096
    ) -> Vector:
        return {
            "name": name,
            "wire": wire.hex(),
            "mtu": mtu,
            "frames": [hi_fields] * frames,
            "text": text.hex(),
            "rx_bad": bad,
            "raw_bytes": raw,
            "rx_unknown": unknown,
        }

    yield case("a frame", hi, frames=1)
    yield case("one zero between frames serves both", hi + hi, frames=2)
    yield case("zeros alone are nothing", bytes(9))
    yield case("doubled zeros", b"\0\0" + hi + b"\0\0" + hi + b"\0", frames=2)
    yield case("an unfinished frame is nothing yet", hi[:-1])
    full = frame(DATA, 0, 7, 16, 0x01010101, b"\xff" * 243)
    full_fields = {"type": DATA, "flag": 0, "sid": 7, "ch": 16, "off": 0x01010101, "payload": "ff" * 243}
    yield case("a code byte after a last full block is accepted", full[:-1] + b"\x01\0") | {"frames": [full_fields]}

    for name, text in {
        "a check mark": "✓ ok\n",
        "one letter with an accent": "é",
        "a table": "│ a │\n",
        "colours": "\x1b[31mé\x1b[0m\n",
        "ascii": "rst:0x1 (POWERON_RESET)\r\n",
        "tab and form feed": "a\tb\x0c\n",
        "four-byte characters": "🙂 done\n",
        "one letter": "A",
    }.items():
        yield case(f"text: {name}", text.encode() + b"\0", text=text.encode())
    yield case("text before a frame, with the leading zero", b"boot ok\n\0" + hi, frames=1, text=b"boot ok\n")
    yield case("text after a frame", hi + b"login: ", frames=1, text=b"login: ")
    yield case("text around frames", b"one\n\0" + hi + b"two\n\0" + hi + b"three", frames=2, text=b"one\ntwo\nthree")
    yield case("text is passed on without an end", b"password:", text=b"password:")
    yield case("any byte passes in text", b"x\x7f\x01\xff\xfe", text=b"x\x7f\x01\xff\xfe")
    yield case("text needs no valid UTF-8 unless it is held", b"caf\xe9\0", text=b"caf\xe9")

    panic = hi[:2] + b"\x07panic: stack overflow\n"
    yield case(
        "panic in the middle of a frame",
        bytes.fromhex("038207") + b"panic: stack overflow\n\0",
        text=b"panic: stack overflow\n",
        bad=1,
        raw=25,
    )
    yield case(
        "panic eats one frame, the next is good", panic + b"\0" + hi, frames=1, text=b"panic: stack overflow\n", bad=1, raw=len(panic)
    )
    yield case("printable runs below 8 bytes are chance", b"\x03\x82abcdefg\xff\0", bad=1, raw=10)
    yield case("a run of 8 is passed on", b"\x03\x82abcdefgh\xff\0", text=b"abcdefgh", bad=1, raw=11)
    yield case("two runs", b"\x03\x82first run\x01second run\xff\0", text=b"first runsecond run", bad=1, raw=23)
    yield case("a C0 control makes no text of held bytes", b"\xc3\xa9\x07\0", bad=1, raw=3)
    yield case("Latin-1 with a marker second is noise", b"\xe9\x80\xe9\xe9\0", bad=1, raw=4)
    yield case("a lone control byte", b"\0\x05\0", bad=1, raw=1)
    yield case("a cut character", b"\xe2\x9c\0", bad=1, raw=2)

    for name, at in {"in the session": 2, "in the offset": 5, "in the payload": 9, "in the check sequence": len(hi) - 2}.items():
        wrong = bytearray(hi)
        wrong[at] ^= 0x10
        yield case(f"a bit flipped {name}", bytes(wrong) + hi, frames=1, bad=1, raw=len(hi) - 1)
    yield case("a byte lost", hi[:9] + hi[10:] + hi, frames=1, bad=1, raw=len(hi) - 2)
    yield case("a byte added", hi[:9] + b"\x55" + hi[9:] + hi, frames=1, bad=1, raw=len(hi))
    yield case("the zero between two frames lost", hi[:-1] + hi + hi, frames=1, bad=1, raw=2 * len(hi) - 2)
    yield case("a zero added", hi[:12] + b"\0" + hi[12:] + hi, frames=1, text=hi[12:-1], bad=1, raw=12)
    yield case("no room for a check sequence", sealed(bytes.fromhex("8007"))[:-1] + b"\0" + hi, frames=1, bad=1, raw=7)
    yield case("good COBS, wrong check sequence", cobs(bytes.fromhex("80070200000000") + bytes(4)) + b"\0", bad=1, raw=12)

    for name, vt in {
        "type 5": 0x85,
        "type 6": 0x86,
        "type 7": 0x87,
        "header version 1": 0x90,
        "header version 2": 0xA0,
        "header version 3": 0xB0,
    }.items():
        yield case(f"{name} is counted and dropped", sealed(struct.pack("<BBBI", vt, 7, LOG, 0)) + hi, frames=1, unknown=1)

    largest = 7 + 64 + 4 + 1
    long = frame(DATA, 0, 7, LOG, 0, b"\x01" * 120)
    yield case("a frame above the largest payload", long + hi, frames=1, bad=2, raw=len(long) - 1, mtu=64)
    noise = b"\x20\x82" + b"\x07\x01" * 200
    yield case("an endless segment is cut and counted", noise + b"\0" + hi, frames=1, bad=-(-len(noise) // largest), raw=len(noise), mtu=64)


# -- msgpack.jsonl


def msgpack_vectors() -> Iterator[Vector]:
    values: dict[str, Any] = {
        "nil": None,
        "false": False,
        "true": True,
        **{f"integer {n}": n for n in (0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1)},
        **{f"integer {n}": n for n in (-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63))},
        **{f"bin of {n}": b"\xa5" * n for n in (0, 1, 255, 256)},
        **{f"text of {n}": "t" * n for n in (0, 1, 31, 32, 255, 256)},
        "text beyond ascii": "✓ é 🙂",
        **{f"array of {n}": [7] * n for n in (0, 1, 15, 16, 64)},
        **{f"map of {n}": dict.fromkeys(range(n), True) for n in (0, 1, 15, 16, 32)},
        "negative keys come first": {-2: 1, -1: 2, 0: 3, 5: 4},
        "four levels": [{1: [{1: 2}]}],
    }
    for name, value in values.items():
        yield {"name": name, "value": tagged(value), "bytes": pack(value).hex()}
    for name, value, raw in [
        ("5 as uint8", 5, "cc05"),
        ("5 as uint64", 5, "cf0000000000000005"),
        ("5 as int32", 5, "d200000005"),
        ("-1 as int64", -1, "d3ffffffffffffffff"),
        ("text of 1 as str8", "a", "d90161"),
        ("text of 1 as str32", "a", "db0000000161"),
        ("bin of 1 as bin32", b"\x01", "c60000000101"),
        ("array of 1 as array32", [1], "dd0000000101"),
        ("map of 1 as map16", {1: 2}, "de00010102"),
    ]:
        yield {"name": f"accepted though longer: {name}", "value": tagged(value), "bytes": raw, "decode_only": True}
    yield {"name": "65 array items are too many for a device", "value": [0] * 65, "bytes": pack([0] * 65).hex(), "device_error": True}
    for name, raw in {
        "empty": "",
        "trailing byte": "0100",
        "five levels": "9191919191",
        "a hundred levels": "91" * 100,
        "array of 4 G": "ddffffffff",
        "map of 4 G": "dfffffffff",
        "bin of 4 G": "c6ffffffff",
        "text of 4 G": "dbffffffff",
        "array longer than its bytes": "930102",
        "map longer than its bytes": "82010203",
        "bin longer than its bytes": "c40501",
        "integer cut": "cd01",
        "33 map entries": "de0021" + "".join(f"{key:02x}c0" for key in range(33)),
        "1025 array items": "dc0401" + "00" * 1025,
        "keys descend": "8202010101",
        "a key twice": "8201010102",
        "a key of text": "81a16101",
        "a key of bin": "81c4016101",
        "a key of true": "81c301",
        "a key that is an array": "819001",
        "float32": "ca3f800000",
        "float64": "cb3ff0000000000000",
        "fixext1": "d40100",
        "ext8": "c7000100",
        "the code never used": "c1",
        "text that is not UTF-8": "a2c328",
        "text with a surrogate": "a3eda080",
    }.items():
        yield {"name": name, "bytes": raw, "error": True}


# -- datagrams.jsonl, control.jsonl


def datagram_vectors() -> Iterator[Vector]:
    u32, u64 = 2**32 - 1, 2**64 - 1
    messages: list[tuple[str, str, Any]] = [(name, name, message) for name, _, message in EXAMPLES_LINK]
    messages += [
        ("HELLO, least", "HELLO", [2, 1, {1: 1, 2: 1, 3: b"\1\2\3\4", 4: 0, 5: 0, 6: 64, 7: 192, 8: 0}]),
        (
            "HELLO, largest",
            "HELLO",
            [2, 1, {1: 1, 2: 2, 3: b"\xff" * 12, 4: u32, 5: u32, 6: 4096, 7: 65535, 8: u32, 9: 65535, 10: u32 - 1, 11: 7}],
        ),
        ("HELLO after a watchdog, log kept", "HELLO", [2, 1, {**HELLO_EXAMPLE, 4: 0, 10: 0x5EED1234, 11: 4}]),
        ("WELCOME with stored", "WELCOME", [2, 2, {**WELCOME_EXAMPLE, 8: 300}]),
        ("WELCOME, largest", "WELCOME", [2, 2, {1: 1, 2: 255, 3: u32, 4: u32, 5: 4096, 6: 65535, 7: 65535, 8: u64, 9: u32, 10: u32}]),
        ("WELCOME without keepalive", "WELCOME", [2, 2, {**WELCOME_EXAMPLE, 7: 0}]),
        ("READY, largest", "READY", [2, 3, {1: u32, 2: u64 - 1, 3: u64, 4: u64}]),
        ("PING with the time", "PING", [2, 5, {1: u32, 2: 1_770_000_000_000}]),
        ("PONG with everything", "PONG", [2, 6, {1: 1, 2: u32, 3: 2, 4: 3, 5: u64}]),
        ("PONG on return from sleep", "PONG", [2, 6, {1: 0, 2: 70_000}]),
        ("HELLO with a key of the future", "HELLO", [2, 1, {**HELLO_EXAMPLE, 40: "new"}]),
    ]
    for name, kind, message in messages:
        assert len(pack(message)) <= 64
        vector = {"name": name, "message": kind, "value": tagged(message), "bytes": pack(message).hex()}
        yield vector | {"extended": True} if 40 in message[2] else vector
    yield {
        "name": "a type of the future is counted and dropped",
        "message": None,
        "value": tagged([2, 99, {}]),
        "bytes": pack([2, 99, {}]).hex(),
    }
    for name, message in {
        "HELLO without a device_id": [2, 1, {key: item for key, item in HELLO_EXAMPLE.items() if key != 3}],
        "HELLO with a device_id of 3 bytes": [2, 1, {**HELLO_EXAMPLE, 3: b"abc"}],
        "HELLO with a device_id of 13 bytes": [2, 1, {**HELLO_EXAMPLE, 3: b"m" * 13}],
        "HELLO with mtu 63": [2, 1, {**HELLO_EXAMPLE, 6: 63}],
        "HELLO with max_msg 191": [2, 1, {**HELLO_EXAMPLE, 7: 191}],
        "HELLO that names no epoch": [2, 1, {**HELLO_EXAMPLE, 10: 0}],
        "HELLO with a negative key": [2, 1, {-1: 0, **HELLO_EXAMPLE}],
        "WELCOME of session 0": [2, 2, {**WELCOME_EXAMPLE, 2: 0}],
        "WELCOME that grants boot id 0": [2, 2, {**WELCOME_EXAMPLE, 3: 0}],
        "READY with base after next": [2, 3, {1: 1, 2: 301, 3: 300, 4: 0}],
        "READY that began in the future": [2, 3, {1: 1, 2: 0, 3: 300, 4: 301}],
        "PING with a negative key": [2, 5, {-1: 0, 1: 1}],
        "PING with a text as nonce": [2, 5, {1: "1"}],
        "an array that is no datagram": [1, 5, {}],
        "a map": {1: 2},
    }.items():
        yield {"name": name, "bytes": pack(message).hex(), "error": True}


STATUS: dict[int, Any] = {1: 0xA1B2C3D4, 2: 1, 3: 0, 4: 2, 5: 300}
EXIT: dict[int, Any] = {**STATUS, 4: 4, 6: 900, 7: 0, 9: 0, 10: 500, 11: 9000, 12: b"tag"}


def control_vectors() -> Iterator[Vector]:
    wid, gen = {1: 0xA1B2C3D4}, {1: 0xA1B2C3D4, 2: 1}
    requests: list[tuple[str, str, int, dict[int, Any]]] = [
        ("START, least", "START", 0x10, {**gen, 3: "hello"}),
        ("START of a pod", "START", 0x10, START_EXAMPLE),
        (
            "START with everything",
            "START",
            0x10,
            {
                **gen,
                3: "app",
                4: ["-v"],
                5: ["A=1", "B="],
                6: b"t",
                7: "/data",
                8: 3,
                9: [2, 0],
                10: {1: 65536, 2: 500, 3: 60_000, 4: 4096},
            },
        ),
        ("STOP", "STOP", 0x11, {**gen, 3: 30_000, 4: 15}),
        ("STOP at once", "STOP", 0x11, {**gen, 3: 0, 4: 9}),
        ("LIST", "LIST", 0x12, {}),
        ("LIST of one workload", "LIST", 0x12, wid),
        ("LIST, second page", "LIST", 0x12, {2: 17}),
        ("REMOVE", "REMOVE", 0x13, gen),
        ("REBOOT", "REBOOT", 0x14, {1: 0, 2: 0}),
        ("REBOOT to the bootloader", "REBOOT", 0x14, {1: 1, 2: 500}),
        ("INVENTORY", "INVENTORY", 0x15, {}),
        ("INVENTORY, second page", "INVENTORY", 0x15, {2: 3}),
        ("STATS", "STATS", 0x16, {}),
        ("a method of the future", "", 0x3F, {1: 1}),
        ("EXEC, least", "EXEC", 0x20, {1: 7, 2: ["ls"], 4: 16, 6: 64, 9: 1}),
        ("EXEC with standard error apart", "EXEC", 0x20, {1: 0xA1B2C3D4, 2: ["sh", "-c", "exit 3"], 4: 239, 5: 16, 6: 16_384, 9: 2}),
        ("EXEC at a terminal", "EXEC", 0x20, {1: 0xA1B2C3D4, 2: ["sh"], 3: True, 4: 17, 6: 65_535, 7: 80, 8: 24, 9: 2}),
        ("ATTACH", "ATTACH", 0x21, {1: 0xA1B2C3D4, 4: 18, 9: 2}),
        ("WINCH", "WINCH", 0x22, {4: 17, 7: 132, 8: 43}),
    ]
    for rid, (name, kind, method, body) in enumerate(requests, 1):
        yield {"name": name, "shape": "request", "body": kind, **_both([0, rid, method, body])}
    programs = [["blinky", "1.0"], ["hello", ""]]
    answers: list[tuple[str, str, int, dict[int, Any]]] = [
        ("OK to STOP", "", 0, {}),
        ("START's answer", "status", 0, STATUS),
        ("LIST's answer without workloads", "LIST answer", 0, {1: []}),
        ("LIST's answer", "LIST answer", 0, {1: [STATUS, {**STATUS, 1: 2, 3: 1, 4: 4, 6: 320, 7: 1, 9: 1}]}),
        ("LIST's answer with more to come", "LIST answer", 0, {1: [STATUS], 2: 17}),
        (
            "INVENTORY's answer",
            "INVENTORY answer",
            0,
            {1: programs, 3: 4, 4: "esp32-devkit", 5: 262_144, 6: "1.4.0"},
        ),
        ("INVENTORY's answer with more to come", "INVENTORY answer", 0, {1: [["blinky", ""]], 2: 1, 3: 1}),
        ("STATS' answer", "STATS answer", 0, {1: 125, 3: 40_000, 4: 262_144, 5: 812, 6: 41_500, 7: [["wifi.rssi", -61]]}),
        ("NOT_FOUND with its text", "", 3, {30: 'no program "blonk"'}),
        ("BUSY", "", 4, {}),
        ("TOO_BIG with both sizes", "", 6, {30: "too big", 31: [386, 192]}),
        ("BAD_STATE", "", 8, {}),
        ("UNSUPPORTED", "", 1, {}),
        ("EXEC's answer", "EXEC answer", 0, {6: 256}),
        ("EXEC's answer without room for input", "EXEC answer", 0, {6: 0}),
        ("NOT_FOUND for a command", "", 3, {30: "no command 'ls'"}),
    ]
    for rid, (name, kind, code, body) in enumerate(answers, 1):
        yield {"name": name, "shape": "answer", "body": kind, **_both([1, rid, code, body])}
    notifications: list[tuple[str, str, int, dict[int, Any]]] = [
        ("STARTED", "status", 0x50, {**STATUS, 10: 500}),
        ("STARTED and ready", "status", 0x50, {**STATUS, 13: True}),
        ("EXITED", "status", 0x51, EXIT),
        ("EXITED by a signal", "status", 0x51, {**EXIT, 7: 137, 8: 9, 9: 5}),
        ("EXITED with a negative code", "status", 0x51, {**EXIT, 7: -5, 9: 1}),
        ("EXITED by a panic, offsets beyond 32 bits", "status", 0x51, {**EXIT, 5: 2**40, 6: 2**40 + 9, 9: 4}),
        ("CONDITION", "CONDITION", 0x52, {1: "SensorMissing", 2: True, 3: "no answer at 0x48"}),
        ("CONDITION over", "CONDITION", 0x52, {1: "SensorMissing", 2: False, 3: ""}),
        ("ERROR", "ERROR", 0x53, {1: 10, 2: "heap is full"}),
        ("ERROR about a request", "ERROR", 0x53, {1: 2, 2: "key -1", 3: 4}),
        ("AWAY to sleep", "AWAY", 0x54, {1: 1, 2: 60_000}),
        ("AWAY to erase, wake by 3 zeros", "AWAY", 0x54, {1: 2, 2: 4000, 3: 3}),
        ("AWAY to reboot", "AWAY", 0x54, {1: 3, 2: 1500}),
        ("a notification of the future", "", 0x5F, {}),
        ("CLOSE: the input ends", "CLOSE", 0x25, {1: 16, 2: 1_048_576}),
        ("CLOSE: standard error ends", "CLOSE", 0x25, {1: 17, 2: 0}),
        ("CLOSE: the command ended", "CLOSE", 0x25, {1: 16, 2: 2**40, 5: 3}),
        ("CLOSE: it ended by a signal", "CLOSE", 0x25, {1: 16, 2: 5, 4: 15, 5: -1}),
        ("CLOSE: over", "CLOSE", 0x25, {1: 239}),
        ("CLOSE: given up", "CLOSE", 0x25, {1: 16, 3: 5, 30: "heap is full"}),
    ]
    for name, kind, method, body in notifications:
        yield {"name": name, "shape": "notification", "body": kind, **_both([2, method, body])}
    for name, message in {
        "a request without a body": [0, 1, 0x12],
        "a request with a list as body": [0, 1, 0x12, []],
        "an unknown shape": [3, 1, {}],
        "a negative rid": [0, -1, 0x12, {}],
        "a rid above 32 bits": [0, 2**32, 0x12, {}],
        "a map": {0: 1},
        "nothing": [],
    }.items():
        yield {"name": name, "bytes": pack(message).hex(), "error": True}
    for name, kind, wrong in [
        ("START without a program", "START", gen),
        ("START with a tag of 25 bytes", "START", {**gen, 3: "a", 6: b"t" * 25}),
        ("START with a number as argument", "START", {**gen, 3: "a", 4: [1]}),
        ("START with a key that must be understood", "START", {-1: 0, **gen, 3: "a"}),
        ("START with gen -1", "START", {1: 1, 2: -1, 3: "a"}),
        ("status of slot 32", "status", {**STATUS, 3: 32}),
        ("status of state 5", "status", {**STATUS, 4: 5}),
        ("status without a wid", "status", {2: 1, 3: 0, 4: 2}),
        ("EXITED with a key that must be understood", "status", {-1: 0, **EXIT}),
        ("CLOSE with a key that must be understood", "CLOSE", {-1: 0, 1: 16}),
        ("AWAY without a duration", "AWAY", {1: 1}),
        ("CONDITION with a number as state", "CONDITION", {1: "A", 2: 1}),
        ("EXEC without a command", "EXEC", {1: 7, 2: [], 4: 16, 6: 64, 9: 1}),
        ("EXEC without gen", "EXEC", {1: 7, 2: ["ls"], 4: 16, 6: 64}),
        ("EXEC on channel 15", "EXEC", {1: 7, 2: ["ls"], 4: 15, 6: 64, 9: 1}),
        ("EXEC on channel 240", "EXEC", {1: 7, 2: ["ls"], 4: 240, 6: 64, 9: 1}),
        ("EXEC with one channel twice", "EXEC", {1: 7, 2: ["ls"], 4: 16, 5: 16, 6: 64, 9: 1}),
        ("EXEC at a terminal with standard error apart", "EXEC", {1: 7, 2: ["ls"], 3: True, 4: 16, 5: 17, 6: 64, 9: 1}),
        ("ATTACH without a channel", "ATTACH", {1: 7, 9: 1}),
        ("WINCH of 65536 columns", "WINCH", {4: 16, 7: 65_536, 8: 1}),
        ("CLOSE without a channel", "CLOSE", {2: 0}),
        ("CLOSE at a negative offset", "CLOSE", {1: 16, 2: -1}),
        ("EXEC answer without credit", "EXEC answer", {}),
    ]:
        yield {"name": name, "body": kind, "value": tagged(wrong), "bytes": pack(wrong).hex(), "error": True}


def _both(message: list[Any]) -> Vector:
    return {"value": tagged(message), "bytes": pack(message).hex()}


# -- records.jsonl


def record_vectors() -> Iterator[Vector]:
    def record(at: int, value: list[Any]) -> Vector:
        t, src, data = value
        fields: Vector = {"offset": at, "end": at + len(pack(value)), "t": t, "slot": src >> 3, "kind": src & 7}
        if src & 7 == 0:
            return fields | {"start": data[1:]}
        return fields | ({"lost": data} if src & 7 == 7 else {"data": data.hex()})

    def stream(name: str, values: list[list[Any]], *, rest: bytes = b"", offset: int = 0, hidden: tuple[int, ...] = ()) -> Vector:
        raw, records = b"", []
        for number, value in enumerate(values):
            if number not in hidden:
                records.append(record(offset + len(raw), value))
            raw += pack(value)
        return {"name": name, "offset": offset, "bytes": (raw + rest).hex(), "records": records, "rest": rest.hex()}

    u32 = 2**32 - 1
    yield stream("a line of slot 0", [[1000, 1, b"hi"]])
    yield stream("standard error of slot 3", [[1001, 3 * 8 + 2, b"E (1001) wifi"]])
    yield stream("the device itself", [[5, 31 * 8 + 1, b"boot"]])
    yield stream("an empty line", [[0, 1, b""]])
    yield stream("a line in three pieces", [[1, 3, b"one "], [2, 3, b"two "], [3, 1, b"three"]])
    yield stream("pieces of standard error", [[1, 4, b"half"], [2, 2, b" whole"]])
    yield stream("a carriage return is kept", [[1, 1, b"50 %\r"]])
    yield stream("bytes that are no text", [[1, 1, bytes(range(256))]])
    yield stream("uptime at its end", [[u32, 1, b"x"], [0, 1, b"y"]])
    yield stream("a start record", [[412, 0, [1, 0xA1B2C3D4, 1]], [413, 1, b"hello"]])
    yield stream("two slots interleaved", [[1, 8, [1, 7, 1]], [1, 16, [1, 8, 2]], [2, 9, b"a"], [2, 17, b"b"], [3, 9, b"c"]])
    yield stream("lines that were refused", [[9, 7, [23, 1482, 3]]])
    yield stream("every reason of a gap", [[9, 8 + 7, [1, 2, reason]] for reason in (1, 2, 3, 4)])
    yield stream("a gap of the largest numbers", [[u32, 7, [u32, u32, 3]]])
    yield stream("offsets go on beyond 32 bits", [[1, 1, b"x"], [2, 1, b"y"]], offset=2**32 - 3)
    yield stream("other system records are ignored", [[1, 0, [2, "later"]], [1, 0, [1, 7]], [2, 1, b"x"]], hidden=(0, 1))
    yield stream("kinds of the future are ignored", [[1, 5, b"?"], [2, 6, b"?"], [3, 1, b"x"]], hidden=(0, 1))
    yield stream("the largest record", [[u32, 31 * 8 + 2, b"m" * (1024 - 11)]])
    whole = pack([2000, 1, b"abcdef"])
    for cut in range(len(whole)):
        yield stream(f"half a record: {cut} of {len(whole)} bytes", [[1, 1, b"x"]], rest=whole[:cut])
    for name, raw in {
        "a map": pack({1: 2}),
        "a number": pack(5),
        "two items": pack([1, 1]),
        "a bin of three bytes": pack(b"\1\0\7"),
        "a map of three entries": pack({0: 1, 1: 1, 2: b""}),
        "four items": pack([1, 1, b"", 0]),
        "text as data": pack([1, 1, "text"]),
        "source 256": pack([1, 256, b"x"]),
        "negative source": pack([1, -1, b"x"]),
        "uptime above 32 bits": pack([2**32, 1, b"x"]),
        "a gap of two numbers": pack([1, 7, [1, 2]]),
        "one byte more than the largest record": pack([u32, 31 * 8 + 2, b"m" * (1024 - 10)]),
        "a length of 4 G": bytes.fromhex("930101c6ffffffff") + bytes(1024),
        "an extension": bytes.fromhex("930101d40100"),
        "the code never used": b"\xc1",
    }.items():
        yield {"name": name, "offset": 0, "bytes": raw.hex(), "error": True}


# -- talks.jsonl: whole conversations, step by step


class _Ctrl:
    """CTRL of session 7, which has just begun: where the next message of each end stands."""

    def __init__(self) -> None:
        self._off = {"gateway": 0, "device": 0}

    def says(self, who: str, message: list[Any]) -> Vector:
        off, data = self._off[who], pack(message)
        self._off[who] += len(data)
        return _step(who, frame(DATA, F, 7, CTRL, off, data))

    def acknowledges(self, who: str, credit: int) -> Vector:
        other = "device" if who == "gateway" else "gateway"
        return _step(who, _ack(CTRL, self._off[other], credit))


def _step(who: str, wire: bytes) -> Vector:
    return {"from": who, "wire": wire.hex()}


def _ack(ch: int, off: int, credit: int) -> bytes:
    return frame(ACK, 0, 7, ch, off, struct.pack("<H", credit))


def talk_vectors() -> Iterator[Vector]:
    """A device with buffers of 64 bytes and messages of 192; gateway and command are played, device is what must come."""
    ctrl = _Ctrl()
    yield {
        "name": "a command from EXEC to the last CLOSE",
        "steps": [
            ctrl.says("gateway", [0, 1, 0x20, {1: 7, 2: ["cat"], 4: 16, 5: 17, 6: 64, 9: 1}]),
            ctrl.says("device", [1, 1, 0, {6: 64}]),
            ctrl.acknowledges("device", 192),
            ctrl.acknowledges("gateway", 65535),
            _step("gateway", frame(DATA, 0, 7, 16, 0, b"hello\n")),
            _step("device", _ack(16, 6, 58)),
            {"from": "command", "read": b"hello\n".hex()},
            {"from": "command", "stdout": b"hello\n".hex()},
            _step("device", frame(DATA, 0, 7, 16, 0, b"hello\n")),
            {"from": "command", "stderr": b"oops".hex()},
            _step("device", frame(DATA, 0, 7, 17, 0, b"oops")),
            _step("gateway", _ack(16, 6, 58)),
            _step("gateway", _ack(17, 4, 60)),
            ctrl.says("gateway", [2, 0x25, {1: 16, 2: 6}]),
            ctrl.acknowledges("device", 192),
            {"from": "command", "exit": 3},
            ctrl.says("device", [2, 0x25, {1: 17, 2: 4}]),
            ctrl.says("device", [2, 0x25, {1: 16, 2: 6, 5: 3}]),
            ctrl.acknowledges("gateway", 65535),
            ctrl.says("gateway", [2, 0x25, {1: 16}]),
            ctrl.acknowledges("device", 192),
        ],
    }
    ctrl = _Ctrl()
    full = bytes(range(64))
    yield {
        "name": "a buffer that is full, and room again when half of it is read",
        "steps": [
            ctrl.says("gateway", [0, 1, 0x21, {1: 7, 4: 16, 9: 1}]),
            ctrl.says("device", [1, 1, 0, {6: 64}]),
            ctrl.acknowledges("device", 192),
            ctrl.acknowledges("gateway", 65535),
            _step("gateway", frame(DATA, 0, 7, 16, 0, full)),
            _step("device", _ack(16, 64, 0)),
            _step("gateway", frame(DATA, 0, 7, 16, 64)),
            _step("device", _ack(16, 64, 0)),
            {"from": "command", "read": full[:31].hex()},
            {"from": "command", "read": full[31:32].hex()},
            _step("device", _ack(16, 64, 32)),
        ],
    }
    ctrl = _Ctrl()
    yield {
        "name": "somebody leaves, and the command is ended",
        "steps": [
            ctrl.says("gateway", [0, 1, 0x20, {1: 7, 2: ["cat"], 3: True, 4: 200, 6: 64, 7: 80, 8: 24, 9: 1}]),
            ctrl.says("device", [1, 1, 0, {6: 64}]),
            ctrl.acknowledges("device", 192),
            ctrl.acknowledges("gateway", 65535),
            ctrl.says("gateway", [2, 0x25, {1: 200}]),
            ctrl.says("device", [2, 0x25, {1: 200}]),
            ctrl.acknowledges("device", 192),
            ctrl.acknowledges("gateway", 65535),
            _step("gateway", frame(DATA, 0, 7, 200, 0, b"too late")),
        ],
    }
    ctrl = _Ctrl()
    yield {
        "name": "a channel that is no conversation's",
        "steps": [
            ctrl.says("gateway", [0, 1, 0x20, {1: 7, 2: ["cat"], 4: 16, 6: 64, 9: 1}]),
            ctrl.says("device", [1, 1, 0, {6: 64}]),
            ctrl.acknowledges("device", 192),
            ctrl.acknowledges("gateway", 65535),
            _step("gateway", frame(DATA, 0, 7, 18, 0, b"nobody asked")),
            ctrl.says("gateway", [2, 0x25, {1: 18}]),
            ctrl.acknowledges("device", 192),
        ],
    }


# -- sessions.jsonl: a device from its first HELLO on, step by step

BOOT = 0x5EED1234


def session_vectors() -> Iterator[Vector]:
    """The device is at uptime 400 and says HELLO; time stands still between the waits. Records of the log have 16 bytes."""
    plain = {"caps": 0x01, "ring": 256}
    records = [pack([400, 1, b"number %d." % number]) for number in range(8)]
    yield {
        "name": "one session, and what does not belong to it",
        "device": plain,
        "steps": [
            _hello(plain),
            _welcome(399, 7),
            _welcome(401, 7),
            _welcome(400, 7),
            _ready(7),
            _welcome(400, 7),
            _ready(7),
            _welcome(400, 8),
            _step("gateway", frame(RST, 0, 8, LINK, 0, b"\1")),
            _step("gateway", frame(DATA, 0, 7, 18, 0, b"no conversation")),
            _step("gateway", frame(RST, 0, 7, LINK, 0, b"\1")),
            {"from": "time", "ms": 110},
            _hello(plain, boot_id=BOOT, uptime=500),
        ],
    }
    yield {
        "name": "a log within its credit, asked for again, without credit, and in the next session",
        "device": plain,
        "steps": [
            _hello(plain),
            _welcome(400, 7, credit=40),
            _ready(7),
            _logs(b"".join(records[:3])),
            _data(0, b"".join(records[:3])[:40]),
            _step("gateway", _log_ack(32, 40)),
            _data(40, records[2][8:]),
            _step("gateway", _log_ack(40, 40, rejects=True)),
            _data(40, records[2][8:]),
            _step("gateway", _log_ack(40, 40, rejects=True)),
            _step("gateway", _log_ack(200, 40)),
            {"from": "time", "ms": 210},
            _data(40, records[2][8:]),
            _step("gateway", _log_ack(48, 0)),
            _logs(records[3]),
            {"from": "time", "ms": 210},
            _data(48, b""),
            _step("gateway", _log_ack(48, 40)),
            _data(48, records[3]),
            _step("gateway", frame(RST, 0, 7, LINK, 0, b"\1")),
            _hello(plain, boot_id=BOOT, uptime=820),
            _welcome(820, 8, stored=50),
            _ready(8, uptime=820, following=64),
            _data(50, records[3][2:], sid=8),
        ],
    }
    yield {
        "name": "FORGET: the same log under another name, from its oldest byte on",
        "device": plain,
        "steps": [
            _hello(plain),
            _welcome(400, 7),
            _ready(7),
            _logs(records[0]),
            _data(0, records[0]),
            _step("gateway", _log_ack(16, 4096)),
            _step("gateway", frame(RST, 0, 7, LINK, 0, b"\3")),
            {"from": "time", "ms": 110},
            _hello(plain, uptime=500),
            _welcome(500, 8, stored=16, boot_id=BOOT + 1),
            _welcome(500, 8, boot_id=BOOT + 1),
            _ready(8, uptime=510, following=16),
            _data(0, records[0], sid=8),
        ],
    }
    small = {"caps": 0x101, "ring": 64}
    yield {
        "name": "a ring that was overwritten says SKIP until it is acknowledged",
        "device": small,
        "steps": [
            _hello(small),
            _welcome(400, 7),
            _ready(7),
            _logs(b"".join(records[:4])),
            _data(0, b"".join(records[:4])),
            _logs(records[4]),
            _step("device", frame(SKIP, 0, 7, LOG, 16, struct.pack("<IB", 1, 1))),
            _logs(records[5]),
            _step("gateway", _log_ack(0, 4096, rejects=True)),
            {"from": "time", "ms": 210},
            _step("device", frame(SKIP, 0, 7, LOG, 32, struct.pack("<IB", 2, 1))),
            _step("gateway", _log_ack(32, 4096)),
            _data(32, b"".join(records[2:6])),
        ],
    }


def _hello(device: dict[str, int], *, boot_id: int = 0, uptime: int = 400) -> Vector:
    name = bytes.fromhex("240ac4123456")
    body = {1: 1, 2: 1, 3: name, 4: boot_id, 5: uptime, 6: 64, 7: 192, 8: device["caps"], 9: device["ring"], 11: 1}
    return _step("device", frame(DGRAM, 0, 0, LINK, 0, pack([2, 1, body])))


def _welcome(echo: int, sid: int, *, boot_id: int = BOOT, credit: int = 4096, stored: int | None = None) -> Vector:
    body = {1: 1, 2: sid, 3: boot_id, 4: echo, 5: 64, 6: credit, 7: 1000} | ({} if stored is None else {8: stored})
    return _step("gateway", frame(DGRAM, 0, 0, LINK, 0, pack([2, 2, body])))


def _ready(sid: int, *, uptime: int = 400, following: int = 0) -> Vector:
    return _step("device", frame(DGRAM, 0, sid, LINK, 0, pack([2, 3, {1: uptime, 2: 0, 3: following, 4: 0}])))


def _logs(records: bytes) -> Vector:
    return {"from": "workload", "records": records.hex()}


def _data(off: int, payload: bytes, sid: int = 7) -> Vector:
    return _step("device", frame(DATA, 0, sid, LOG, off, payload))


def _log_ack(off: int, credit: int, *, rejects: bool = False) -> bytes:
    return frame(ACK, F if rejects else 0, 7, LOG, off, struct.pack("<H", credit))


FAMILIES = {
    "cobs": cobs_vectors,
    "crc": crc_vectors,
    "frames": frame_vectors,
    "receive": receive_vectors,
    "msgpack": msgpack_vectors,
    "datagrams": datagram_vectors,
    "control": control_vectors,
    "records": record_vectors,
    "talks": talk_vectors,
    "sessions": session_vectors,
}


def file_text(family: str) -> str:
    """What the family's file holds."""
    return "".join(json.dumps(vector, ensure_ascii=False) + "\n" for vector in FAMILIES[family]())


def main() -> int:
    if sys.argv[1:] != ["--write"]:
        sys.stderr.write("use: reference_encoder.py --write\n")
        return 2
    VECTORS.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        text = file_text(family)
        (VECTORS / f"{family}.jsonl").write_text(text, encoding="utf-8")
        sys.stdout.write(f"{family}.jsonl: {text.count(chr(10))} vectors\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
