"""Two cores, a cable and a clock that only moves when told: the bench on which the session tests stand.

`Firmware` is the application of a small but real device; `Gateway` a FramedProtocol with a store that acknowledges; `Rig` connects them.
Nothing here replaces a part of ours: faults are made on the cable, or by ending an object as a reset or kill -9 would.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from transports.protocol import (
    Checkpoint,
    Event,
    Gap,
    Output,
    Record,
    RecordKind,
    WorkloadState,
    WorkloadStatus,
)
from transports.protocols.framed import FramedProtocol
from transports.tests.taken_apart import taken_apart
from transports.wire import messages
from transports.wire.control_channel import earliest
from transports.wire.conversation_messages import Attach, Exec
from transports.wire.device_session import DeviceConfig, DeviceSession, Retained
from transports.wire.device_talks import DeviceTalk
from transports.wire.framing import Deframer, Frame
from transports.wire.numbers import Body, Code, Method, ResetCause
from transports.wire.records import encode_record, encode_start_record

CONFIG = DeviceConfig(device_id=b"\x24\x0a\xc4\x12\x34\x56")
LATENCY_S = 0.001


class Firmware:
    """A device with slots, as little of it as the protocol needs. It survives warm resets only through `retained`."""

    def __init__(self, config: DeviceConfig, now: float, *, retained: Retained | None = None, uptime_ms: int = 0) -> None:
        cause = ResetCause.WATCHDOG if retained else ResetCause.POWER
        self.session = DeviceSession(config, self, now, retained=retained, uptime_ms=uptime_ms, reset_cause=cause)
        self.workloads: dict[int, WorkloadStatus] = {}
        self.calls: list[tuple[int, Mapping[int, object]]] = []
        self.talks: list[DeviceTalk] = []
        """Every conversation that was ever opened; a test speaks for the command."""
        self.joined = 0
        self.lost = 0
        self.was_gone = 0

    def on_request(self, method: int, body: Mapping[int, object], now: float) -> tuple[int, Body]:
        self.calls.append((method, body))
        match method:
            case Method.START:
                return self._start(messages.Start.from_map(body), now)
            case Method.STOP:
                stop = messages.Stop.from_map(body)
                if (status := self.workloads.get(stop.wid)) is not None and status.gen == stop.gen:
                    self.exit(stop.wid)
                return Code.OK, {}
            case Method.REMOVE:
                remove = messages.Remove.from_map(body)
                self.workloads.pop(remove.wid, None)
                return Code.OK, {}
            case Method.LIST:
                return Code.OK, self._list_page(messages.ListRequest.from_map(body).from_ or 0)
            case Method.INVENTORY:
                return Code.OK, {1: [["hello", "1"]], 3: 4, 4: "bench"}
            case Method.EXEC:
                return self._open(Exec.from_map(body))
            case Method.ATTACH:
                return self._open(Attach.from_map(body))
            case _:
                return Code.UNSUPPORTED, messages.refusal("not on this device")

    def _list_page(self, start: int) -> Body:
        """Two at a time, so that paging is always used."""
        statuses = list(self.workloads.values())
        after = start + 2 if start + 2 < len(statuses) else None
        return messages.ListAnswer(tuple(statuses[start : start + 2]), after).to_map()

    def _open(self, request: Exec | Attach) -> tuple[int, Body]:
        if isinstance(request, Exec) and request.argv[0] == "absent":
            return Code.NOT_FOUND, messages.refusal("no command 'absent'")
        if isinstance(request, Attach) and request.gen == 99:
            return Code.BAD_STATE, messages.refusal("its input has ended")
        self.talks.append(self.session.open_talk(request))
        return Code.OK, self.talks[-1].answer()

    def _start(self, start: messages.Start, now: float) -> tuple[int, Body]:
        known = self.workloads.get(start.wid)
        if known is not None:
            return (Code.OK, messages.status_to_map(known)) if known.gen == start.gen else (Code.BAD_STATE, {})
        slot = len(self.workloads) % 8
        status = WorkloadStatus(start.wid, start.gen, slot, WorkloadState.RUNNING, self.session.log.next, tag=start.tag)
        self.session.write_log(encode_start_record(self.session.uptime_ms(now), slot, start.wid, start.gen), is_start=True)
        self.workloads[start.wid] = status
        return Code.OK, messages.status_to_map(status)

    def exit(self, wid: int, exit_code: int = 0) -> None:
        status = replace(self.workloads[wid], state=WorkloadState.EXITED, end_off=self.session.log.next, exit_code=exit_code)
        self.workloads[wid] = status
        self.session.notify(status.slot, Method.EXITED, messages.status_to_map(status))

    def log(self, line: bytes, now: float, slot: int = 0) -> bool:
        return self.session.write_log(encode_record(self.session.uptime_ms(now), slot, RecordKind.STDOUT, line))

    def on_joined(self, now: float) -> None:
        self.joined += 1

    def on_link_loss(self, now: float) -> None:
        self.lost += 1

    def on_gone(self, now: float) -> None:
        self.was_gone += 1


class Gateway:
    """A FramedProtocol and what it told. With auto_store its sink is done at once; else call store()."""

    def __init__(self, checkpoint: Checkpoint | None = None, *, seed: int = 1, auto_store: bool = True, **options: object) -> None:
        options = {"gateway_id": 7, "mtu": 243} | options
        self.core = FramedProtocol(checkpoint, rng=random.Random(seed), **options)  # type: ignore[arg-type]  # options of a test
        self.events: list[Event] = []
        self.auto_store = auto_store
        self.unstored: list[Output] = []
        self.checkpoint = checkpoint
        """The newest that is durable."""
        self.items: list[tuple[int, Record | Gap]] = []
        """(epoch, item) of all that is durable."""

    def take_events(self, now: float) -> None:
        for event in self.core.events():
            self.events.append(event)
            if isinstance(event, Output):
                self.unstored.append(event)
        if self.auto_store:
            self.store(now)

    def store(self, now: float) -> None:
        outputs, self.unstored = self.unstored, []
        for output in outputs:
            self.items += [(output.epoch, item) for item in taken_apart(output.items)]
            self.checkpoint = output.checkpoint
            self.core.stored(output.checkpoint, now)

    def lines(self) -> list[bytes]:
        return [item.data for _, item in self.items if isinstance(item, Record) and item.kind is RecordKind.STDOUT]

    def gaps(self) -> list[Gap]:
        return [item for _, item in self.items if isinstance(item, Gap)]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Rig:
    """One device on one gateway. Filters see whole frames; None from a filter loses it."""

    def __init__(self, *, config: DeviceConfig = CONFIG, gateway: Gateway | None = None, uptime_ms: int = 0) -> None:
        self.now = 100.0
        self.config = config
        self.firmware = Firmware(config, self.now, uptime_ms=uptime_ms)
        self.gateway = gateway or Gateway()
        self.gateway.core.link_up(self.now)
        self.is_plugged = True
        self.to_gateway: list[tuple[float, bytes]] = []
        self.to_device: list[tuple[float, bytes]] = []
        self.from_device_filter: Callable[[bytes], bytes | None] = lambda data: data
        self.from_gateway_filter: Callable[[bytes], bytes | None] = lambda data: data
        self.heard_by_gateway: list[Frame] = []
        self.heard_by_device: list[Frame] = []
        self._spies = (Deframer(4096), Deframer(4096))

    def step(self) -> bool:
        """Deliver what is due, let both act, or move the clock to the next thing that happens. False when nothing ever will."""
        core, session = self.gateway.core, self.firmware.session
        self._deliver()
        self.gateway.take_events(self.now)
        moved = self._send(session.data_to_send(self.now), self.to_gateway, self.from_device_filter)
        data = core.data_to_send(self.now)
        if core.is_drained:
            assert core.data_to_send(self.now) == b"", "it said that there was nothing more"
        else:
            assert data
        return self._send(data, self.to_device, self.from_gateway_filter) or moved

    def _deliver(self) -> None:
        while self.to_gateway and self.to_gateway[0][0] <= self.now:
            data = self.to_gateway.pop(0)[1]
            self.heard_by_gateway += [item for item in self._spies[0].feed(data, self.now) if isinstance(item, tuple)]
            self.gateway.core.receive_data(data, self.now)
        while self.to_device and self.to_device[0][0] <= self.now:
            data = self.to_device.pop(0)[1]
            self.heard_by_device += [item for item in self._spies[1].feed(data, self.now) if isinstance(item, tuple)]
            self.firmware.session.receive_data(data, self.now)

    def _send(self, data: bytes, queue: list[tuple[float, bytes]], keep: Callable[[bytes], bytes | None]) -> bool:
        frames = (keep(frame + b"\0") for frame in data.split(b"\0") if frame)
        if self.is_plugged:
            queue.extend((self.now + LATENCY_S, b"\0" + kept) for kept in frames if kept is not None)
        return bool(data)

    def run(self, seconds: float) -> None:
        """Let so much time pass, event by event."""
        end = self.now + seconds
        while True:
            while self.step():
                pass
            following = self._following()
            if following is None or following > end:
                self.now = end
                self._fire()
                while self.step():
                    pass
                return
            self.now = max(self.now, following)
            self._fire()

    def _following(self) -> float | None:
        arrivals = [queue[0][0] for queue in (self.to_gateway, self.to_device) if queue]
        return earliest(*arrivals, self.gateway.core.next_deadline(), self.firmware.session.next_deadline())

    def _fire(self) -> None:
        for core in (self.gateway.core, self.firmware.session):
            deadline = core.next_deadline()
            if deadline is not None and deadline <= self.now:
                core.handle_deadline(self.now)

    def until(self, holds: Callable[[], object], limit_s: float = 30.0) -> float:
        """Run until it holds; returns how long that took. Fails when it does not within limit_s."""
        start = self.now
        while True:
            while self.step():
                if holds():
                    return self.now - start
            if holds():
                return self.now - start
            following = self._following()
            if following is None or following > start + limit_s:
                raise AssertionError(f"not within {limit_s} s: {holds}")
            self.now = max(self.now, following)
            self._fire()

    def cut(self) -> None:
        """The cable is pulled: everything on it is lost, and only the gateway notices."""
        self.is_plugged = False
        self.to_gateway.clear()
        self.to_device.clear()
        self.gateway.core.link_down(self.now)
        self.gateway.take_events(self.now)

    def plug(self) -> None:
        self.is_plugged = True
        self.gateway.core.link_up(self.now)

    def reset(self, *, warm: bool = False) -> None:
        """The device resets; warm: its .noinit ring stays."""
        retained = self.firmware.session.retained() if warm else None
        self.firmware = Firmware(self.config, self.now, retained=retained)

    def kill_gateway(self, seed: int = 2) -> None:
        """kill -9 and a new process from the durable checkpoint."""
        items = self.gateway.items
        self.gateway = Gateway(self.gateway.checkpoint, seed=seed, auto_store=self.gateway.auto_store)
        self.gateway.items = items
        self.to_gateway.clear()
        self.gateway.core.link_up(self.now)

    def frames_to_device(self, type_: int, ch: int) -> Iterator[Frame]:
        return (frame for frame in self.heard_by_device if frame[0] == type_ and frame[3] == ch)

    def frames_to_gateway(self, type_: int, ch: int) -> Iterator[Frame]:
        return (frame for frame in self.heard_by_gateway if frame[0] == type_ and frame[3] == ch)
