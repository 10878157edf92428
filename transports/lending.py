"""Who has a device's port: its supervisor, or for a while another program that a person runs on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio

from transports.errors import LinkBusy, LinkTimeout

LEND_DEADLINE_S = 15.0
"""For an open that is under way, and then the close: more than the deadlines of both."""


class Lending:
    """One for each supervisor, which uses the port only within ours() and gives it up when wanted() returns."""

    def __init__(self, name: str) -> None:
        """name is the link's, for messages."""
        self._name = name
        self._borrower: str | None = None
        self._is_in_use = False
        self._changed = anyio.Event()

    @property
    def borrower(self) -> str | None:
        """Who has it, or waits for it."""
        return self._borrower

    @asynccontextmanager
    async def ours(self) -> AsyncGenerator[None]:
        """Entered when nobody else has the port."""
        while self._borrower is not None:
            await self._changed.wait()
        self._is_in_use = True
        try:
            yield
        finally:
            self._is_in_use = False
            self._touch()

    async def wanted(self) -> str:
        """Who wants the port, when somebody does."""
        while self._borrower is None:
            await self._changed.wait()
        return self._borrower

    @asynccontextmanager
    async def lent(self, borrower: str) -> AsyncIterator[None]:
        """Entered when the supervisor has closed the port; it opens it again afterwards.

        Raises LinkBusy when somebody else has it, LinkTimeout when the supervisor does not come out of it.
        """
        if self._borrower is not None:
            raise LinkBusy(f"{self._name}: lent to {self._borrower}")
        self._borrower = borrower
        self._touch()
        try:
            with anyio.move_on_after(LEND_DEADLINE_S) as patience:
                while self._is_in_use:
                    await self._changed.wait()
            if patience.cancelled_caught:
                raise LinkTimeout(f"{self._name}: not closed within {LEND_DEADLINE_S:g} s")
            yield
        finally:
            self._borrower = None
            self._touch()

    def _touch(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
