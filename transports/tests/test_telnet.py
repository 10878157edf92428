"""Data and commands in one stream, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import RemoteProtocolError
from transports.telnet import (
    MAX_SUBNEGOTIATION_BYTES,
    Command,
    Negotiation,
    Subnegotiation,
    TelnetReader,
    Verb,
    cuts_a_pair,
    encode,
    escape,
)

COMMANDS = st.one_of(
    st.builds(Negotiation, st.sampled_from(Verb), st.integers(0, 255)),
    st.builds(Subnegotiation, st.integers(0, 255), st.binary(max_size=20)),
)


def read(pieces: list[bytes]) -> tuple[bytes, list[Command]]:
    reader, data, commands = TelnetReader(), b"", []
    for piece in pieces:
        some, found = reader.feed(piece)
        data += some
        commands += found
    return data, commands


@given(st.lists(st.one_of(st.binary(max_size=30), COMMANDS), max_size=10), st.data())
def test_what_was_put_in_comes_out_however_it_is_cut(items: list[bytes | Command], cuts: st.DataObject) -> None:
    wire = b"".join(escape(item) if isinstance(item, bytes) else encode(item) for item in items)
    places = sorted(cuts.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[start:end] for start, end in zip([0, *places], [*places, len(wire)], strict=True)]
    data, commands = read(pieces)
    assert data == b"".join(item for item in items if isinstance(item, bytes))
    assert commands == [item for item in items if not isinstance(item, bytes)]


def test_commands_that_are_nothing_to_us_are_left_out() -> None:
    nop, are_you_there = b"\xff\xf1", b"\xff\xf6"
    assert read([b"a" + nop + b"b" + are_you_there + b"c"]) == (b"abc", [])


@pytest.mark.parametrize(
    "wire",
    [b"\xff\xfa\x2c\x01\xff\x05", b"\xff\xfa\x2c" + b"x" * MAX_SUBNEGOTIATION_BYTES],
    ids=["a command inside", "without end"],
)
def test_a_subnegotiation_that_cannot_be_one_is_an_error(wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        TelnetReader().feed(wire)


def test_an_empty_subnegotiation_is_nothing() -> None:
    assert read([b"a\xff\xfa\xff\xf0b"]) == (b"ab", [])


@given(st.binary(max_size=20), st.data())
def test_a_cut_pair_is_known(data: bytes, cut: st.DataObject) -> None:
    escaped = escape(data)
    sent = cut.draw(st.integers(0, len(escaped)))
    whole = any(escape(data[:length]) == escaped[:sent] for length in range(len(data) + 1))
    assert cuts_a_pair(escaped, sent) == (not whole)
