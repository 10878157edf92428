"""Frames and text share one line: nothing is lost, nothing is made up, however the bytes are cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.wire.framing import (
    ACK,
    DATA,
    DGRAM,
    IDLE_TEXT_S,
    RAW_RING_BYTES,
    RST,
    SKIP,
    Deframer,
    Frame,
    encode_frame,
    max_segment_bytes,
)

MTU = 4096

VECTORS: list[tuple[str, Frame, str]] = [
    ("probe", (DATA, 0, 7, 2, 0xFFFFFFFF, b""), "0c800702ffffffffb77604ac00"),
    ("log record", (DATA, 0, 7, 2, 0, bytes.fromhex("93cd03e801c4026869")), "048007020101010e93cd03e801c4026869a57eec4d00"),
    ("ack", (ACK, 0, 7, 2, 300, (4096).to_bytes(2, "little")), "068107022c01010106100be4c45a00"),
    ("reject", (ACK, 1, 7, 2, 300, (4096).to_bytes(2, "little")), "068907022c010101061013461ce100"),
    ("skip", (SKIP, 0, 7, 2, 100000, b"\x0c\0\0\0\x01"), "07830702a08601020c010106015366322400"),
    ("unknown session", (RST, 0, 7, 0, 0, b"\x01"), "038407010101010501515af30100"),
    ("full last block", (DATA, 0, 7, 16, 0x01010101, b"\xff" * 243), "ff80071001010101" + "ff" * 243 + "9f37096c00"),
]

frames = st.tuples(
    st.sampled_from([DATA, ACK, DGRAM, SKIP, RST]),
    st.sampled_from([0, 1]),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=600),
)
lines = st.sampled_from(["✓ ok\n", "é\n", "│ table │\n", "\x1b[31mred\x1b[0m\n", "rst:0x1 (POWERON)\r\n", "a\n", "long " * 40 + "\n", "x"])


def read(data: bytes, cuts: list[int] | None = None, mtu: int = MTU) -> tuple[list[Frame], bytes, Deframer]:
    """Everything that a deframer makes of data, cut into pieces of these sizes over and over."""
    deframer = Deframer(mtu)
    found: list[Frame] = []
    text = b""
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)] if cuts else len(data)
        for item in deframer.feed(data[at : at + size], 0.0):
            if isinstance(item, bytes):
                text += item
            else:
                found.append(item)
        at += size
        turn += 1
    return found, text, deframer


@pytest.mark.parametrize(("name", "frame", "wire"), VECTORS, ids=[name for name, *_ in VECTORS])
def test_vectors(name: str, frame: Frame, wire: str) -> None:
    assert encode_frame(*frame).hex() == wire
    assert read(bytes.fromhex("00" + wire))[0] == [frame]


TEXT = [
    # name, wire, text, rx_bad, bytes in the raw ring
    ("a check mark has a continuation byte second", "✓ ok\n".encode() + b"\0", "✓ ok\n".encode(), 0, 0),
    ("plain text needs no end", b"boot: ok", b"boot: ok", 0, 0),
    ("plain text passes beside a zero", b"one\0two\0", b"onetwo", 0, 0),
    ("panic in the middle of a frame", b"\x03\x82\x07panic: stack overflow\n\0", b"panic: stack overflow\n", 1, 25),
    ("a lone letter is text", b"\0A\0", b"A", 0, 0),
    ("a lone control byte is noise", b"\0\x05\0", b"", 1, 1),
    ("latin-1 is noise, its words are kept", b"\xe9\x80 caf\xe9 ouvert \xe0 midi", b"", 0, 0),
    ("latin-1 ends", b"\xe9\x80tous les jours\xe9\0", b"tous les jours", 1, 17),
    ("short runs are chance", b"\x03\x82abcdefg\xff\0", b"", 1, 10),
    ("second byte 7f is text, even noise", b"\xff\x7f\xfe\0", b"\xff\x7f\xfe", 0, 0),
    ("c0 controls make no text of a held segment", b"\xc3\xa9\x07\0", b"", 1, 3),
    ("tab, line ends and escape do", b"\xc3\xa9\t\x1b[0m\r\n\0", b"\xc3\xa9\t\x1b[0m\r\n", 0, 0),
    ("zeros alone are nothing", b"\0\0\0\0", b"", 0, 0),
]


@pytest.mark.parametrize("cuts", [None, [1], [2, 3]], ids=["whole", "bytes", "pieces"])
@pytest.mark.parametrize(("name", "wire", "text", "bad", "raw"), TEXT, ids=[row[0] for row in TEXT])
def test_text_beside_frames(name: str, wire: bytes, text: bytes, bad: int, raw: int, cuts: list[int] | None) -> None:
    found, shown, deframer = read(wire, cuts)
    assert (found, shown, deframer.rx_bad, len(deframer.raw)) == ([], text, bad, raw)


def test_a_held_line_is_shown_when_the_line_goes_quiet_and_only_once() -> None:
    deframer = Deframer(MTU)
    assert deframer.feed("✓ ok".encode(), 10.0) == []
    assert deframer.next_deadline() == 10.0 + IDLE_TEXT_S
    assert deframer.handle_deadline(10.01) == []
    assert deframer.handle_deadline(10.05) == ["✓ ok".encode()]
    assert deframer.next_deadline() is None
    assert deframer.feed(b" and more\n", 11.0) == []
    assert deframer.handle_deadline(11.06) == [b" and more\n"]
    assert deframer.feed(b"\0", 12.0) == []
    assert deframer.rx_bad == 0


def test_a_cut_character_is_not_shown_before_its_rest() -> None:
    deframer = Deframer(MTU)
    deframer.feed(b"\xe2\x9c", 0.0)
    assert deframer.handle_deadline(1.0) == []
    deframer.feed(b"\x93", 2.0)
    assert deframer.handle_deadline(3.0) == ["✓".encode()]


@pytest.mark.parametrize(("byte", "shown"), [(b"A", [b"A"]), (b"\n", []), (b"\xc3", [])])
def test_a_lone_byte_is_shown_only_if_it_can_be_read(byte: bytes, shown: list[bytes]) -> None:
    deframer = Deframer(MTU)
    deframer.feed(byte, 0.0)
    assert deframer.handle_deadline(1.0) == shown


def test_idle_never_discards_a_frame() -> None:
    frame: Frame = (DATA, 0, 7, 2, 0x41414141, b"hello, a payload that reads as text")
    wire = encode_frame(*frame)
    for cut in range(1, len(wire)):
        deframer = Deframer(MTU)
        deframer.feed(wire[:cut], 0.0)
        deframer.handle_deadline(1.0)
        assert deframer.feed(wire[cut:], 2.0) == [frame]
        assert deframer.feed(b"next\n", 3.0) == [b"next\n"]


def test_an_endless_segment_is_cut_counted_and_forgotten() -> None:
    deframer = Deframer(64)
    for _ in range(1000):
        assert deframer.feed(b"\x20\x82\x07\x01" * 16, 0.0) == []
    assert deframer.rx_bad == 64000 // max_segment_bytes(64)
    assert len(deframer.raw) == RAW_RING_BYTES
    assert deframer.feed(b"\0" + encode_frame(DATA, 0, 1, 2, 3, b"x"), 0.0) == [(DATA, 0, 1, 2, 3, b"x")]


def test_long_text_without_a_line_end_flows_once_it_cannot_be_a_frame() -> None:
    deframer = Deframer(64)
    line = "│".encode() * 100
    shown = b"".join(item for n in range(0, len(line), 7) for item in deframer.feed(line[n : n + 7], 0.0) if isinstance(item, bytes))
    assert shown == line
    assert deframer.feed(b" tail", 0.0) == [b" tail"]


def test_a_frame_above_the_mtu_is_refused() -> None:
    _, _, deframer = read(encode_frame(DATA, 0, 1, 2, 3, b"\xaa" * 80), mtu=64)
    assert (deframer.rx_frames, deframer.rx_bad) == (0, 2)


def test_a_later_version_is_counted_and_dropped() -> None:
    _, text, deframer = read(encode_frame(6, 0, 1, 2, 3, b"future") + encode_frame(DATA | 0x10, 0, 1, 2, 3, b"header 01"))
    assert (text, deframer.rx_frames, deframer.rx_bad, deframer.rx_unknown) == (b"", 0, 0, 2)


def test_the_further_code_byte_after_a_full_block_is_accepted() -> None:
    frame: Frame = (DATA, 0, 7, 16, 0x01010101, b"\xff" * 243)
    assert read(encode_frame(*frame)[:-1] + b"\x01\0")[0] == [frame]


def test_a_lost_link_leaves_nothing_behind() -> None:
    deframer = Deframer(MTU)
    wire = encode_frame(DATA, 0, 1, 2, 3, b"whole")
    deframer.feed(wire[:9], 0.0)
    assert deframer.close() == []
    assert (deframer.rx_bad, deframer.next_deadline()) == (1, None)
    assert deframer.feed(wire, 0.0) == [(DATA, 0, 1, 2, 3, b"whole")]
    deframer.feed("é".encode(), 0.0)
    assert deframer.close() == ["é".encode()]


@settings(max_examples=100, deadline=None)
@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 700), min_size=1, max_size=4))
def test_frames_come_back_however_they_are_cut(sent: list[Frame], cuts: list[int]) -> None:
    found, text, deframer = read(b"".join(encode_frame(*frame) for frame in sent), cuts)
    assert (found, text, deframer.rx_bad) == (sent, b"", 0)
    assert deframer.rx_frames == len(sent)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_any_bytes_give_the_same_output_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    whole, pieces = read(data, mtu=64), read(data, cuts, mtu=64)
    assert pieces[:2] == whole[:2]
    assert (pieces[2].rx_bad, pieces[2].raw) == (whole[2].rx_bad, whole[2].raw)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(frames, lines), max_size=12), st.lists(st.integers(1, 90), min_size=1, max_size=4))
def test_no_frame_and_no_text_is_lost_in_a_mix(items: list[Frame | str], cuts: list[int]) -> None:
    wire = b"".join(b"\0" + item.encode() + b"\0" if isinstance(item, str) else encode_frame(*item) for item in items)
    found, text, deframer = read(wire, cuts)
    assert found == [item for item in items if not isinstance(item, str)]
    assert text == "".join(item for item in items if isinstance(item, str)).encode()
    assert deframer.rx_bad == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(frames, min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_a_damaged_stream_never_yields_a_frame_that_was_not_sent(sent: list[Frame], seed: int) -> None:
    rng = random.Random(seed)
    wire = bytearray(b"".join(encode_frame(*frame) for frame in sent))
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(wire))
        match rng.randrange(3):
            case 0:
                wire[at] ^= 1 << rng.randrange(8)
            case 1:
                del wire[at]
            case _:
                wire.insert(at, rng.randrange(256))
    found, _, _ = read(bytes(wire))
    assert all(frame in sent for frame in found)
