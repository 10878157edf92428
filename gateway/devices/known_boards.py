"""Which board answered on each configured device, and where: remembered in the ledger, so that another one is not taken for it.

A link that names one board (a USB serial number) belongs to the board that answered on it first; another one there is refused until a
person says so. A link that names a place (a path, a port) belongs to whoever is plugged in there; a change is told.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.devices.ledger import KnownBoard, Ledger, LedgerFailed
from transports.discovery.facts import PortFacts
from transports.discovery.identity import identity_of

ANY: Final = "any"
"""Of a device's deviceId: whichever board answers."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Meeting:
    """A board answered."""

    board: KnownBoard
    before: KnownBoard | None
    """Who answered on the device the last time; None: nobody ever did."""

    @property
    def is_swap(self) -> bool:
        return self.before is not None and self.before.device_id != self.board.device_id

    @property
    def has_moved(self) -> bool:
        """The same board on another port."""
        return self.before is not None and not self.is_swap and self.before.port != self.board.port


def refusal(device_id: bytes, wanted: str | None, known: KnownBoard | None, *, names_a_board: bool) -> str | None:
    """Why a board that says it is device_id must not be taken for the device. wanted is the configuration's deviceId."""
    if wanted == ANY:
        return None
    expected = wanted or (known.device_id if known is not None and names_a_board else None)
    told = device_id.hex()
    if expected is None or expected == told:
        return None
    return f'board {told} answers instead of {expected}; plug that one in, or set this device\'s deviceId to "{told}", or to any'


class KnownBoards:
    """What the ledger knows, in memory too."""

    def __init__(self, ledger: Ledger) -> None:
        """Blocks; call before the loop runs. Raises LedgerFailed."""
        self._ledger = ledger
        self._boards = {board.device: board for board in ledger.boards()}

    @property
    def boards(self) -> Mapping[str, KnownBoard]:
        """By device."""
        return self._boards

    async def meet(self, device: str, device_id: bytes, port: PortFacts | None) -> Meeting:
        """A board has joined on device, which is plugged in at port. Durable on return, if it can be."""
        before = self._boards.get(device)
        met = KnownBoard(device, device_id.hex(), "" if port is None else identity_of(port).text, (port and port.hub_port) or "")
        if before is not None and before.device_id == met.device_id and port is None:
            met = before
        if met != before:
            self._boards[device] = met
            try:
                await self._ledger.put_board(met)
            except LedgerFailed as error:
                _logger.warning("the board is forgotten at the next start", extra={"device": device, "why": str(error)})
        return Meeting(met, before)
