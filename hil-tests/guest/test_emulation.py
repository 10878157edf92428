"""The parts of the stand that need no guest: divisors, levels on the wire, the circuit at the reset pin, packets and descriptors."""

from __future__ import annotations

import random
import struct

import pytest
from guest.auto_reset import CAPACITOR_S, AutoReset, Boot
from guest.ft232 import IN_ENDPOINT, Ft232, LineError, Lines, baud_of, description
from guest.uart import sample
from guest.usbredir import Cancel, Hello, Requests, SetAlternate
from guest.wirelet_usb import IN_ENDPOINT as BULK_IN
from guest.wirelet_usb import OUT_ENDPOINT, WireletUsb

UP = Lines(dtr=True, rts=True)
DOWN = Lines(dtr=False, rts=False)
ONLY_DTR = Lines(dtr=True, rts=False)
ONLY_RTS = Lines(dtr=False, rts=True)


@pytest.mark.parametrize(
    ("value", "rate"),
    [(0x2710, 300), (0x4138, 9600), (0xC028, 74766.4), (0x001A, 115384.6), (0x8003, 923076.9), (0x0001, 2_000_000), (0x0000, 3_000_000)],
)
def test_a_divisor_of_the_driver_makes_the_rate_it_means(value: int, rate: float) -> None:
    assert baud_of(value, 0) == pytest.approx(rate, rel=1e-5)


def test_a_uart_reads_what_was_sent_at_nearly_its_rate() -> None:
    data = random.Random(1).randbytes(300)
    for rate in (115200, 115384.6, 113000):
        assert bytes(sampled.value for sampled in sample(data, rate, 115200)) == data


@pytest.mark.parametrize(("sent", "read"), [(74880, 115200), (115200, 74880), (9600, 115200)])
def test_a_uart_reads_garbage_at_another_rate(sent: float, read: float) -> None:
    text = b"wirelet-sim: boot\r\n" * 4
    sampled = list(sample(text, sent, read))
    assert bytes(one.value for one in sampled) != text
    assert any(one.is_misframed for one in sampled)


@pytest.mark.parametrize(
    ("steps", "boot"),
    [
        pytest.param([UP, DOWN], None, id="open and close"),
        pytest.param([UP, ONLY_RTS, DOWN], Boot.PROGRAM, id="lowered one by one, DTR first"),
        pytest.param([UP, ONLY_DTR, DOWN], None, id="lowered one by one, RTS first"),
        pytest.param([UP, ONLY_RTS, ONLY_DTR], Boot.LOADER, id="esptool, both lines at once"),
        pytest.param([UP, ONLY_RTS, UP, ONLY_DTR], Boot.LOADER, id="esptool, one by one: saved by the capacitor"),
        pytest.param([ONLY_RTS], None, id="held in reset"),
    ],
)
def test_what_the_lines_start(steps: list[Lines], boot: Boot | None) -> None:
    circuit = AutoReset()
    for step in steps:
        circuit.set_lines(step, now=0.0)
    assert circuit.poll(CAPACITOR_S / 2) is None
    assert circuit.poll(CAPACITOR_S) is boot


def test_a_packet_has_one_kind_of_error_and_waits_for_the_latency_timer() -> None:
    chip = Ft232(description("S1"))
    assert chip.packet_in(IN_ENDPOINT, 0.0) == b"\xb1\x60"
    chip.put(b"good")
    chip.put(b"bad", LineError.FRAMING)
    assert chip.packet_in(IN_ENDPOINT, 0.015) is None
    assert chip.packet_in(IN_ENDPOINT, 0.016) == b"\xb1\x60good"
    assert chip.packet_in(IN_ENDPOINT, 0.032) == b"\xb1\x68bad"
    chip.put(bytes(62))
    assert chip.packet_in(IN_ENDPOINT, 0.032) == b"\xb1\x60" + bytes(62)


def test_a_burst_that_ends_on_a_full_packet_is_followed_by_an_empty_one() -> None:
    device = WireletUsb("S2", loops_back=True)
    device.packet_out(OUT_ENDPOINT, bytes(512), 0.0)
    assert [device.packet_in(BULK_IN, 0.0) for _ in range(3)] == [bytes(512), b"", None]
    device.packet_out(OUT_ENDPOINT, bytes(512), 0.0)
    device.packet_out(OUT_ENDPOINT, b"x", 0.0)
    assert [device.packet_in(BULK_IN, 0.0) for _ in range(3)] == [bytes(512), b"x", None]


def test_a_device_without_serial_number_has_no_string_for_it() -> None:
    numbered, anonymous = description("S3").descriptor(1, 0), description("").descriptor(1, 0)
    assert numbered
    assert anonymous
    assert (numbered[16], anonymous[16]) == (3, 0)
    assert numbered[:16] == anonymous[:16]


def test_requests_are_read_whatever_pieces_they_come_in() -> None:
    hello = struct.pack("<III", 0, 68, 0) + bytes(68)
    cancel = struct.pack("<IIQ", 21, 0, 7)
    choose = struct.pack("<IIQ", 9, 2, 8) + bytes([0, 1])
    requests = Requests()
    found = [request for byte in hello + cancel + choose for request in requests.receive_data(bytes([byte]))]
    assert found == [Hello(), Cancel(7), SetAlternate(8, 0, 1)]


def test_a_packet_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        list(Requests().receive_data(struct.pack("<IIQ", 101, 1 << 30, 0)))
