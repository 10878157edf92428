"""The model's world: device, cable and gateway in virtual time, and the laws that hold at its end (SPEC.md, invariants).

Laws: per epoch what was delivered and what was declared lost is what was produced, in order and without overlap (exactly for the last
epoch, up to an unknown tail for earlier ones); content is right; each (wid, gen) starts at most once; every request ends; requests
are seen at most once and in order; both ends agree on workloads when all is quiet; what is not stored is bounded by the credit. Those of
conversations are in model_talks.py.
"""

from __future__ import annotations

import random
from dataclasses import replace

from transports.protocol import Gap, Record, RecordKind, WorkloadStatus
from transports.tests.model_cable import CLEAN, Direction, Faults
from transports.tests.model_device import ModelDevice, Witness
from transports.tests.model_gateway import Disk, ModelGateway
from transports.tests.model_talks import check_command, check_typed
from transports.wire.control_channel import earliest
from transports.wire.device_session import DeviceConfig
from transports.wire.numbers import Caps
from transports.wire.send_stream import Overflow

SETTLE_S = 60.0
"""Five times the longest time-out and some: by then everything has to be quiet."""


class World:
    """Drive it with the methods below; then settle() and check()."""

    def __init__(
        self,
        seed: int,
        *,
        overflow: Overflow = Overflow.REFUSE,
        first_offset: int = 0,
        ring_bytes: int = 2048,
        credit_bytes: int = 65535,
        talk_bytes: int = 256,
        device: type[ModelDevice] = ModelDevice,
    ) -> None:
        self._rng = random.Random(seed)
        self.now = 1000.0
        self.witness = Witness()
        config = DeviceConfig(
            device_id=b"model",
            mtu=64,
            max_msg=192,
            max_answer_bytes=512,
            answer_bytes=1024,
            ring_bytes=ring_bytes,
            overflow=overflow,
            first_offset=first_offset,
            caps=int(Caps.RLOG | Caps.EXEC | Caps.STDIN),
            talk_bytes=talk_bytes,
        )
        self.device = device(config, self.witness, self._rng, self.now)
        self.disk = Disk()
        self.up, self.down = Direction(self._rng), Direction(self._rng)
        self.is_plugged = False
        self._credit_bytes = credit_bytes
        self.gateway = self._new_gateway()
        self.plug()

    def _new_gateway(self) -> ModelGateway:
        return ModelGateway(self.disk, self._rng.getrandbits(32), self._credit_bytes, self.witness.talks)

    # -- things that happen

    def plug(self) -> None:
        if not self.is_plugged:
            self.is_plugged = True
            self.gateway.core.link_up(self.now)

    def unplug(self) -> None:
        if self.is_plugged:
            self.is_plugged = False
            self.up.cut()
            self.down.cut()
            self.gateway.core.link_down(self.now)
            self.gateway.take_events(self.now)

    def kill(self, steps: int) -> None:
        """kill -9, after so many more steps of the store: between receive and ring, ring and checkpoint, checkpoint and stored."""
        self.gateway.take_events(self.now)
        for _ in range(steps):
            self.gateway.store_step(self.now)
        self.gateway.die()
        self.gateway = self._new_gateway()
        if self._rng.random() < 0.5:
            self.up.cut()
        if self.is_plugged:
            self.gateway.core.link_up(self.now)

    def leave(self, which: int) -> None:
        """One of the people who run something."""
        if people := self.gateway.people:
            people[which % len(people)].leave()

    def set_faults(self, faults: Faults) -> None:
        self.up.faults = self.down.faults = faults

    def stall(self, seconds: float) -> None:
        self.up.stalled_until = self.down.stalled_until = self.now + seconds

    # -- time

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._act()
            following = self._following()
            if following is None or following > end:
                self.now = end
                self._act()
                return
            self.now = max(self.now, following)

    def _following(self) -> float | None:
        session = self.device.session
        arrivals = (self.up.next_arrival(), self.down.next_arrival())
        writes = [direction.free_at for direction in (self.up, self.down) if direction.free_at > self.now]
        return earliest(*arrivals, *writes, self.gateway.next_deadline(), session.next_deadline(), self.device.wake_at)

    def _act(self) -> None:
        now, device, gateway = self.now, self.device, self.gateway
        device.wake_if_due(now)
        if data := self.up.receive(now):
            gateway.core.receive_data(data, now)
        if data := self.down.receive(now):
            device.session.receive_data(data, now)
        if (at := device.session.next_deadline()) is not None and at <= now:
            device.session.handle_deadline(now)
        if (at := gateway.core.next_deadline()) is not None and at <= now:
            gateway.core.handle_deadline(now)
        device.side.act()
        gateway.take_events(now)
        gateway.act()
        if (at := gateway.next_store()) is not None and at <= now:
            gateway.store_step(now)
        self._write(device.session.data_to_send, self.up)
        if self.is_plugged:
            self._write(gateway.core.data_to_send, self.down)

    def _write(self, data_to_send: object, direction: Direction) -> None:
        if direction.free_at > self.now:
            return
        data: bytes = data_to_send(self.now)  # type: ignore[operator]  # a bound method of either core
        if data and self.is_plugged:
            direction.send(data, self.now)
        elif data:
            direction.free_at = self.now + 0.001

    # -- the end

    def settle(self) -> None:
        """No more faults: everything has to become quiet."""
        self.set_faults(CLEAN)
        self.up.stalled_until = self.down.stalled_until = 0.0
        self.plug()
        end = self.now + SETTLE_S
        while self.now < end and not self.is_quiet():
            self.advance(0.25)
        assert self.is_quiet(), f"not quiet after {SETTLE_S} s: {self.describe()}"

    def is_quiet(self) -> bool:
        session, core = self.device.session, self.gateway
        checkpoint = self.disk.checkpoint
        return (
            session.in_session
            and core.is_listed
            and not core.open
            and core.next_store() is None
            and checkpoint is not None
            and (checkpoint.epoch, checkpoint.expected) == (session.epoch, session.log.next)
            and not session.log.in_flight()
            and self._views_agree()
            and not self.gateway.people
        )

    def _views_agree(self) -> bool:
        return {w: _state(s) for w, s in self.gateway.view.items()} == {w: _state(s) for w, s in self.device.workloads.items()}

    def describe(self) -> str:
        session = self.device.session
        log = session.log
        return (
            f"device in session {session.in_session}, gone {session.gone}, epoch {session.epoch:x}, log {log.base}/{log.una}/{log.nxt}/"
            f"{log.next}/{log.limit}; gateway listed {self.gateway.is_listed}, open {self.gateway.open}, "
            f"checkpoint {self.disk.checkpoint}, view {self.gateway.view}, device {self.device.workloads}"
        )

    def check(self) -> None:
        """The laws."""
        assert all(count == 1 for count in self.witness.starts.values()), f"started twice: {self.witness.starts}"
        seen = self.witness.requests
        assert seen == sorted(set(seen)), f"requests out of order or twice: {seen}"
        for person in self.disk.people:
            check_command(person, self.witness.talks.commands.get(person.name))
        check_typed(self.witness.talks)
        last = self.device.session.epoch
        for epoch, items in self.disk.rings.items():
            self._check_ring(items)
            if epoch == last and items:
                assert items[-1].end == self.device.session.log.next, f"ends at {items[-1]}, produced {self.device.session.log.next}"
                self._check_content(items, self.device.ring)

    def _check_ring(self, items: list[Record | Gap]) -> None:
        expected: int | None = 0
        rings = set()
        for item in items:
            assert item.offset == expected, f"{item} does not begin at {expected}"
            expected = item.end
            if isinstance(item, Record) and item.kind is RecordKind.STDOUT:
                rings.add(int(item.data.split(b":")[0]))
        assert len(rings) <= 1, f"one epoch holds lines of the rings {rings}"
        if rings:
            self._check_content(items, rings.pop())

    def _check_content(self, items: list[Record | Gap], ring: int) -> None:
        produced = self.witness.produced[ring]
        for item in items:
            if isinstance(item, Record):
                assert produced.get(item.offset) == (item.end, item.data), f"{item} was never written"
            elif item.records is not None and item.end is not None:
                lost = sum(item.offset < end <= item.end for end, _ in produced.values())
                assert lost <= item.records, f"{item} hides {lost} records"


def _state(status: WorkloadStatus) -> WorkloadStatus:
    return replace(status, ready=None)
