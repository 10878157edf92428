"""The bad cable does to bytes what it says, and counts it. Pacing is proved on the pure wire, in virtual time."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cable as cables
import pytest
from cable import Cable
from hypothesis import given
from hypothesis import strategies as st
from wire import SLICE_S, Line, Wire

TEXT = bytes(range(256)) * 40


def transmit(wire: Wire, data: bytes, *, late_s: float = 0.0) -> list[tuple[float, bytes]]:
    """Send data through the wire as the cable does, waking up late_s too late each time; (time, bytes) of every arrival."""
    now, arrivals, left, is_backlog = 0.0, [], data, False
    while True:
        while arrived := wire.arrived(now):
            arrivals.append((now, arrived))
        room_bytes = wire.room_bytes(now)
        if left and room_bytes:
            piece, left = left[:room_bytes], left[room_bytes:]
            wire.send(piece, now, is_backlog=is_backlog)
            is_backlog = len(piece) == room_bytes
            continue
        change = wire.next_change(now)
        if change is None:
            return arrivals
        now = max(change, now) + late_s


def joined(arrivals: list[tuple[float, bytes]]) -> bytes:
    return b"".join(data for _, data in arrivals)


# -- the wire, in virtual time


@pytest.mark.parametrize("baud", [1200, 9600, 115200, 921600, 3_000_000])
@pytest.mark.parametrize("late_s", [0.0, 0.001, 0.013])
def test_a_paced_line_carries_its_baud_rate_even_if_woken_late(baud: int, late_s: float) -> None:
    data = bytes(max(1000, baud // 10))  # about a second of it
    arrivals = transmit(Wire(Line(baud=baud), random.Random(0)), data, late_s=late_s)
    nominal_s = len(data) * 10 / baud
    last_s = arrivals[-1][0]
    assert nominal_s <= last_s + 1e-9 <= nominal_s + SLICE_S + 2 * late_s
    seen_bytes = 0
    for now, piece in arrivals:  # at no time more than the line could have carried
        seen_bytes += len(piece)
        assert seen_bytes <= now * baud / 10 + 1e-6
    assert joined(arrivals) == data


def test_an_idle_line_saves_no_time_up() -> None:
    wire = Wire(Line(baud=9600), random.Random(0))
    wire.send(b"x", 100.0, is_backlog=False)
    assert wire.arrived(100.0) == b""
    assert wire.arrived(100.0 + 10 / 9600) == b"x"


def test_latency_delays_every_byte_alike_and_costs_no_rate() -> None:
    data = bytes(1152)
    prompt = transmit(Wire(Line(baud=115200), random.Random(0)), data)
    late = transmit(Wire(Line(baud=115200, latency_s=0.25), random.Random(0)), data)
    assert late[0][0] == pytest.approx(prompt[0][0] + 0.25)
    assert late[-1][0] == pytest.approx(prompt[-1][0] + 0.25)


@given(pieces=st.lists(st.binary(max_size=50), max_size=20), seed=st.integers(0, 1000))
def test_the_same_seed_does_the_same_damage_however_the_bytes_are_cut(pieces: list[bytes], seed: int) -> None:
    line = Line(flip=0.05, lose=0.05, double=0.05, noise=0.05)
    whole, cut = Wire(line, random.Random(seed)), Wire(line, random.Random(seed))
    whole.send(b"".join(pieces), 0.0, is_backlog=False)
    for piece in pieces:
        cut.send(piece, 0.0, is_backlog=False)
    assert drain(whole) == drain(cut)
    assert whole.counts == cut.counts


@given(
    rates=st.fixed_dictionaries({name: st.floats(0, 0.5) for name in ("flip", "lose", "double", "noise")}), data=st.binary(max_size=2000)
)
def test_every_byte_is_accounted_for(rates: dict[str, float], data: bytes) -> None:
    wire = Wire(Line(**rates), random.Random(1))  # type: ignore[arg-type]  # the four rates are floats
    wire.send(data, 0.0, is_backlog=False)
    counts = wire.counts
    assert counts.sent == len(data)
    assert len(drain(wire)) == counts.sent - counts.lost + counts.doubled + counts.noise


@pytest.mark.parametrize(
    ("line", "count"),
    [
        (Line(flip=1), lambda wire: wire.counts.flipped),
        (Line(lose=1), lambda wire: wire.counts.lost),
        (Line(double=1), lambda wire: wire.counts.doubled),
        (Line(noise=1), lambda wire: wire.counts.noise),
        (Line(cut=True), lambda wire: wire.counts.cut),
    ],
)
def test_a_rate_of_one_hits_every_byte(line: Line, count: Callable[[Wire], int]) -> None:
    wire = Wire(line, random.Random(0))
    wire.send(TEXT, 0.0, is_backlog=False)
    assert count(wire) == len(TEXT)
    arrived = drain(wire)
    if line.flip:
        assert all((sent ^ got).bit_count() == 1 for sent, got in zip(TEXT, arrived, strict=True))
    if line.double:
        assert arrived == bytes(byte for byte in TEXT for _ in range(2))
    if line.noise:
        assert arrived[1::2] == TEXT


@given(size=st.integers(1, 300), chunk_bytes=st.integers(1, 40))
def test_chunks_have_at_most_their_size_and_lose_nothing(size: int, chunk_bytes: int) -> None:
    wire, data = Wire(Line(chunk_bytes=chunk_bytes), random.Random(0)), TEXT[:size]
    chunks = [piece for _, piece in transmit(wire, data)]
    assert max(map(len, chunks)) <= chunk_bytes
    assert b"".join(chunks) == data


def drain(wire: Wire) -> bytes:
    out = b""
    while piece := wire.arrived(float("inf")):
        out += piece
    return out


# -- the cable, over ptys


class Port:
    """A program that has one end open."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def write(self, data: bytes) -> None:
        while data:
            select.select([], [self.fd], [], 10)
            data = data[os.write(self.fd, data) :]

    def read(self, count: int) -> bytes:
        """Exactly count bytes. Raises OSError or EOFError at a hang-up."""
        data = b""
        while len(data) < count:
            assert select.select([self.fd], [], [], 10)[0], f"only {len(data)} of {count} bytes came"
            piece = os.read(self.fd, count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "a", tmp_path / "b"


@contextmanager
def ports(*paths: Path) -> Iterator[list[Port]]:
    opened = [Port(path) for path in paths]
    try:
        yield opened
    finally:
        for port in opened:
            port.close()


def test_a_good_cable_carries_everything_both_ways(ends: tuple[Path, Path]) -> None:
    with Cable(*ends) as cable, ports(*ends) as (a, b):
        for _ in range(10):
            a.write(TEXT)
            assert b.read(len(TEXT)) == TEXT
            b.write(TEXT[::-1])
            assert a.read(len(TEXT)) == TEXT[::-1]
        # A byte may be read a moment before it is counted.
        wait_until(lambda: cable.wires["a"].counts.delivered == cable.wires["b"].counts.delivered == 10 * len(TEXT))


def test_a_paced_cable_is_never_faster_than_its_baud_rate(ends: tuple[Path, Path]) -> None:
    line = Line(baud=115200)
    with Cable(*ends, a_to_b=line, b_to_a=line) as cable, ports(*ends) as (a, b):
        began = time.monotonic()
        a.write(TEXT[:5760])  # half a second of line time
        for step in range(1, 11):
            assert b.read(576) == TEXT[(step - 1) * 576 : step * 576]
            assert time.monotonic() - began >= step * 0.05 - 1e-3
        wait_until(lambda: cable.wires["a"].counts.delivered == 5760)


def test_a_receiver_that_does_not_read_holds_the_sender_up(ends: tuple[Path, Path]) -> None:
    with Cable(*ends) as cable, ports(*ends) as (a, b):
        written = fill(a, cable)
        assert written < 1 << 20
        expected = bytes(written)
        assert b.read(written) == expected


def test_an_overrun_loses_bytes_instead_and_counts_them(ends: tuple[Path, Path]) -> None:
    with Cable(*ends, a_to_b=Line(overrun=True)) as cable, ports(*ends) as (a, _):
        counts = cable.wires["a"].counts
        while not counts.overrun:
            a.write(bytes(4096))
        assert counts.delivered > 0


def test_pulling_an_end_hangs_its_port_up_and_removes_its_link(ends: tuple[Path, Path]) -> None:
    with Cable(*ends) as cable, ports(*ends) as (a, b):
        cable.unplug("a")
        assert not ends[0].is_symlink()
        with pytest.raises((OSError, EOFError)):
            a.read(1)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(a.fd, b"x")
        b.write(b"to nobody")  # the other end notices nothing, as on a real cable
        wait_until(lambda: cable.wires["b"].counts.unplugged == 9)

        cable.plug("a")
        with ports(ends[0]) as (again,):
            b.write(b"back")
            assert again.read(4) == b"back"
            again.write(b"same cable")
            assert b.read(10) == b"same cable"


def test_unplugging_and_plugging_twice_is_once_and_100_replugs_leave_nothing_behind(ends: tuple[Path, Path]) -> None:
    with Cable(*ends) as cable, ports(ends[1]) as (b,):
        descriptors = len(os.listdir("/proc/self/fd"))
        for number in range(100):
            cable.unplug("a")
            cable.unplug("a")
            cable.plug("a")
            cable.plug("a")
            with ports(ends[0]) as (a,):
                a.write(b"%03d" % number)
                assert b.read(3) == b"%03d" % number
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_line_may_be_changed_while_bytes_flow(ends: tuple[Path, Path]) -> None:
    with Cable(*ends, seed=3) as cable, ports(*ends) as (a, b):
        a.write(b"clean")
        assert b.read(5) == b"clean"
        cable.change("a", cut=True)
        a.write(b"lost")
        wait_until(lambda: cable.wires["a"].counts.cut == 4)
        cable.change("a", cut=False, flip=1.0)
        a.write(b"bent")
        assert b.read(4) != b"bent"
        cable.change("a", flip=0.0)
        a.write(b"clean again")
        assert b.read(11) == b"clean again"


def test_the_cable_is_a_program_too(ends: tuple[Path, Path]) -> None:
    argv = [sys.executable, cables.__file__, *map(str, ends), "--baud", "921600"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        with ports(*ends) as (a, b):
            a.write(b"through a process")
            assert b.read(17) == b"through a process"
            process.stdin.write("unplug a\n")
            process.stdin.flush()
            with pytest.raises((OSError, EOFError)):
                a.read(1)
        process.stdin.close()
    assert process.returncode == 0
    assert not any(end.is_symlink() for end in ends)


def fill(port: Port, cable: Cable) -> int:
    """Write until nothing more goes in and the cable stands still; how much went in."""
    written, standing = 0, 0
    while standing < 20:
        try:
            written += os.write(port.fd, bytes(4096))
            standing = 0
        except BlockingIOError:
            standing += 1
            time.sleep(0.005)  # standing still can only be seen over time
    return written


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)
