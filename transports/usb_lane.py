"""The transfers of one bulk endpoint that are under way: in order, a few at once, and what becomes of them after a stall.

While one ends the next moves bytes already: nobody has to be woken in between. All of it is for one thread. It knows no libusb.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from transports.errors import LinkLost
from transports.usb_errno import Meaning, meaning_of

MAX_STALLS: Final = 5
"""Of one endpoint in a row; then the device wants to be left alone, or opened anew."""


class Transfer(Protocol):
    """One transfer of an endpoint, used again and again. begin and cancel raise OSError."""

    is_over: bool
    """Set while its thread waits for events; not before all of it has ended."""

    @property
    def count(self) -> int:
        """How many bytes were moved."""
        ...

    @property
    def error(self) -> int:
        """The error number that ended it; 0 for none."""
        ...

    def begin(self, buffer: array[int], length: int) -> None:
        """The buffer is the transfer's until it is over."""
        ...

    def cancel(self) -> None:
        """It is over soon."""
        ...


class _Flight(NamedTuple):
    transfer: Transfer
    buffer: array[int]
    length: int


class Lane:
    """repeats: what a stall ended is sent again as a whole, for a controller does not always know how much went (QEMU's EHCI: all of it).
    Some bytes may come twice then, which frames can stand. Without it what came before a stall is taken."""

    def __init__(self, name: str, transfers: Sequence[Transfer], clear_halt: Callable[[], object], *, repeats: bool) -> None:
        self._name = name
        self._free = list(transfers)
        self._clear_halt = clear_halt
        self._repeats = repeats
        self._flights: deque[_Flight] = deque()
        self._is_stalled = False
        self._stalls = 0

    @property
    def has_room(self) -> bool:
        """begin may be called. Not between a stall and its end."""
        return bool(self._free) and not self._is_stalled

    @property
    def is_moving(self) -> bool:
        """A transfer has still the memory of its buffer."""
        return any(not flight.transfer.is_over for flight in self._flights)

    def begin(self, buffer: array[int], length: int) -> None:
        """Raises LinkLost."""
        flight = _Flight(self._free[-1], buffer, length)
        self._begin(flight)
        self._free.pop()
        self._flights.append(flight)

    def ended(self) -> Iterator[tuple[array[int], int]]:
        """The buffers of transfers that are over, in their order, and how much was moved. Raises LinkLost after those before the loss."""
        while self._flights and not self._is_stalled and (head := self._flights[0]).transfer.is_over:
            meaning = meaning_of(head.transfer.error) if head.transfer.error else None
            if meaning is Meaning.STALLED:
                self._stop()
            elif meaning is None or meaning is Meaning.NOTHING_YET:
                if meaning is None or head.transfer.count:
                    self._stalls = 0
                yield self._take()
            else:
                loss = self._loss(head.transfer.error)  # before the transfer begins anew
                yield self._take()
                raise loss
        if self._is_stalled and not self.is_moving:
            yield from self._go_on()

    def cancel(self) -> None:
        """All; the last first, or it would begin to move."""
        for flight in reversed(self._flights):
            if not flight.transfer.is_over:
                flight.transfer.cancel()

    def rest(self) -> Iterator[tuple[array[int], int]]:
        """After cancel, when nothing moves: what was moved until then."""
        yield from [self._take() for _ in range(len(self._flights))]  # not those that begin meanwhile

    def _begin(self, flight: _Flight) -> None:
        flight.transfer.is_over = False
        try:
            flight.transfer.begin(flight.buffer, flight.length)
        except OSError as error:
            flight.transfer.is_over = True
            raise self._loss(error.errno) from error

    def _take(self) -> tuple[array[int], int]:
        flight = self._flights.popleft()
        self._free.append(flight.transfer)
        return flight.buffer, flight.transfer.count

    def _stop(self) -> None:
        """A halt may only be cleared when no transfer waits behind it: some controllers lose it else."""
        if self._flights[0].transfer.count and not self._repeats:
            self._stalls = 0
        if self._stalls >= MAX_STALLS:
            raise self._loss(self._flights[0].transfer.error)
        self._stalls += 1
        self._is_stalled = True
        self.cancel()

    def _go_on(self) -> Iterator[tuple[array[int], int]]:
        try:
            self._clear_halt()
        except OSError as refusal:
            raise self._loss(refusal.errno) from refusal
        self._is_stalled = False
        if not self._repeats:
            yield from self.rest()
            return
        for flight in self._flights:
            self._begin(flight)

    def _loss(self, number: int | None) -> LinkLost:
        meaning = meaning_of(number)
        return LinkLost(f"{self._name}: {meaning.value if meaning is not Meaning.UNKNOWN else _words(number)}")


def _words(number: int | None) -> str:
    return os.strerror(number) if number else Meaning.UNKNOWN.value
