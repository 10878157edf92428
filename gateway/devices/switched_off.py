"""Which devices a person has switched off: remembered in the ledger, so that the next gateway leaves them alone, too."""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Final

from gateway.devices.ledger import Ledger, LedgerFailed

_logger = logging.getLogger(__name__)
_FORGOTTEN: Final = "the power switch is not remembered at the next start"


class SwitchedOff:
    """What the ledger knows. A ledger that cannot be written hinders nobody from switching."""

    def __init__(self, ledger: Ledger) -> None:
        """Blocks; call before the loop runs. Raises LedgerFailed."""
        self._ledger = ledger
        self.before: Container[str] = frozenset(ledger.switched_off())
        """Devices that were off when this gateway began."""

    async def remember(self, device: str, *, is_off: bool) -> None:
        """Durable on return, if it can be."""
        try:
            await self._ledger.put_switch(device, is_off=is_off)
        except LedgerFailed as error:
            _logger.warning(_FORGOTTEN, extra={"device": device, "why": str(error)})
