"""Whether a line runs at another speed than its device: framing errors from the first bytes on, and nothing that can be decoded.

A boot ROM often talks at another speed for a moment, and a line is noisy while it is plugged in. So it is told only after a while, only
while not one frame was good since the port was opened, and once for each opening.
"""

from __future__ import annotations

from typing import Final

from transports.link import LineErrors

AFTER_S: Final = 3.0
"""A boot ROM's text is over, and a device that speaks the right speed has said HELLO several times."""
MIN_FRAMING: Final = 3
BYTES_PER_ERROR: Final = 128
"""FTDI chips count once for a packet of up to 62 bytes with a bad one: at a wrong speed nearly every packet has some."""


class BaudWatch:
    """look() after every read of one open link; it returns the sentence to tell, or None."""

    def __init__(self, opened_at: float, good_frames: int) -> None:
        self._opened_at = opened_at
        self._good_frames = good_frames
        self._received_bytes = 0
        self.has_told = False

    def look(self, read_bytes: int, good_frames: int, errors: LineErrors | None, now: float) -> str | None:
        """good_frames is the core's counter, errors those of the link."""
        self._received_bytes += read_bytes
        if self.has_told or errors is None or good_frames != self._good_frames or now - self._opened_at < AFTER_S:
            return None
        if errors.framing < MIN_FRAMING or errors.framing * BYTES_PER_ERROR < self._received_bytes:
            return None
        self.has_told = True
        return (
            f"{errors.framing} framing errors in {self._received_bytes} bytes and nothing that can be decoded:"
            " the device talks at another speed; compare baud with its firmware"
        )
