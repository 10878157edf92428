"""The cable of one device, whatever it is made of: what happens when it is pulled, and when it comes back.

A link is used until it is lost. Then the core ends its session, the sink hears why, and the port is opened again: soon after a link that
was good, less and less often when it refuses, and while it is absent when somebody tells that it came, or by looking for it. What becomes
of the workloads is decided elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio

from transports.backoff import Backoff
from transports.delivery import Delivery
from transports.errors import LinkError, LinkLost, LinkNotFound, LinkTimeout
from transports.lending import Lending
from transports.link import HotplugOpener, Link, LinkOpener
from transports.pump import Pump

CLOSE_DEADLINE_S: Final = 3.0
"""A little more than a link gives itself."""
ABSENT_DELAY_S: Final = 0.5
"""The most between two looks for a port that is not there, when nobody tells that it came: a replug is a session again within a second."""
HEARD_DELAY_S: Final = 30.0
"""The same when somebody does: what went wrong in the telling is mended within it, and what is there is told anew."""
STEADY_S: Final = 2.0
"""A link that lived this long was a good one; a shorter life counts as a failed attempt, or a flapping port would be opened without end."""
DRAIN_S: Final = 1.0
"""What a lost link received before it broke is still taken, for this long."""
VANISHED_S: Final = 0.1
"""The same for a port that was unplugged: mostly reading has noticed before; if not, it never will."""
SPENT_S: Final = 1.0
"""A far end that was asked to end may do so by itself. Less than STEADY_S: what is no use at once is opened less and less often."""


class Cable:
    """One for each device, which has the port except while it is lent."""

    def __init__(
        self, opener: LinkOpener, pump: Pump, delivery: Delivery, lending: Lending, *, rng: random.Random, open_deadline_s: float
    ) -> None:
        self._opener = opener
        self._hotplug = opener if isinstance(opener, HotplugOpener) else None
        self._pump = pump
        self._delivery = delivery
        self._lending = lending
        self._open_deadline_s = open_deadline_s
        self._absent = Backoff(rng, max_s=ABSENT_DELAY_S)
        self._refused = Backoff(rng)
        self._link: Link | None = None

    @property
    def link(self) -> Link | None:
        """The open one."""
        return self._link

    async def keep_plugged(self) -> None:
        """Until cancelled: keep a link open and its bytes moving."""
        while True:
            async with self._lending.ours():
                error = await self._open_and_use()
            if not isinstance(error, LinkNotFound):
                self._absent.reset()
                await anyio.sleep(self._refused.next_delay_s())
                continue
            self._refused.reset()
            if self._hotplug is None:
                await anyio.sleep(self._absent.next_delay_s())
            else:
                with anyio.move_on_after(HEARD_DELAY_S):
                    await self._hotplug.appeared()

    async def _open_and_use(self) -> LinkError:
        """Return why the link could not be opened or was lost."""
        try:
            link = await self._open()
        except LinkError as refusal:
            self._delivery.link_changed(refusal)
            return refusal
        opened_at = anyio.current_time()
        try:
            self._delivery.link_changed(None)
            loss = await self._use(link)
        finally:
            with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True), suppress(LinkError, OSError):  # it is lost as it is
                await link.aclose()
        if anyio.current_time() - opened_at >= STEADY_S:
            self._refused.reset()
        self._delivery.link_changed(loss)
        return loss

    async def _open(self) -> Link:
        with anyio.move_on_after(self._open_deadline_s):
            try:
                return await self._opener.open()
            except OSError as error:
                raise self._translated(error) from error
        raise LinkTimeout(f"{self._opener.name}: not open within {self._open_deadline_s:g} s")

    def _translated(self, error: OSError) -> LinkError:
        """What a link of another package should have said itself: no link of one device may end the gateway."""
        return LinkLost(f"{self._opener.name}: {error.strerror or error}")

    async def _use(self, link: Link) -> LinkError:
        """Until the link is lost: then the core ends its session."""
        losses: list[LinkError] = []
        self._link = link
        self._pump.connect(link)
        try:
            async with anyio.create_task_group() as tasks:

                async def until_lost(use: Callable[[Link], Awaitable[None]], grace_s: float) -> None:
                    try:
                        await use(link)
                    except (LinkError, OSError) as error:
                        losses.append(error if isinstance(error, LinkError) else self._translated(error))
                        tasks.cancel_scope.deadline = min(tasks.cancel_scope.deadline, anyio.current_time() + grace_s)

                tasks.start_soon(until_lost, self._pump.write, DRAIN_S)
                tasks.start_soon(until_lost, self._pump.read, 0)
                tasks.start_soon(until_lost, self._give_up, 0)
                tasks.start_soon(until_lost, self._tire, SPENT_S)
                if self._hotplug is not None:
                    tasks.start_soon(until_lost, self._listen, VANISHED_S)
        finally:
            self._link = None
            self._delivery.session_lost()
            self._pump.disconnect()
        return losses[0]

    async def _give_up(self, link: Link) -> None:
        """When somebody else wants the port."""
        raise LinkLost(f"{self._opener.name}: {await self._lending.wanted()}")

    async def _tire(self, link: Link) -> None:
        """When the core has given it up."""
        raise LinkLost(f"{self._opener.name}: {await self._delivery.link_spent()}")

    async def _listen(self, link: Link) -> None:
        """For the end of the port, where somebody tells of it."""
        if self._hotplug is not None:
            raise LinkLost(f"{self._opener.name}: {await self._hotplug.vanished()}")
