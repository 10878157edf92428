"""The protocol of devices that speak wirelet frames, as a supervisor sees it: DeviceProtocol over a GatewaySession.

After each READY it asks LIST and then INVENTORY by itself, page by page; requests wait until the device has been listed. LOG becomes
records, gaps and checkpoints; nothing is acknowledged until its checkpoint comes back through stored(). It decides nothing about
workloads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from transports.conversing import CoreCommand
from transports.errors import DeviceError, LocalProtocolError, RemoteProtocolError, SessionLost
from transports.link import TerminalSize
from transports.protocol import (
    GARBAGE,
    Answered,
    Away,
    Checkpoint,
    Counters,
    DeviceStats,
    Event,
    Gap,
    Inventoried,
    Inventory,
    Joined,
    Left,
    Listed,
    Output,
    Problem,
    ProgramInfo,
    Reported,
    Request,
    RequestId,
    RequestLost,
    Returned,
    SendInput,
    Text,
    WorkloadChanged,
    WorkloadStatus,
)
from transports.protocol import GapReason as GapReason
from transports.protocols.clock_filter import ClockFilter
from transports.protocols.log_reader import LogReader
from transports.protocols.noise_watch import NoiseWatch
from transports.protocols.problem_filter import ProblemFilter
from transports.protocols.requests import MAX_OPEN_REQUESTS, OpenRequest, RequestTable, check_size, to_message
from transports.wire import messages
from transports.wire.channels import Channels
from transports.wire.datagrams import Hello
from transports.wire.gateway_session import GatewaySession, Joining
from transports.wire.numbers import KEY_NEXT, Body, Caps, Code, Method
from transports.wire.offsets import distance
from transports.wire.profile import MAX_DEVICE_ITEMS
from transports.wire.receive_stream import MAX_CREDIT_BYTES

if TYPE_CHECKING:
    from transports.protocols.conversations import Conversations

MAX_PAGES: Final = 1024
"""Of one LIST or INVENTORY; a device that always says `next` is broken."""
MAX_WORKLOADS: Final = 1024
"""In one LIST, and in the news before its end. A device has 31 slots: one that tells of more is broken, and all of them are kept."""
MAX_READINGS: Final = 1024
"""Of one STATS; all of them are shown."""
MAX_MTU_DEFAULT: Final = 1024
MAX_READ_PAUSE_S: Final = 0.04
"""However slow the line: nobody notices so little, and a longer pause saves hardly anything."""
RING_PART: Final = 4
"""The device's ring goes on filling until it is acknowledged: three quarters are left for that."""
MAX_GATHERED_BYTES: Final = 3072
"""Of the 4096 that a tty holds. When it is full the driver stops the adapter, which loses bytes: the rest is for a loop that comes late."""

KEEP_UPTIME_MS: Final = 24 * 3600 * 1000
"""How far the uptime in the checkpoint may lag behind the one that was told: in 25 days it would lie ahead."""
LOSSY_READ_PAUSE_S: Final = 0.005
LOSSY_S: Final = 1.0
"""So long after a loss a line is read more often: until a lost frame is asked for, all that follows it is sent in vain."""


class FramedProtocol:
    """See transports.protocol.DeviceProtocol for the contract of each method.

    line_bytes_per_s bounds how long one of our frames occupies the line; None: a line that is faster than that matters. credit_bytes is
    how much LOG may arrive before it is stored: the memory that one device can take. refuses says why a device must not have a session.
    has_directories: a program may be started in one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        *,
        gateway_id: int,
        keepalive_s: float = 1.0,
        line_bytes_per_s: float | None = None,
        mtu: int = MAX_MTU_DEFAULT,
        credit_bytes: int = MAX_CREDIT_BYTES,
        rng: random.Random,
        refuses: Callable[[bytes], str | None] = lambda device_id: None,
        has_directories: bool = False,
    ) -> None:
        self._has_directories = has_directories
        self._session = GatewaySession(
            checkpoint,
            self,
            gateway_id=gateway_id,
            keepalive_s=keepalive_s,
            mtu=mtu,
            line_bytes_per_s=line_bytes_per_s,
            credit_bytes=credit_bytes,
            rng=rng,
            refuses=refuses,
        )
        self._line_bytes_per_s = line_bytes_per_s
        self._counters = Counters()
        self._log = LogReader(checkpoint)
        self._clock = ClockFilter()
        self._kept_uptime_ms = 0
        """Of the newest checkpoint."""
        self._noise = NoiseWatch()
        self._bad_seen = 0
        self._problems = ProblemFilter()
        self._now = 0.0
        """Of the newest read."""
        self._requests = RequestTable()
        self._talks: Conversations | None = None
        self._events: list[Event] = []
        self._last_id = 0
        self._workloads: list[WorkloadStatus] = []
        self._inventory: Inventory | None = None
        """The first page, which tells slots and board."""
        self._programs: tuple[ProgramInfo, ...] = ()
        self._stats: dict[RequestId, tuple[DeviceStats, int]] = {}
        """What came before the last page, and in how many."""
        self._early: list[WorkloadStatus] = []
        """Notifications before the end of LIST."""
        self._pages = 0
        self._is_listed = False
        self._read_pause_s = 0.0
        self._rejects_seen = 0
        self._lossy_until = 0.0

    # -- DeviceProtocol

    @property
    def counters(self) -> Counters:
        session, counters = self._session, self._counters
        counters.rx_frames, counters.rx_bad, counters.tx_frames = session.rx_frames, session.rx_bad, session.tx_frames
        counters.retransmits, counters.rejects, counters.sessions = session.retransmits, session.log.rejects, session.sessions
        unknown = {"unknown_frames": session.rx_unknown, "unknown_datagrams": session.unknown_datagrams}
        counters.extra |= {name: count for name, count in unknown.items() if count}
        return counters

    @property
    def read_pause_s(self) -> float:
        """How long the device's log may gather without harm: a quarter of its ring. 0 without a session or a line."""
        if not self._is_listed or self._talks:
            return 0.0
        return self._read_pause_s if self._now >= self._lossy_until else min(self._read_pause_s, LOSSY_READ_PAUSE_S)

    def link_up(self, now: float) -> None:
        self._session.link_up()

    def link_down(self, now: float) -> None:
        self._session.link_down(now)
        self._put_output(now)

    def receive_data(self, data: bytes, now: float) -> None:
        self._now = now
        self._session.receive_data(data, now)
        self._put_output(now)
        if self._talks:
            self._talks.look()
        if self._session.rx_bad != self._bad_seen:
            self._look_at_noise(now)
        if self._session.log.rejects != self._rejects_seen:
            self._rejects_seen, self._lossy_until = self._session.log.rejects, now + LOSSY_S

    def _look_at_noise(self, now: float) -> None:
        self._bad_seen = self._session.rx_bad
        told = self._noise.look(self._bad_seen, self._session.rx_frames, now)
        if told is not None:
            self._tell(GARBAGE, told)

    @property
    def is_drained(self) -> bool:
        return self._session.is_drained

    def data_to_send(self, now: float) -> bytes:
        if self._requests.has_waiting:
            self._flush_requests()
        return self._session.data_to_send(now)

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stored(self, checkpoint: Checkpoint, now: float) -> None:
        if checkpoint.epoch == self._log.epoch:
            self._session.stored(checkpoint.stored, now)

    def request(self, request: Request, now: float) -> RequestId:
        hello = self._hello()
        if len(self._requests) >= MAX_OPEN_REQUESTS:
            raise LocalProtocolError(f"{MAX_OPEN_REQUESTS} requests to one device are open")
        if isinstance(request, SendInput):
            if not hello.caps & Caps.STDIN:
                raise DeviceError(Code.UNSUPPORTED, "its programs read none (it does not name the capability stdin)")
            request_id = self._new_id()
            self._talking().type(request, request_id)
            return request_id
        method, body = to_message(request, has_directories=self._has_directories)
        check_size(method, body, hello.max_msg)
        return self._queue(method, body)

    def _hello(self) -> Hello:
        hello = self._session.hello
        if hello is None:
            raise SessionLost("there is no session with the device")
        return hello

    def _new_id(self) -> RequestId:
        self._last_id += 1
        return RequestId(self._last_id)

    def _queue(self, method: Method, body: Body) -> RequestId:
        request_id = self._new_id()
        self._requests.add(OpenRequest(request_id, method, body))
        return request_id

    # -- conversations; see transports.conversing.ConversingProtocol

    def begin_command(
        self, beside: tuple[int, int], argv: Sequence[str], terminal: TerminalSize | None, moved: Callable[[], None], now: float
    ) -> CoreCommand:
        from transports.protocols.command_talk import longest_exec

        hello = self._hello()
        if not hello.caps & Caps.EXEC:
            raise DeviceError(Code.UNSUPPORTED, "nothing but its workloads runs on it (it does not name the capability exec)")
        if len(argv) > MAX_DEVICE_ITEMS:
            raise LocalProtocolError(f"a command of {len(argv)} words exceeds the {MAX_DEVICE_ITEMS} that a device takes")
        check_size(Method.EXEC, longest_exec(beside, argv).to_map(), hello.max_msg)
        return self._talking().begin_command(beside, argv, terminal, moved)

    def typist_left(self, wid: int, gen: int) -> None:
        if self._talks is not None:
            self._talks.typist_left((wid, gen))

    def _talking(self) -> Conversations:
        """Loaded by the first conversation: most gateways never have one."""
        if self._talks is None:
            from transports.protocols.conversations import Conversations

            self._talks = Conversations(self)
        return self._talks

    def _is_of_a_talk(self, request_id: RequestId) -> bool:
        return self._talks is not None and self._talks.owns(request_id)

    def talk_channels(self) -> Channels | None:
        return self._session.channels

    def ask_for_talk(self, method: Method, body: Body) -> RequestId:
        return self._queue(method, body)

    def tell_close(self, body: Body) -> None:
        self._requests.add(OpenRequest(None, Method.CLOSE, body, is_answered=False))

    def input_taken(self, request_id: RequestId, code: int, text: str) -> None:
        self._events.append(Answered(request_id, code, None, text))

    def input_lost(self, request_id: RequestId) -> None:
        self._events.append(RequestLost(request_id))

    def next_deadline(self) -> float | None:
        return self._session.next_deadline()

    def handle_deadline(self, now: float) -> None:
        self._session.handle_deadline(now)
        self._put_output(now)

    # -- output

    def _put_output(self, now: float) -> None:
        items = self._log.take()
        if items is not None:
            self._events.append(Output(self._log.epoch, items, self._checkpoint(), self._clock.best(now)))

    def _checkpoint(self) -> Checkpoint:
        known, log = self._session.known, self._log
        self._kept_uptime_ms = known.uptime_ms
        return Checkpoint(known.boot_id, log.epoch, log.expected, log.tail, known.sid, known.uptime_ms)

    # -- GatewayListener

    def on_joined(self, joining: Joining, now: float) -> None:
        hello, ready, known = joining.hello, joining.ready, self._session.known
        self._put_output(now)
        if joining.is_new_epoch:
            self._begin_epoch(known.epoch, now)
        self._log.touch()
        if joining.is_new_boot:
            self._clock.clear()
        self._clock.add(ready.uptime_ms, now)
        self._events.append(
            Joined(
                hello.device_id,
                known.boot_id,
                known.epoch,
                joining.is_new_boot,
                hello.reset_cause or 0,
                hello.caps,
                ready.boot_off,
                self._clock.best(now),
            )
        )
        if joining.is_new_epoch and ready.base > 0:
            self._log.skip(ready.base, None, GapReason.UNKNOWN)
        self._read_pause_s = self._pause_for(hello)
        self._pages = 0
        self._workloads, self._early = [], []
        self._inventory, self._programs = None, ()
        self._ask(Method.LIST, {})

    def _pause_for(self, hello: Hello) -> float:
        if hello.tx_ring is None or self._line_bytes_per_s is None:
            return 0.0
        return min(MAX_READ_PAUSE_S, min(hello.tx_ring / RING_PART, MAX_GATHERED_BYTES) / self._line_bytes_per_s)

    def _begin_epoch(self, epoch: int, now: float) -> None:
        """The old epoch's end was never seen. Its gap travels with the new epoch's checkpoint, so that it is told once."""
        ended = self._log.end_epoch(epoch)
        if ended is not None:
            old_epoch, gap = ended
            items: tuple[Gap, ...] = (gap,)
            self._events.append(Output(old_epoch, items, self._checkpoint(), self._clock.best(now)))

    def on_left(self, why: str, now: float) -> None:
        self._put_output(now)
        self._is_listed = False
        self._stats.clear()
        self._events += [RequestLost(request_id) for request_id in self._requests.close() if not self._is_of_a_talk(request_id)]
        if self._talks is not None:
            self._talks.lost(why)
        self._events.append(Left(why))

    def on_log(self, offset: int, data: bytes) -> None:
        wrong = self._log.feed(data)
        if wrong is not None:
            self._tell("MalformedLog", wrong)

    def on_gap(self, end: int, records: int | None, reason: int) -> None:
        self._log.skip(end, records, reason)

    def on_away(self, away: messages.Away | None) -> None:
        self._events.append(Returned() if away is None else Away(away.reason, away.duration_ms))

    def on_text(self, data: bytes) -> None:
        self._events.append(Text(data))

    def on_problem(self, reason: str, message: str) -> None:
        self._tell(reason, message)

    def _tell(self, reason: str, message: str, *, key: str = "") -> None:
        """Problems with the same key (else reason) are told once a minute."""
        if self._problems.is_news(key or reason, self._now):
            self._events.append(Problem(reason, message))

    def on_uptime(self, uptime_ms: int, now: float) -> None:
        self._clock.add(uptime_ms, now)
        if distance(uptime_ms, self._kept_uptime_ms) >= KEEP_UPTIME_MS:
            self._log.touch()

    def on_message(self, message: messages.ControlMessage, now: float) -> None:
        match message:
            case messages.Answer():
                self._receive_answer(message, now)
            case messages.Notification():
                self._receive_notification(message)
            case messages.Request(rid=rid):
                refused = messages.refusal("the gateway answers no requests")
                self._session.send(messages.encode_control(messages.Answer(rid, Code.UNSUPPORTED, refused)))

    # -- messages

    def _receive_notification(self, message: messages.Notification) -> None:
        match message.method:
            case Method.STARTED | Method.EXITED:
                status = messages.status_from_map(message.body)
                if self._is_listed:
                    self._events.append(WorkloadChanged(status))
                else:
                    self._early.append(status)
                    _refuse_too_many(self._early)
            case Method.CONDITION:
                condition = messages.Condition.from_map(message.body)
                if condition.state:
                    self._tell(condition.reason, condition.message, key=f"{condition.reason}: {condition.message}")
            case Method.CLOSE:
                self._talking().closed(message.body)
            case Method.ERROR:
                error = messages.ErrorNote.from_map(message.body)
                text = error.text or f"code {error.code}"
                self._tell("DeviceError", text, key=f"DeviceError: {text}")
            case _:
                self._count("unknown_notifications")

    def _receive_answer(self, answer: messages.Answer, now: float) -> None:
        request = self._requests.answered(answer.rid)
        if request is None:
            self._count("unknown_answers")
        elif request.id is not None and self._is_of_a_talk(request.id):
            self._talking().answered(request.id, answer)
        elif request.id is not None:
            self._answer_caller(request.id, request, answer)
        elif request.method is Method.LIST:
            self._receive_list(answer)
        else:
            self._receive_inventory(answer)

    def _answer_caller(self, request_id: RequestId, request: OpenRequest, answer: messages.Answer) -> None:
        status: WorkloadStatus | None = None
        try:
            if request.method is Method.START and answer.code == Code.OK:
                status = messages.status_from_map(answer.body)
                if (status.wid, status.gen) != (request.body[1], request.body[2]):
                    raise RemoteProtocolError("START was answered with the status of another run")
            elif request.method is Method.STATS and answer.code == Code.OK and not self._receive_stats(request_id, answer):
                return
        except RemoteProtocolError:
            self._events.append(RequestLost(request_id))
            raise
        self._events.append(Answered(request_id, answer.code, status, answer.text))

    def _receive_stats(self, request_id: RequestId, answer: messages.Answer) -> bool:
        """False: there is one more page, and it was asked for."""
        page = messages.StatsAnswer.from_map(answer.body)
        first, pages = self._stats.pop(request_id, (page.stats, 0))
        stats = replace(first, readings=(*first.readings, *page.stats.readings)) if pages else first
        if pages == MAX_PAGES or len(stats.readings) > MAX_READINGS:
            raise RemoteProtocolError(f"STATS has more than {MAX_READINGS} counters or {MAX_PAGES} pages")
        if page.next is None:
            self._events.append(Reported(stats))
            return True
        self._stats[request_id] = stats, pages + 1
        self._requests.add(OpenRequest(request_id, Method.STATS, {KEY_NEXT: page.next}), first=True)
        return False

    def _receive_list(self, answer: messages.Answer) -> None:
        if answer.code != Code.OK:
            raise RemoteProtocolError(f"LIST was answered with code {answer.code}: {answer.text}")
        page = messages.ListAnswer.from_map(answer.body)
        self._workloads += page.workloads
        _refuse_too_many(self._workloads)
        if page.next is not None:
            self._ask_page(Method.LIST, page.next)
            return
        listed, early = tuple(self._workloads), self._early
        self._workloads, self._early, self._pages = [], [], 0
        self._is_listed = True
        self._events.append(Listed(listed))
        self._events += [WorkloadChanged(status) for status in early if _is_news(status, listed)]
        self._ask(Method.INVENTORY, {})

    def _receive_inventory(self, answer: messages.Answer) -> None:
        if answer.code != Code.OK:
            self._events.append(Inventoried(Inventory()))
            return
        page = messages.InventoryAnswer.from_map(answer.body)
        first, programs = self._inventory or page.inventory, (*self._programs, *page.inventory.programs)
        if page.next is not None:
            self._inventory, self._programs = first, programs
            self._ask_page(Method.INVENTORY, page.next)
            return
        self._inventory, self._programs = None, ()
        self._events.append(Inventoried(Inventory(programs, first.slots, first.board)))

    def _ask_page(self, method: Method, from_: int) -> None:
        self._pages += 1
        if self._pages > MAX_PAGES:
            raise RemoteProtocolError(f"{method.name} has more than {MAX_PAGES} pages")
        self._ask(method, {2: from_})

    def _ask(self, method: Method, body: Mapping[int, object]) -> None:
        self._requests.add(OpenRequest(None, method, dict(body)), first=True)

    def _flush_requests(self) -> None:
        while (message := self._requests.encode_next(only_own=not self._is_listed)) is not None:
            if not self._session.send(message):
                return
            self._requests.sent()

    def _count(self, name: str) -> None:
        self._counters.extra[name] = self._counters.extra.get(name, 0) + 1


def _refuse_too_many(told: list[WorkloadStatus]) -> None:
    if len(told) > MAX_WORKLOADS:
        raise RemoteProtocolError(f"it tells of more than {MAX_WORKLOADS} workloads")


def _is_news(status: WorkloadStatus, listed: tuple[WorkloadStatus, ...]) -> bool:
    """A notification that came while the list was being told may be older than its item."""
    return all((item.wid, item.gen) != (status.wid, status.gen) or item.state < status.state for item in listed)
