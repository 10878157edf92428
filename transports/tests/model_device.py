"""The device of the model: real DeviceSession, RAM that resets clear, and a witness that no reset can reach.

The witness knows every record that was ever written and every run that was ever started; the laws are checked against it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from transports.protocol import RecordKind, WorkloadState, WorkloadStatus
from transports.tests.model_talks import DeviceSide, TalkWitness
from transports.wire import messages
from transports.wire.conversation_messages import Attach, Exec
from transports.wire.device_session import DeviceConfig, DeviceSession, Retained
from transports.wire.numbers import Body, Code, Method, ResetCause
from transports.wire.records import encode_record, encode_start_record

SLOTS = 4


@dataclass(slots=True)
class Witness:
    """What really happened, across all boots."""

    produced: dict[int, dict[int, tuple[int, bytes]]] = field(default_factory=dict)
    """ring -> offset -> (end, data)."""
    starts: dict[tuple[int, int], int] = field(default_factory=dict)
    requests: list[int] = field(default_factory=list)
    """The numbers of STOP requests, in the order in which the application saw them."""
    talks: TalkWitness = field(default_factory=TalkWitness)


class ModelDevice:
    """One board. ring names the content of its LOG ring: another one after each cold reset."""

    def __init__(self, config: DeviceConfig, witness: Witness, rng: random.Random, now: float) -> None:
        self._rng = rng
        self._config = config
        self._witness = witness
        self._lines = 0
        self.rings = 0
        self._boots = 0
        self.wake_at: float | None = None
        self._away_ms = 0
        self.reset_when_gone = False
        self._boot(now, None)

    @property
    def ring(self) -> int:
        return self.rings

    def _boot(self, now: float, retained: Retained | None) -> None:
        cause = ResetCause.WATCHDOG if retained else ResetCause.POWER
        self.session = self._new_session(now, retained, cause)
        if retained is None:
            self.rings += 1
            self._witness.produced[self.rings] = {}
        self.workloads: dict[int, WorkloadStatus] = {}
        self._boots += 1
        self.side = DeviceSide(self._boots, self._witness.talks, self._rng)
        self.wake_at = None

    def _new_session(self, now: float, retained: Retained | None, cause: ResetCause) -> DeviceSession:
        return DeviceSession(self._config, self, now, retained=retained, reset_cause=cause, uptime_ms=self._boot_ms())

    def _boot_ms(self) -> int:
        """No board needs the same number of milliseconds twice; one that did could not tell its boots apart."""
        return self._rng.randint(20, 400)

    def reset(self, now: float, *, warm: bool) -> None:
        self._boot(now, self.session.retained() if warm else None)

    # -- what the firmware does

    def log(self, size: int, now: float, slot: int = 0) -> None:
        self._lines += 1
        line = b"%d:%d:" % (self.ring, self._lines)
        line = line.ljust(size, b".")
        self._append(encode_record(self.session.uptime_ms(now), slot, RecordKind.STDOUT, line), line)

    def _append(self, record: bytes, data: bytes, *, is_start: bool = False) -> None:
        if self.session.write_log(record, is_start=is_start):
            end = self.session.log.next
            self._witness.produced[self.ring][end - len(record)] = (end, data)

    def exit(self, wid: int) -> None:
        status = self.workloads.get(wid)
        if status is not None and status.state is not WorkloadState.EXITED:
            status = replace(status, state=WorkloadState.EXITED, end_off=self.session.log.next, exit_code=wid)
            self.workloads[wid] = status
            self.side.end_input((wid, status.gen))
            self.session.notify(status.slot, Method.EXITED, messages.status_to_map(status))

    def go_away(self, duration_ms: int, now: float, *, late_s: float, resets: bool) -> None:
        if not self.session.gone:
            self.reset_when_gone = resets
            self._away_ms = duration_ms
            self._late_s = late_s
            self.session.go_away(3 if resets else 1, duration_ms, now)

    def wake_if_due(self, now: float) -> None:
        if self.wake_at is not None and now >= self.wake_at:
            self.wake_at = None
            if self.reset_when_gone:
                self.reset(now, warm=False)
            else:
                self.session.back(now)

    # -- DeviceApplication

    def on_request(self, method: int, body: Mapping[int, object], now: float) -> tuple[int, Body]:
        match method:
            case Method.START:
                return self._start(messages.Start.from_map(body), now)
            case Method.STOP:
                stop = messages.Stop.from_map(body)
                self._witness.requests.append(stop.grace_ms)
                if (status := self.workloads.get(stop.wid)) is not None and status.gen == stop.gen:
                    self.exit(stop.wid)
                return stop.grace_ms % 11, {}
            case Method.REMOVE:
                return self._remove(messages.Remove.from_map(body)), {}
            case Method.LIST:
                return Code.OK, self._list(messages.ListRequest.from_map(body).from_ or 0)
            case Method.INVENTORY:
                return Code.OK, messages.InventoryAnswer().to_map()
            case Method.EXEC:
                return self._execute(Exec.from_map(body))
            case Method.ATTACH:
                return self._attach(Attach.from_map(body))
            case _:
                return Code.UNSUPPORTED, {}

    def _execute(self, request: Exec) -> tuple[int, Body]:
        if self.side.is_full():
            return Code.BUSY, {}
        talk = self.session.open_talk(request)
        self.side.begin(request.argv[0], talk)
        return Code.OK, talk.answer()

    def _attach(self, request: Attach) -> tuple[int, Body]:
        run, status = (request.wid, request.gen), self.workloads.get(request.wid)
        if status is None or status.gen != request.gen or status.state is WorkloadState.EXITED:
            return Code.BAD_STATE, {}
        if self.side.is_full() or self.side.has_writer(run):
            return Code.BUSY, {}
        talk = self.session.open_talk(request)
        self.side.attach(run, talk)
        return Code.OK, talk.answer()

    def _start(self, start: messages.Start, now: float) -> tuple[int, Body]:
        known = self.workloads.get(start.wid)
        if known is not None:
            return (Code.OK, messages.status_to_map(known)) if known.gen == start.gen else (Code.BAD_STATE, {})
        free = sorted(set(range(SLOTS)) - {status.slot for status in self.workloads.values()})
        if not free:
            return Code.BUSY, {}
        run = (start.wid, start.gen)
        self._witness.starts[run] = self._witness.starts.get(run, 0) + 1
        begin = self.session.log.next
        self._append(encode_start_record(self.session.uptime_ms(now), free[0], *run), b"", is_start=True)
        status = WorkloadStatus(start.wid, start.gen, free[0], WorkloadState.RUNNING, begin, tag=start.tag)
        self.workloads[start.wid] = status
        return Code.OK, messages.status_to_map(status)

    def _remove(self, remove: messages.Remove) -> int:
        status = self.workloads.get(remove.wid)
        if status is None or status.gen != remove.gen:
            return Code.OK
        if status.state is not WorkloadState.EXITED:
            return Code.BAD_STATE
        del self.workloads[remove.wid]
        return Code.OK

    def _list(self, start: int) -> Body:
        statuses = list(self.workloads.values())
        after = start + 2 if start + 2 < len(statuses) else None
        return messages.ListAnswer(tuple(statuses[start : start + 2]), after).to_map()

    def on_joined(self, now: float) -> None: ...

    def on_link_loss(self, now: float) -> None: ...

    def on_gone(self, now: float) -> None:
        self.wake_at = now + self._away_ms / 1000 + self._late_s
