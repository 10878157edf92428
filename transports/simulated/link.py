"""A byte pipe within the process: the simulated device of `link: {simulated: ...}`, and a port to test links and supervisors with.

`MemoryPort` is both ends: the gateway opens it as a LinkOpener, the device's side sends, receives and pulls the cable.
`SimulatedLinkOpener` is such a port with a board behind it, which runs while the link is closed.
"""

from __future__ import annotations

from typing import Final

import anyio
import anyio.lowlevel

from transports.errors import LinkBusy, LinkLost, LinkNotFound
from transports.link import MAX_READ_BYTES
from transports.simulated.board import DEFAULT_CONVERSATIONS, BoardConfig
from transports.simulated.runner import BoardRunner

PIPE_BYTES: Final = 16384
"""What one direction holds; about as much as a pty."""


class _Flow:
    """One direction of a cable: bytes under way, and whether the cable was pulled."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_cut = False
        self._changed = anyio.Event()

    def changed(self) -> None:
        """Wake everybody who waits."""
        event, self._changed = self._changed, anyio.Event()
        event.set()

    async def wait(self) -> None:
        await self._changed.wait()

    def put(self, data: bytes) -> bytes:
        """Take what fits and return the rest."""
        room = PIPE_BYTES - len(self.data)
        self.data += data[:room]
        self.changed()
        return data[room:]

    def take(self, max_bytes: int) -> bytes:
        data = bytes(self.data[:max_bytes])
        del self.data[:max_bytes]
        self.changed()
        return data


class MemoryLink:
    """The gateway's end of one connection; see transports.link.Link."""

    def __init__(self, port: MemoryPort, to_gateway: _Flow, to_device: _Flow) -> None:
        self._port = port
        self._to_gateway = to_gateway
        self._to_device = to_device
        self._is_closed = False

    @property
    def name(self) -> str:
        return self._port.name

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        await anyio.lowlevel.checkpoint()
        flow = self._to_gateway
        while not flow.data or self._is_closed:
            self._check(flow)
            await flow.wait()
        return flow.take(max_bytes)

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        flow = self._to_device
        while True:
            self._check(flow)
            data = flow.put(data)
            if not data:
                return
            await flow.wait()

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._port.closed(self)
            self._to_gateway.changed()
            self._to_device.changed()

    def _check(self, flow: _Flow) -> None:
        if self._is_closed:
            raise LinkLost(f"{self.name}: closed")
        if flow.is_cut:
            raise LinkLost(f"{self.name}: unplugged")


class MemoryPort:
    """A port that exists from the beginning. Its cable may be pulled and plugged in again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._link: MemoryLink | None = None
        self._to_gateway, self._to_device = _Flow(), _Flow()

    @property
    def name(self) -> str:
        return self._name

    @property
    def is_plugged(self) -> bool:
        return not self._to_gateway.is_cut

    async def open(self) -> MemoryLink:
        """The gateway's end. Raises LinkNotFound while the cable is out, LinkBusy while it is open."""
        await anyio.lowlevel.checkpoint()
        if not self.is_plugged:
            raise LinkNotFound(f"{self.name}: unplugged")
        if self._link is not None:
            raise LinkBusy(f"{self.name}: already open")
        self._link = MemoryLink(self, self._to_gateway, self._to_device)
        return self._link

    def closed(self, link: MemoryLink) -> None:
        """Called by the link: the port can be opened again."""
        if self._link is link:
            self._link = None

    # -- the device's end

    async def send(self, data: bytes) -> None:
        """Into the cable; lost while it is pulled."""
        await anyio.lowlevel.checkpoint()
        flow = self._to_gateway
        while not flow.is_cut and (data := flow.put(data)):
            await flow.wait()

    async def receive(self) -> bytes:
        """Out of the cable; waits while it is pulled."""
        await anyio.lowlevel.checkpoint()
        while not (flow := self._to_device).data or flow.is_cut:
            await flow.wait()
        return flow.take(MAX_READ_BYTES)

    def unplug(self) -> None:
        """The link that is open is lost; what it has not read yet it may still read."""
        self._link = None
        for flow in (self._to_gateway, self._to_device):
            flow.is_cut = True
            flow.changed()

    def plug(self) -> None:
        """A new cable without bytes in it."""
        if not self.is_plugged:
            old = self._to_device
            self._to_gateway, self._to_device = _Flow(), _Flow()
            old.changed()


class SimulatedLinkOpener(MemoryPort):
    """A board in this process. Start run() once, beside the supervisor; the board is powered for as long as it runs."""

    def __init__(
        self,
        *,
        device_id: str = "",
        seed: int = 0,
        slots: int = 1,
        ring_bytes: int = 16384,
        accept_any: bool = False,
        conversations: int = DEFAULT_CONVERSATIONS,
    ) -> None:
        config = BoardConfig(
            id=device_id, seed=seed, slots=slots, ring_bytes=ring_bytes, accept_any=accept_any, conversations=conversations
        )
        super().__init__(f"simulated:{config.name}")
        self.runner = BoardRunner(config, self)

    async def run(self) -> None:
        """The board's life. Until cancelled."""
        await self.runner.run()
