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
        self._why: str | None = None
        self._is_in_use = False
        self._changed = anyio.Event()

    @property
    def why_not_ours(self) -> str | None:
        """Why somebody else has it, or waits for it."""
        return self._why

    @asynccontextmanager
    async def ours(self) -> AsyncGenerator[None]:
        """Entered when nobody else has the port."""
        while self._why is not None:
            await self._changed.wait()
        self._is_in_use = True
        try:
            yield
        finally:
            self._is_in_use = False
            self._touch()

    async def wanted(self) -> str:
        """Why somebody else shall have the port, when that is so."""
        while self._why is None:
            await self._changed.wait()
        return self._why

    @asynccontextmanager
    async def lent(self, borrower: str) -> AsyncIterator[None]:
        """Entered when the supervisor has closed the port; it opens it again afterwards. Raises as take() does."""
        await self.take(f"lent to {borrower}")
        try:
            yield
        finally:
            self.give_back()

    async def take(self, why: str) -> None:
        """Returns when the supervisor has closed the port, which it leaves alone until give_back().

        Raises LinkBusy when somebody else has it, LinkTimeout when the supervisor does not come out of it.
        """
        if self._why is not None:
            raise LinkBusy(f"{self._name}: {self._why}")
        self._why = why
        self._touch()
        is_taken = False
        try:
            with anyio.move_on_after(LEND_DEADLINE_S):
                while self._is_in_use:
                    await self._changed.wait()
                is_taken = True
            if not is_taken:
                raise LinkTimeout(f"{self._name}: not closed within {LEND_DEADLINE_S:g} s; try again")
        finally:
            if not is_taken:
                self.give_back()

    def give_back(self) -> None:
        """The supervisor opens the port again."""
        self._why = None
        self._touch()

    def _touch(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
