"""What is said of the bytes that come back of a loop, and what is not."""

from __future__ import annotations

import anyio.lowlevel
import pytest

from transports import loopback
from transports.link import MAX_READ_BYTES
from transports.loopback import VALUES, Echo, cause_of, problem_of


def test_every_value_is_sent_and_xon_right_behind_xoff() -> None:
    assert sorted(VALUES) == list(range(256))
    assert b"\x13\x11" in VALUES


@pytest.mark.parametrize(
    ("came", "problem", "cause"),
    [
        (VALUES * 4, "", ""),
        (b"", "nothing comes back", "join TX and RX"),
        (VALUES.translate(None, b"\x11\x13") * 4, "0x11, 0x13 never come back", "XON/XOFF"),
        (bytes(value & 0x7F for value in VALUES) * 4, "0x80 to 0xff never come back, and others come instead", "7 data bits"),
        (VALUES.replace(b"\r", b"\n") * 4, "0x0d never come back, and others come instead", "as text"),
        (VALUES * 3 + VALUES[:200], "56 of 1024 bytes are lost", "a lower baud"),
        (VALUES[::-1] * 4, "bytes come back in another order, or more than once", "a lower baud"),
        (VALUES * 4 + b"x", "bytes come back in another order, or more than once", "a lower baud"),
    ],
)
def test_what_does_not_come_back_is_named_with_its_likely_cause(came: bytes, problem: str, cause: str) -> None:
    echo = Echo(4, came)
    assert problem_of(echo) == problem
    assert cause in cause_of(echo)


class Talker:
    """A link to a board that prints whatever it is sent, or is not."""

    name = "board"

    def __init__(self) -> None:
        self.sent = b""

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        await anyio.lowlevel.checkpoint()
        return b"tick\n"

    async def send(self, data: bytes) -> None:
        self.sent += data

    async def aclose(self) -> None: ...


async def test_a_board_that_talks_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "LISTEN_S", 0.1)
    talker = Talker()
    echo = await loopback.loop(talker, 115200)
    assert problem_of(echo) == "a device talks there, so nothing was sent"
    assert talker.sent == b""
