"""Which interface of a device is taken, and why none is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from transports.usb_interface import TRIPLE, BulkInterface, Endpoint, Setting, choose

IN, OUT = Endpoint(0x81, 0x02, 512), Endpoint(0x02, 0x02, 512)
SECOND_IN, INTERRUPT = Endpoint(0x83, 0x02, 512), Endpoint(0x84, 0x03, 16)
STRINGS = {4: "wirelet/1", 5: "trace", 6: "wirelet/2"}
WIRELET = Setting(0, 0, TRIPLE, 4, (IN, OUT))
CDC = Setting(1, 0, (0x0A, 0x00, 0x00), 0, (IN, OUT))
IDLE = replace(WIRELET, endpoints=())


def chosen(*settings: Setting, number: int | None = None) -> BulkInterface | str:
    return choose(settings, lambda index: STRINGS.get(index, ""), number)


@pytest.mark.parametrize(
    ("settings", "number", "found"),
    [
        ([WIRELET], None, (0, 0)),
        ([CDC, replace(WIRELET, interface=2)], None, (2, 0)),
        ([replace(WIRELET, endpoints=(IN, INTERRUPT, OUT))], None, (0, 0)),
        ([IDLE, replace(WIRELET, alternate=1)], None, (0, 1)),
        ([WIRELET, replace(WIRELET, alternate=1)], None, (0, 0)),
        ([WIRELET, replace(WIRELET, interface=2, string_index=5)], None, (0, 0)),
        ([WIRELET, replace(WIRELET, interface=2)], 2, (2, 0)),
    ],
    ids=["alone", "beside cdc", "with an interrupt endpoint", "second setting", "first of two settings", "another string", "by its number"],
)
def test_the_interface_of_the_protocol_is_found(settings: list[Setting], number: int | None, found: tuple[int, int]) -> None:
    interface = chosen(*settings, number=number)
    assert isinstance(interface, BulkInterface), interface
    assert (interface.number, interface.alternate) == found
    assert (interface.into_host, interface.out_of_host) == (IN, OUT)


@pytest.mark.parametrize(
    ("settings", "number", "why"),
    [
        ([], None, "the device has no interface of class ff, subclass 57, protocol 01"),
        ([CDC], None, "the device has no interface of class ff, subclass 57, protocol 01"),
        ([WIRELET], 3, "the device has no interface 3 of class ff, subclass 57, protocol 01"),
        ([replace(WIRELET, triple=(0xFF, 57, 0x01))], None, "the device has no interface of class ff, subclass 57, protocol 01"),
        ([replace(WIRELET, string_index=0)], None, "interface 0 is '', not 'wirelet/1'"),
        ([replace(WIRELET, string_index=6)], None, "interface 0 is 'wirelet/2', not 'wirelet/1'"),
        ([replace(WIRELET, endpoints=(IN,))], None, "interface 0 has 1 bulk IN and 0 bulk OUT endpoints, not one of each"),
        ([replace(WIRELET, endpoints=(IN, SECOND_IN, OUT))], None, "interface 0 has 2 bulk IN and 1 bulk OUT endpoints, not one of each"),
        ([replace(WIRELET, endpoints=(INTERRUPT, OUT))], None, "interface 0 has 0 bulk IN and 1 bulk OUT endpoints, not one of each"),
        (
            [replace(WIRELET, endpoints=(IN, Endpoint(0x02, 0x02, 0)))],
            None,
            "interface 0 has 1 bulk IN and 0 bulk OUT endpoints, not one of each",
        ),
        (
            [WIRELET, replace(WIRELET, interface=2)],
            None,
            "the device has the interface wirelet/1 2 times: as 0, 2; say which by `interface`",
        ),
    ],
)
def test_what_is_missing_is_said(settings: list[Setting], number: int | None, why: str) -> None:
    assert chosen(*settings, number=number) == why


def test_no_string_is_read_of_what_is_another_vendors() -> None:
    """Reading one is a request to the device."""

    def unexpected(index: int) -> str:
        raise AssertionError(index)

    choose([CDC, replace(WIRELET, endpoints=(IN,))], unexpected)
