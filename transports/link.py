"""The one seam to a byte pipe: what a serial port, a USB bulk interface, an SSH channel and a simulated device have in common.

A link is one connection. It knows no messages and does not survive an unplug; the supervisor opens a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, runtime_checkable

MAX_READ_BYTES: Final = 65536
"""The most that one receive returns; larger than any kernel tty buffer."""


class Link(Protocol):
    """A full-duplex byte pipe to one device, owned by the task group that opened it.

    One task may receive while another sends; not two of the same kind. Both end with LinkLost when the pipe is gone.
    """

    @property
    def name(self) -> str:
        """What a person calls it: the port's path, host or `simulated`."""
        ...

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        """At least one byte, as soon as there is one. Raises LinkLost."""
        ...

    async def send(self, data: bytes) -> None:
        """Return when the operating system has taken all of data. Raises LinkLost. Cancelling may leave a part sent."""
        ...

    async def aclose(self) -> None:
        """Let go of the pipe: idempotent, bounded in time, never waits for unsent bytes."""
        ...


@runtime_checkable
class DirectLink(Protocol):
    """A link that spares its owner's tasks: on a busy line waking one costs more than the bytes."""

    async def deliver(self, received: Callable[[bytes], float | None]) -> None:
        """Instead of receive: call received with what comes, and with nothing when nothing came in a rest. Raises LinkLost.

        It answers how long bytes may gather now before they are read: 0 not at all, None that it takes no more; then deliver returns.
        """
        ...

    def end_rest(self) -> None:
        """Read now what has gathered."""
        ...

    def send_now(self, data: bytes) -> int:
        """How much of data the operating system took at once; 0 when it is full or the link is lost, as the next send will tell.

        Not while a send is under way.
        """
        ...


class LineErrors(NamedTuple):
    """What a UART saw go wrong, in the words of its driver. Each counts what the driver counts: bytes, or USB packets with such bytes."""

    framing: int = 0
    """No stop bit where one should be: noise, or another baud rate."""
    parity: int = 0
    overrun: int = 0
    """The UART's own buffer was full: bytes are lost."""
    buffer_overrun: int = 0
    """The kernel's buffer was full: bytes are lost."""
    breaks: int = 0

    def plus(self, other: LineErrors) -> LineErrors:
        return LineErrors(*(mine + its for mine, its in zip(self, other, strict=True)))

    def since(self, before: LineErrors) -> LineErrors:
        """How many came after before; the driver's counters are 32 bits wide and wrap."""
        return LineErrors(*((mine - its) % 2**32 for mine, its in zip(self, before, strict=True)))


@runtime_checkable
class CountingLink(Protocol):
    """A link over a UART that counts what goes wrong on the line."""

    def line_errors(self) -> LineErrors | None:
        """Since the link was opened; None where nobody counts. After a loss what was known before it."""
        ...


@runtime_checkable
class ResettableLink(Protocol):
    """A link whose lines can reset the board behind it."""

    async def reset(self) -> None:
        """Reset the board, and return when it may start. Raises LinkError when this link cannot."""
        ...


class LinkOpener(Protocol):
    """How to get a link to one configured device; may be used again after the link was lost."""

    @property
    def name(self) -> str:
        """The same as the link's name, known before it is open."""
        ...

    async def open(self) -> Link:
        """Open the pipe. Raises LinkNotFound, LinkBusy, LinkPermissionDenied or LinkTimeout."""
        ...


@runtime_checkable
class RunningOpener(Protocol):
    """An opener with a life of its own beside the supervisor's: a board in this process, a watcher of ports."""

    async def run(self) -> None:
        """Started once, before the first open. Until cancelled; it must not end or fail because a device does."""
        ...


@runtime_checkable
class HotplugOpener(Protocol):
    """An opener that hears of ports that come and go, so that nobody has to look for an absent one again and again."""

    async def appeared(self) -> None:
        """After open raised LinkNotFound: return when another attempt may end otherwise. Must not return at once for ever."""
        ...

    async def vanished(self) -> str:
        """While its link is open: return, with the reason, when its port is gone. May never return: reading the link tells it, too."""
        ...


@runtime_checkable
class LendableOpener(Protocol):
    """An opener whose port another program may use while no link of ours is open."""

    async def address(self) -> str:
        """What such a program calls the port now: a tty's path, a node of /dev/bus/usb, a URL of pyserial's. Raises LinkNotFound."""
        ...


@runtime_checkable
class ResettingOpener(Protocol):
    """An opener that knows whether its links can reset the board: they are ResettableLinks then."""

    @property
    def can_reset(self) -> bool: ...


class TerminalSize(NamedTuple):
    columns: int
    rows: int


class CommandEnd(NamedTuple):
    """How a command ended. signal is its name without SIG, or empty."""

    exit_code: int
    signal: str = ""


class CommandOutput(NamedTuple):
    data: bytes
    is_error: bool


class Command(Protocol):
    """A command beside the link's own, owned by whoever started it. One task may receive while another sends."""

    async def receive(self) -> CommandOutput | CommandEnd:
        """The end comes once, after all output. Raises LinkLost."""
        ...

    async def send(self, data: bytes) -> None:
        """Return when there is room for more. What a command that has ended does not read is dropped. Raises LinkLost."""
        ...

    def end_input(self) -> None: ...

    def resize(self, size: TerminalSize) -> None:
        """Without a terminal nothing happens."""
        ...

    async def aclose(self) -> None:
        """Idempotent. A command that still runs is asked to end."""
        ...


@runtime_checkable
class CommandLink(Protocol):
    """A link whose far end runs commands for us."""

    async def run(self, command: str, terminal: tuple[str, TerminalSize] | None) -> Command:
        """terminal: what TERM says, and its size. Raises LinkError."""
        ...
