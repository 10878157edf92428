"""RS-485 as the driver does it: the UART or its driver drives RTS around what is sent, to the bit.

A program that moves RTS itself is late by milliseconds and cuts its neighbours' words; that is not offered. Only lines that carry both
directions at once (four wires) can carry wirelet frames: SPEC.md 1.2.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from dataclasses import dataclass
from typing import Final

from transports.driver import BadOption, DurationS
from transports.errors import LinkError

NO_DELAY: Final = DurationS(0.0)
MAX_DELAY_S: Final = 0.1
"""The kernel cuts longer ones."""

_TIOCGRS485: Final = 0x542E
_TIOCSRS485: Final = 0x542F
# Linux: struct serial_rs485 {u32 flags, delay_rts_before_send, delay_rts_after_send; u32 padding[5]}, the delays in ms
_SERIAL_RS485: Final = struct.Struct("=3I20x")
_ENABLED, _RTS_ON_SEND, _RTS_AFTER_SEND, _RX_DURING_TX = 1 << 0, 1 << 1, 1 << 2, 1 << 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rs485:
    """How the transceiver is wired."""

    rts_on_send: bool = True
    """RTS is up while something is sent and down otherwise; false: the other way round."""
    receive_during_send: bool = True
    delay_before_send: DurationS = NO_DELAY
    """From RTS to the first bit."""
    delay_after_send: DurationS = NO_DELAY
    """From the last bit to RTS."""

    def __post_init__(self) -> None:
        if not self.receive_during_send:
            why = "frames go both ways at once (SPEC.md 1.2), so the bus needs a pair of wires for each way"
            raise BadOption("receive_during_send", f"must be true: {why}")
        for option in ("delay_before_send", "delay_after_send"):
            delay_s = getattr(self, option)
            if not 0 <= delay_s <= MAX_DELAY_S or abs(delay_s * 1000 - round(delay_s * 1000)) > 1e-6:
                raise BadOption(option, f"must be 0ms to {MAX_DELAY_S * 1000:g}ms in whole milliseconds, not {delay_s * 1000:g}ms")


def set_rs485(fd: int, path: str, rs485: Rs485) -> None:
    """Raises LinkError when the driver cannot do it, or does another thing than what was asked. May block."""
    asked = encode(rs485)
    try:
        fcntl.ioctl(fd, _TIOCSRS485, asked)
        got = fcntl.ioctl(fd, _TIOCGRS485, bytes(_SERIAL_RS485.size))
    except OSError as error:
        if error.errno != errno.ENOTTY:
            raise
        why = "the port's driver has no RS-485 mode; take an adapter that switches by itself and leave rs485 out"
        raise LinkError(f"{path}: {why}") from error
    if difference := differs(asked, got):
        raise LinkError(f"{path}: the port's driver does RS-485 without {difference}")


def encode(rs485: Rs485) -> bytes:
    flags = _ENABLED | (_RTS_ON_SEND if rs485.rts_on_send else _RTS_AFTER_SEND) | _RX_DURING_TX * rs485.receive_during_send
    return _SERIAL_RS485.pack(flags, round(rs485.delay_before_send * 1000), round(rs485.delay_after_send * 1000))


def differs(asked: bytes, got: bytes) -> str:
    """The keys that the driver does not honour; empty if it does what was asked."""
    flags, before_ms, after_ms = _SERIAL_RS485.unpack(asked)
    got_flags, got_before_ms, got_after_ms = _SERIAL_RS485.unpack(got)
    kept = {
        "rtsOnSend": not (flags ^ got_flags) & (_RTS_ON_SEND | _RTS_AFTER_SEND) and bool(got_flags & _ENABLED),
        "receiveDuringSend": not (flags ^ got_flags) & _RX_DURING_TX,
        "delayBeforeSend": before_ms == got_before_ms,
        "delayAfterSend": after_ms == got_after_ms,
    }
    return ", ".join(key for key, is_kept in kept.items() if not is_kept)
