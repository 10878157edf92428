"""USB serial numbers that are none: what chips and stacks say when nobody gave them one. Pure.

Two boards that both say `0001` must not be taken for one, so such a board is known by the port it hangs on. udev/61-wirelet.rules has the
same list; a test compares the two.
"""

from __future__ import annotations

from typing import Final

FAKE_SERIALS: Final = frozenset(
    {
        # As chips and stacks come: CP210x, QEMU's usb-serial, TinyUSB, ESP-IDF, Zephyr, STM32Cube, pico-uart-bridge, FT600.
        "0",
        "1",
        "0000",
        "0001",
        "00000000",
        "00000001",
        "000000000000",
        "000000000001",
        "00000000001A",
        "12345",
        "123456",
        "12345678",
        "123456789",
        "1234567890",
        "123456789012",
        "0123456789",
        "0123456789ABCDEF",
        "0123456789abcdef",
        # On FT232R clones of many makers.
        "A50285BI",
    }
)


def is_fake_serial(serial: str) -> bool:
    """Whether serial, as udev has it in ID_SERIAL_SHORT, says nothing about which board it is. True for none at all."""
    return not serial or serial in FAKE_SERIALS
