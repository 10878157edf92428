"""The strict msgpack of the wire (SPEC.md, msgpack profile).

Integer keys in ascending order, depth 4, bounded counts, no floats, no extensions, no trailing bytes. The profile is narrower than any
option of the library, which reads with every bound that it has; what it read is then held against the rest of the profile. Whatever does
not pass is read again by a reader of our own, which compares each count with the bytes that are left and says what it saw. LOG records,
which come by the thousand, are read by the library's bounded stream reader (records.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgpack

from transports.errors import NotUnderstood, RemoteProtocolError

MAX_DEPTH: Final = 4
"""Containers within containers; a LIST answer needs exactly these: message, body, list, status."""
MAX_MAP_ENTRIES: Final = 32
MAX_ITEMS: Final = 1024
"""Entries of one array on the gateway; a device accepts 64."""
MAX_DEVICE_ITEMS: Final = 64

_U64_MAX: Final = (1 << 64) - 1


def pack(obj: object) -> bytes:
    """Shortest integers, bin for bytes, str for text. Maps must have been built with ascending keys."""
    return msgpack.packb(obj, use_bin_type=True)  # type: ignore[no-any-return]  # msgpack has no types


def unpack(data: bytes, *, max_items: int = MAX_ITEMS, max_depth: int = MAX_DEPTH) -> object:
    """The one object that data holds. Raises RemoteProtocolError for anything outside the profile."""
    try:
        obj: object = msgpack.unpackb(
            data,
            strict_map_key=False,
            object_pairs_hook=_ascending,
            max_array_len=max_items,
            max_map_len=MAX_MAP_ENTRIES,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException):
        return unpack_strictly(data, max_items=max_items, max_depth=max_depth)
    return obj if _is_within(obj, max_depth) else unpack_strictly(data, max_items=max_items, max_depth=max_depth)


def _ascending(pairs: list[tuple[object, object]]) -> dict[int, object]:
    """A map of the profile. Raises ValueError for any other."""
    result: dict[int, object] = {}
    last: int | None = None
    for key, value in pairs:
        if type(key) is not int or (last is not None and key <= last):
            raise ValueError(key)
        result[key] = value
        last = key
    return result


def _is_within(obj: object, depth: int) -> bool:
    """Nothing but what the profile has, and not deeper."""
    items: Collection[object]
    if isinstance(obj, dict):
        items = obj.values()
    elif isinstance(obj, list):
        items = obj
    else:
        return type(obj) in _SCALARS
    return depth > 0 and (_SCALARS.issuperset(map(type, items)) or all(_is_within(item, depth - 1) for item in items))


_SCALARS: Final = frozenset({int, str, bytes, bool, type(None)})


def unpack_strictly(data: bytes, *, max_items: int = MAX_ITEMS, max_depth: int = MAX_DEPTH) -> object:
    """The same, slowly: says of what is outside the profile what it is."""
    reader = _Reader(data, max_items)
    obj = reader.value(max_depth)
    if reader.at != len(data):
        raise RemoteProtocolError(f"{len(data) - reader.at} bytes follow the msgpack object")
    return obj


class _Reader:
    """A position in data. Each method takes one object or the part of one."""

    def __init__(self, data: bytes, max_items: int) -> None:
        self.data = data
        self.at = 0
        self.max_items = max_items

    def value(self, depth: int) -> object:
        code = self.uint(1)
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
        match code:
            case 0xC0:
                return None
            case 0xC2 | 0xC3:
                return code == 0xC3
            case 0xC4 | 0xC5 | 0xC6:
                return self.take(self.uint(1 << (code - 0xC4)))
            case 0xCC | 0xCD | 0xCE | 0xCF:
                return self.uint(1 << (code - 0xCC))
            case 0xD0 | 0xD1 | 0xD2 | 0xD3:
                return int.from_bytes(self.take(1 << (code - 0xD0)), "big", signed=True)
            case 0xD9 | 0xDA | 0xDB:
                return self.text(self.uint(1 << (code - 0xD9)))
            case 0xDC | 0xDD:
                return self.array(self.uint(2 << (code - 0xDC)), depth)
            case 0xDE | 0xDF:
                return self.map(self.uint(2 << (code - 0xDE)), depth)
            case 0xCA | 0xCB:
                raise RemoteProtocolError("msgpack float where none is allowed")
            case 0xC1:
                raise RemoteProtocolError("msgpack code c1 is never used")
            case _:
                raise RemoteProtocolError(f"msgpack extension {code:02x} is not allowed")

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise RemoteProtocolError(f"msgpack announces {count} bytes, {len(self.data) - self.at} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode()
        except UnicodeDecodeError as exc:
            raise RemoteProtocolError("msgpack str is not UTF-8") from exc

    def array(self, count: int, depth: int) -> list[object]:
        self.allow(count, count, self.max_items, depth)
        return [self.value(depth - 1) for _ in range(count)]

    def map(self, count: int, depth: int) -> dict[int, object]:
        self.allow(count, 2 * count, MAX_MAP_ENTRIES, depth)
        result: dict[int, object] = {}
        last: int | None = None
        for _ in range(count):
            key = self.value(0)
            if type(key) is not int:
                raise RemoteProtocolError(f"msgpack map key of type {type(key).__name__}, only integers are allowed")
            if last is not None and key <= last:
                raise RemoteProtocolError(f"msgpack map key {key} after {last}: keys ascend and are unique")
            result[key] = self.value(depth - 1)
            last = key
        return result

    def allow(self, count: int, least_bytes: int, limit: int, depth: int) -> None:
        if depth <= 0:
            raise RemoteProtocolError("msgpack is nested too deep")
        if least_bytes > len(self.data) - self.at:
            raise RemoteProtocolError(f"msgpack announces {count} entries, {len(self.data) - self.at} bytes are left")
        if count > limit:
            raise RemoteProtocolError(f"msgpack container of {count} entries exceeds {limit}")


class Fields:
    """The map of one message, read by key with type and bounds. Unknown positive keys are ignored."""

    def __init__(self, body: object, what: str, known_negative: frozenset[int] = frozenset()) -> None:
        if not isinstance(body, Mapping):
            raise RemoteProtocolError(f"{what}: a map is expected, not {type(body).__name__}")
        refuse_negative_keys(body, what, known_negative)
        self._body: Mapping[int, object] = body
        self._what = what

    def __contains__(self, key: int) -> bool:
        return key in self._body

    def _get(self, key: int) -> object:
        try:
            return self._body[key]
        except KeyError:
            raise RemoteProtocolError(f"{self._what}: key {key} is missing") from None

    def optional(self, key: int) -> object:
        """The value as it came, None when it is absent."""
        return self._body.get(key)

    def uint(self, key: int, bits: int = 32, default: int | None = None) -> int:
        """0 .. 2^bits - 1; default stands for an absent key."""
        if default is not None and key not in self._body:
            return default
        value = self._get(key)
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise RemoteProtocolError(f"{self._what}: key {key} is not an unsigned integer of {bits} bits")
        return value

    def opt_uint(self, key: int, bits: int = 32) -> int | None:
        return self.uint(key, bits) if key in self._body else None

    def sint(self, key: int, default: int | None = None) -> int:
        """A signed integer of 32 bits."""
        if default is not None and key not in self._body:
            return default
        value = self._get(key)
        if type(value) is not int or not -(1 << 31) <= value < 1 << 32:
            raise RemoteProtocolError(f"{self._what}: key {key} is not an integer of 32 bits")
        return value

    def flag(self, key: int, default: bool | None = None) -> bool:
        if default is not None and key not in self._body:
            return default
        value = self._get(key)
        if type(value) is not bool:
            raise RemoteProtocolError(f"{self._what}: key {key} is not a boolean")
        return value

    def binary(self, key: int, least: int, most: int, default: bytes | None = None) -> bytes:
        """least .. most bytes."""
        if default is not None and key not in self._body:
            return default
        value = self._get(key)
        if type(value) is not bytes or not least <= len(value) <= most:
            raise RemoteProtocolError(f"{self._what}: key {key} is not {least} to {most} bytes")
        return value

    def text(self, key: int, most: int, default: str | None = None) -> str:
        """At most `most` characters."""
        if default is not None and key not in self._body:
            return default
        value = self._get(key)
        if type(value) is not str or len(value) > most:
            raise RemoteProtocolError(f"{self._what}: key {key} is not text of at most {most} characters")
        return value

    def items(self, key: int) -> list[object]:
        """An absent list is empty."""
        value = self._body.get(key, [])
        if type(value) is not list:
            raise RemoteProtocolError(f"{self._what}: key {key} is not a list")
        return value

    def texts(self, key: int) -> tuple[str, ...]:
        values = self.items(key)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise RemoteProtocolError(f"{self._what}: key {key} is not a list of texts")
        return texts


def refuse_negative_keys(body: Mapping[int, object], what: str, known: frozenset[int] = frozenset()) -> None:
    """A negative key must be understood; an answer to such a request is INVALID."""
    for key in body:
        if key >= 0:
            return
        if key not in known:
            raise NotUnderstood(f"{what}: key {key} must be understood, and is not")
