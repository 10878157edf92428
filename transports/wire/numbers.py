"""The numbers of the wire: channels, sizes, datagram types, methods, codes, reasons and caps (SPEC.md, messages).

They are frozen: a number is never reused or given another meaning.
"""

from __future__ import annotations

import enum
from typing import Final

from transports.protocol import GapReason

Body = dict[int, object]

PROTOCOL_VERSION: Final = 1
MIN_MTU: Final = 64
MAX_MTU: Final = 4096
MIN_MESSAGE_BYTES: Final = 192
MAX_MESSAGE_BYTES: Final = 65536
"""max_msg of the gateway."""
MAX_DATAGRAM_BYTES: Final = 64
MAX_TAG_BYTES: Final = 24
MAX_NAME_CHARS: Final = 255
MAX_TEXT_CHARS: Final = 4096

CH_LINK: Final = 0
CH_CTRL: Final = 1
CH_LOG: Final = 2
FIRST_CHANNEL: Final = 16
LAST_CHANNEL: Final = 239
"""Those between carry conversations."""


class Datagram(enum.IntEnum):
    HELLO = 0x01
    WELCOME = 0x02
    READY = 0x03
    SOLICIT = 0x04
    PING = 0x05
    PONG = 0x06


class Method(enum.IntEnum):
    START = 0x10
    STOP = 0x11
    LIST = 0x12
    REMOVE = 0x13
    REBOOT = 0x14
    INVENTORY = 0x15
    STATS = 0x16
    EXEC = 0x20
    ATTACH = 0x21
    WINCH = 0x22
    OPEN = 0x24
    CLOSE = 0x25
    FILE_PUT = 0x28
    FILE_GET = 0x29
    FILE_STAT = 0x2A
    COMMIT = 0x2B
    STARTED = 0x50
    EXITED = 0x51
    CONDITION = 0x52
    ERROR = 0x53
    AWAY = 0x54


class Code(enum.IntEnum):
    """Answer codes; an answer with another code than OK may carry TEXT and LIMIT."""

    OK = 0
    UNSUPPORTED = 1
    INVALID = 2
    NOT_FOUND = 3
    BUSY = 4
    NO_SPACE = 5
    TOO_BIG = 6
    DENIED = 7
    BAD_STATE = 8
    INTEGRITY = 9
    INTERNAL = 10


KEY_TEXT: Final = 30
KEY_LIMIT: Final = 31
KEY_NEXT: Final = 2
"""In a paged answer: ask again with this as `from`."""


class RstCode(enum.IntEnum):
    UNKNOWN_SESSION = 1
    FENCED = 2
    FORGET = 3
    PROTOCOL_ERROR = 4


class AwayReason(enum.IntEnum):
    SLEEP = 1
    ERASE = 2
    REBOOT = 3
    UPDATE = 4


class ResetCause(enum.IntEnum):
    UNKNOWN = 0
    POWER = 1
    PIN = 2
    SOFTWARE = 3
    WATCHDOG = 4
    BROWN_OUT = 5
    PANIC = 6
    WAKE = 7


class Caps(enum.IntFlag):
    RLOG = 1 << 0
    FILES = 1 << 1
    EXEC = 1 << 2
    STDIN = 1 << 3
    STATS = 1 << 4
    TIME = 1 << 5
    RESIDENT = 1 << 6
    OTA_SLOTS = 1 << 7
    OVERFLOW_DROP_OLD = 1 << 8
    OVERFLOW_BLOCK = 2 << 8
    """Bits 8 and 9 are one number: 0 drop new, 1 drop old, 2 block."""


OVERFLOW_MASK: Final = 3 << 8


class StartFlag(enum.IntFlag):
    TTY = 1 << 0
    STDIN = 1 << 1


def gap_reason(number: int) -> int:
    """What a device says of missing output, UNKNOWN for what no device can know: higher reasons are the gateway's own."""
    return number if GapReason.OVERWRITTEN <= number <= GapReason.UNKNOWN else GapReason.UNKNOWN


def put_optional(body: Body, key: int, value: object) -> None:
    """Absent keys are how the wire says None."""
    if value is not None:
        body[key] = value
