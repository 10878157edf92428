"""A board in the process runs on while nobody is connected to it. That its pipe is a link is test_memory_link.py's."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import anyio
import pytest

from transports.link import LinkOpener
from transports.protocol import Checkpoint, Event, Inventoried, Joined, Left, Listed, Output
from transports.protocols.framed import FramedProtocol
from transports.simulated.link import SimulatedLinkOpener


@pytest.fixture
async def opener() -> AsyncIterator[SimulatedLinkOpener]:
    opener = SimulatedLinkOpener(device_id="sim-a", slots=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(opener.run)
        yield opener
        tasks.cancel_scope.cancel()


class _Gateway:
    """The least that speaks to a board over a link: no supervisor, stores nothing."""

    def __init__(self, opener: LinkOpener) -> None:
        self._opener = opener
        self.core = FramedProtocol(None, gateway_id=1, keepalive_s=0.05, rng=random.Random(1))
        self.events: list[Event] = []

    async def until(self, kind: type[Event]) -> None:
        """Connect, and disconnect when such an event came."""
        seen = sum(isinstance(event, kind) for event in self.events)
        link = await self._opener.open()
        self.core.link_up(anyio.current_time())
        while sum(isinstance(event, kind) for event in self.events) == seen:
            await self._send_all(link.send)
            self.core.receive_data(await link.receive(), anyio.current_time())
            self._take_events()
        await self._send_all(link.send)
        self.core.link_down(anyio.current_time())
        self._take_events()
        await link.aclose()

    async def _send_all(self, send: object) -> None:
        while data := self.core.data_to_send(anyio.current_time()):
            await send(data)  # type: ignore[operator]  # a bound send of a link

    def _take_events(self) -> None:
        for event in self.core.events():
            self.events.append(event)
            if isinstance(event, Output):
                checkpoint: Checkpoint = event.checkpoint
                self.core.stored(checkpoint, anyio.current_time())


async def test_a_board_in_the_process_runs_on_between_two_links(opener: SimulatedLinkOpener) -> None:
    gateway = _Gateway(opener)
    await gateway.until(Inventoried)
    await gateway.until(Joined)
    joined = [event for event in gateway.events if isinstance(event, Joined)]
    assert opener.name == "simulated:sim-a"
    assert [event.new_boot for event in joined] == [True, False]
    assert any(isinstance(event, Left) for event in gateway.events)
    assert any(isinstance(event, Listed) for event in gateway.events)


async def test_a_power_cycle_is_seen_as_a_new_boot(opener: SimulatedLinkOpener) -> None:
    gateway = _Gateway(opener)
    await gateway.until(Inventoried)
    opener.runner.reset()
    await gateway.until(Joined)
    assert [event.new_boot for event in gateway.events if isinstance(event, Joined)] == [True, True]


async def test_a_configuration_no_board_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="slots must be"):
        await SimulatedLinkOpener(slots=99).run()
