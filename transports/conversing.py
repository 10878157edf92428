"""What a supervisor asks of a protocol core whose device talks with people: commands beside its workloads, and who types to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from transports.link import CommandEnd, CommandOutput, TerminalSize


class CoreCommand(Protocol):
    """A command beside a device's workloads, as a core has it: nothing here waits. After each call the core may have something to send."""

    @property
    def has_begun(self) -> bool:
        """Raises DeviceError when the device refused it, SessionLost when the session ended before."""
        ...

    def read(self) -> CommandOutput | CommandEnd | None:
        """What came next, None for nothing yet; the end comes after all output.

        Raises DeviceError when the device gave the command up, SessionLost.
        """
        ...

    def write(self, data: bytes) -> int:
        """How much of data there was room for. What a command that has ended does not read is dropped."""
        ...

    def end_input(self) -> None: ...

    def resize(self, size: TerminalSize) -> None: ...

    def leave(self) -> None:
        """Nobody listens any more: a command that still runs is ended. Idempotent."""
        ...


@runtime_checkable
class ConversingProtocol(Protocol):
    """A core whose device runs other commands beside its workloads, and may hold something for whoever types to one."""

    def begin_command(
        self, beside: tuple[int, int], argv: Sequence[str], terminal: TerminalSize | None, moved: Callable[[], None], now: float
    ) -> CoreCommand:
        """beside: (wid, gen) of the run whose environment it has. moved is called when another look may be worth it, but not from within a
        call of the command. Raises DeviceError, LocalProtocolError when it cannot fit, SessionLost."""
        ...

    def typist_left(self, wid: int, gen: int) -> None:
        """Whoever sent input to the run is gone."""
        ...
