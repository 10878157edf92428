"""The msgpack profile refuses everything that could surprise a device or fill the gateway's memory."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.errors import RemoteProtocolError
from transports.wire.profile import Fields, pack, unpack, unpack_strictly

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(max_size=40),
    st.binary(max_size=300),
    st.sampled_from([b"", "", 0, 31, 32]),
)


def sorted_map(value: dict[int, object]) -> dict[int, object]:
    return dict(sorted(value.items()))


def maps(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[int, object]]:
    return st.dictionaries(st.integers(-5, 300), values, max_size=20).map(sorted_map)


inner: st.SearchStrategy[object] = st.one_of(scalars, st.lists(scalars, max_size=40), maps(scalars))
objects = st.one_of(inner, st.lists(inner, max_size=20), maps(inner))


@settings(max_examples=150, deadline=None)
@given(objects)
def test_what_is_packed_comes_back(obj: object) -> None:
    assert unpack(pack(obj)) == obj


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        obj = unpack(data)
    except RemoteProtocolError:
        return
    assert unpack(pack(obj)) == obj


def outcome(read: Callable[[bytes], object], data: bytes) -> object:
    try:
        return repr(read(data))
    except RemoteProtocolError as refusal:
        return str(refusal)


@settings(max_examples=300, deadline=None)
@given(objects, st.integers(0, 400), st.integers(0, 255))
def test_the_quick_reader_takes_and_refuses_what_the_strict_one_does(obj: object, at: int, byte: int) -> None:
    data = bytearray(pack(obj))
    if at < len(data):
        data[at] = byte
    assert outcome(unpack, bytes(data)) == outcome(unpack_strictly, bytes(data))


REFUSED = [
    ("nothing", "", "announces"),
    ("trailing bytes", "0102", "follow"),
    ("depth 5", "9191919101", None),
    ("depth 6", "919191919101", "deep"),
    ("depth 10000", "91" * 10000, "deep"),
    ("array32 of 4 G", "ddffffffff", "are left"),
    ("map32 of 4 G", "dfffffffff", "are left"),
    ("bin32 of 4 G", "c6ffffffff00", "are left"),
    ("str32 of 4 G", "dbffffffff00", "are left"),
    ("duplicate keys", "8201000100", "ascend"),
    ("descending keys", "8202000100", "ascend"),
    ("text key", "81a16100", "only integers"),
    ("boolean key", "81c300", "only integers"),
    ("float32", "ca00000000", "float"),
    ("float64", "cb0000000000000000", "float"),
    ("timestamp", "d6ff00000000", "extension"),
    ("ext8", "c7010100", "extension"),
    ("never used", "c1", "never"),
    ("broken utf-8", "a1ff", "UTF-8"),
    ("truncated integer", "ce0001", "left"),
    ("map of 33", msgpack.packb(dict.fromkeys(range(33), 0)).hex(), "exceeds 32"),
    ("array of 1025", msgpack.packb([0] * 1025).hex(), "exceeds 1024"),
]


@pytest.mark.parametrize(("name", "data", "why"), REFUSED, ids=[row[0] for row in REFUSED])
def test_bombs_and_oddities_are_refused_with_a_reason(name: str, data: str, why: str | None) -> None:
    if why is None:
        unpack(bytes.fromhex(data))
        return
    with pytest.raises(RemoteProtocolError, match=why):
        unpack(bytes.fromhex(data))


def test_longer_integers_than_needed_are_accepted() -> None:
    assert [
        unpack(bytes.fromhex(data)) for data in ("cc05", "cd0005", "ce00000005", "cf0000000000000005", "d005", "d3fffffffffffffffb")
    ] == [5, 5, 5, 5, 5, -5]


def test_a_negative_key_must_be_understood() -> None:
    with pytest.raises(RemoteProtocolError, match="key -3 must be understood"):
        Fields({-3: 1, 1: 2}, "START")
    assert Fields({-3: 1, 1: 2}, "START", frozenset({-3})).uint(1) == 2


def test_fields_say_which_key_is_wrong() -> None:
    fields = Fields({1: 300, 2: "text", 3: b"\0" * 9, 4: True, 5: [1]}, "HELLO")
    for read, why in (
        (lambda: fields.uint(1, 8), "key 1 is not an unsigned integer of 8 bits"),
        (lambda: fields.uint(4), "key 4 is not an unsigned"),
        (lambda: fields.uint(9), "key 9 is missing"),
        (lambda: fields.text(2, 3), "at most 3 characters"),
        (lambda: fields.binary(3, 4, 8), "4 to 8 bytes"),
        (lambda: fields.flag(1), "not a boolean"),
        (lambda: fields.texts(5), "list of texts"),
    ):
        with pytest.raises(RemoteProtocolError, match=why):
            read()
