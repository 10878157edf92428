"""What the error numbers of libusb mean."""

from __future__ import annotations

import errno

import pytest
import usb.backend.libusb1
import usb.core

from transports.usb_errno import Meaning, meaning_of


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.ENODEV, Meaning.GONE),
        (errno.EIO, Meaning.GONE),
        (errno.EPIPE, Meaning.STALLED),
        (errno.ETIMEDOUT, Meaning.NOTHING_YET),
        (errno.EACCES, Meaning.FORBIDDEN),
        (errno.EBUSY, Meaning.BUSY),
        (errno.EOVERFLOW, Meaning.UNKNOWN),
        (None, Meaning.UNKNOWN),
    ],
)
def test_an_error_number_means(number: int | None, meaning: Meaning) -> None:
    assert meaning_of(number) is meaning


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("IO", Meaning.GONE),
        ("NO_DEVICE", Meaning.GONE),
        ("NOT_FOUND", Meaning.GONE),
        ("PIPE", Meaning.STALLED),
        ("TIMEOUT", Meaning.NOTHING_YET),
        ("ACCESS", Meaning.FORBIDDEN),
        ("BUSY", Meaning.BUSY),
    ],
)
def test_pyusb_gives_what_libusb_says_such_a_number(name: str, meaning: Meaning) -> None:
    """Pins the function of pyusb that transports.usb_backend takes for its own calls."""
    with pytest.raises(usb.core.USBError) as refused:
        usb.backend.libusb1._check(getattr(usb.backend.libusb1, f"LIBUSB_ERROR_{name}"))
    assert meaning_of(refused.value.errno) is meaning
    assert usb.backend.libusb1._check(12) == 12
