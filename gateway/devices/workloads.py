"""`Workloads`: what the pod controller asks of the devices. Chooses slots, starts, stops by the ladder, lets go.

No START leaves before the device's LIST has come and the intent is in the ledger. A run that does not end keeps its slot.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

import anyio
from anyio.abc import TaskGroup

from gateway.devices import exits
from gateway.devices.allocation import choose
from gateway.devices.board import Board, Hook
from gateway.devices.events import DeviceEvents
from gateway.devices.hooks import HookFailed, run_hook
from gateway.devices.identity import workload_id, workload_tag
from gateway.devices.images import program_name
from gateway.devices.ladder import Rung, StopOrder, next_rung
from gateway.devices.ledger import Entry
from gateway.devices.runbook import RunBook
from gateway.devices.runs import is_live
from gateway.pods.seams import AttemptState, Claims, PodIdentity, PodObservation, PodUid, Program, StartRefused
from transports.errors import DeviceError, LocalProtocolError, TransportError
from transports.protocol import Reboot, StartWorkload, StopWorkload

_logger = logging.getLogger(__name__)

SETTLE_S: Final = 3.0
"""How long after the start pods wait for devices that have not said yet what runs on them."""

_REFUSALS: Final[dict[int, str]] = {
    1: "CreateContainerConfigError",
    2: "CreateContainerConfigError",
    3: "ErrImageNeverPull",
    4: "DeviceBusy",
    5: "DeviceBusy",
    6: "CreateContainerConfigError",
}
"""Answer code of START (SPEC.md, Codes) -> waiting reason; others are RunContainerError."""


@dataclass(slots=True, eq=False)
class _Stopping:
    order: StopOrder
    wake: anyio.Event = field(default_factory=anyio.Event)


class DeviceWorkloads:
    """Implements gateway.pods.seams.Workloads over the boards. run() owns the stop ladders."""

    def __init__(self, boards: Mapping[str, Board], book: RunBook, events: DeviceEvents, loop_time: Callable[[], float]) -> None:
        self._boards = boards
        self._book = book
        self._events = events
        self._loop_time = loop_time
        self._settle_at: float | None = None
        self._stopping: dict[tuple[str, str], _Stopping] = {}
        self._tasks: TaskGroup | None = None
        self.starts: Counter[str] = Counter()
        """Workloads that each device took since the gateway began, for a metric."""

    async def run(self) -> None:
        """Until cancelled."""
        self._settle_at = self._loop_time() + SETTLE_S
        async with anyio.create_task_group() as self._tasks:
            await anyio.sleep(SETTLE_S)
            for uid in self.known_pods():
                self._book.tell(uid)
            await anyio.sleep_forever()

    # -- looking

    def observe(self, uid: PodUid) -> PodObservation:
        devices = self._book.devices_of(uid)
        alive = [entry for entry in self._book.runs.containers(uid).values() if is_live(entry)]
        connected = all(self._boards[entry.device].is_ready for entry in alive if entry.device in self._boards)
        return PodObservation(attempts=self._book.runs.attempts(uid), devices=devices, connected=connected)

    def known_pods(self) -> Sequence[PodUid]:
        return self._book.runs.pods()

    def settled(self) -> bool:
        if all(board.has_ever_listed for board in self._boards.values()):
            return True
        return self._settle_at is not None and self._loop_time() >= self._settle_at

    # -- starting

    async def start(self, pod: PodIdentity, container: str, gen: int, program: Program, claims: Claims) -> None:
        entry = self._book.runs.get(pod.uid, container, gen)
        if entry is not None and entry.state != AttemptState.INTENDED.value:
            return
        board = self._place(pod.uid, container, claims)
        try:
            request = self._request(board, pod, container, gen, program)
        except StartRefused:
            self._book.unassign(pod.uid, container)
            raise
        if entry is None:
            await self._book.intend(_intent(pod, container, gen, board.name, request.wid))
        await self._send_start(board, request)

    @staticmethod
    def _request(board: Board, pod: PodIdentity, container: str, gen: int, program: Program) -> StartWorkload:
        if not board.is_ready:
            raise StartRefused("DeviceDisconnected", f"device {board.name} is not connected: {board.problem or 'no session'}")
        return StartWorkload(
            wid=workload_id(pod.uid, container),
            gen=gen,
            program=program_name(program.image, board.inventory, board.name),
            args=program.argv,
            env=tuple(f"{name}={value}" for name, value in program.env),
            tag=workload_tag(pod.uid, container),
            tty=program.tty,
            stdin=program.stdin,
        )

    def _place(self, uid: str, container: str, claims: Claims) -> Board:
        """The container's board: the one it has, one on which it already runs unknown to the ledger, or a new choice."""
        name = self._book.device_of(uid, container)
        if name is not None and name in self._boards:
            return self._boards[name]
        wid = workload_id(uid, container)
        for board in self._boards.values():
            if any(entry.wid == wid for entry in self._book.runs.live_on(board.name)):
                self._book.adopt(uid, container, board.name, wid)
                return board
        views = [board.view(*self._book.slots_of(board.name)) for board in self._boards.values()]
        name = choose(views, claims, container, self._book.devices_of(uid))
        self._book.assign(uid, container, name)
        return self._boards[name]

    async def _send_start(self, board: Board, request: StartWorkload) -> None:
        try:
            status = await board.requester.request(request)
        except DeviceError as error:
            reason = _REFUSALS.get(error.code, "RunContainerError")
            raise StartRefused(reason, f"device {board.name} refused {request.program}: {error.text or f'code {error.code}'}") from error
        except LocalProtocolError as error:
            raise StartRefused("CreateContainerConfigError", f"device {board.name}: {error}") from error
        except TransportError as error:
            raise StartRefused("DeviceDisconnected", f"device {board.name}: {error}") from error
        self.starts[board.name] += 1
        if status is not None:
            await self._events.status(board, status)

    # -- stopping

    async def stop(self, uid: PodUid, container: str, grace_s: float) -> None:
        self._book.end_begins(uid)
        now = self._loop_time()
        stopping = self._stopping.get((uid, container))
        if stopping is not None:
            if stopping.order.shorten(grace_s, now):
                stopping.wake.set()
            return
        entry = self._book.runs.newest(uid, container)
        if entry is None or not is_live(entry) or self._tasks is None:
            return
        stopping = self._stopping[uid, container] = _Stopping(StopOrder(now, grace_s))
        self._tasks.start_soon(self._descend, entry, stopping)

    async def _descend(self, entry: Entry, stopping: _Stopping) -> None:
        """Climb the ladder until the run has ended."""
        key = (PodUid(entry.uid), entry.container)
        board = self._boards[entry.device]
        try:
            await self._book.stopping(entry)
            while True:
                changed, stopping.wake = board.changed, anyio.Event()
                current = self._book.runs.get(entry.uid, entry.container, entry.gen)
                if current is None or not is_live(current):
                    return
                alone = all(other.wid == entry.wid for other in self._book.runs.live_on(board.name))
                hooks = {rung for rung, hook in _hooks(board).items() if hook is not None}
                now = self._loop_time()
                rung, ask_again = next_rung(stopping.order, now, has_session=board.is_ready, is_alone=alone, hooks=hooks)
                if rung is None:
                    await _first_of(changed, stopping.wake, None if ask_again is None else ask_again - now)
                elif await self._climb(rung, board, current, stopping.order):
                    return
        finally:
            self._stopping.pop(key, None)

    async def _climb(self, rung: Rung, board: Board, entry: Entry, order: StopOrder) -> bool:
        """Take one rung; True when the run is known to be gone."""
        now = self._loop_time()
        if rung is not Rung.STOP:
            order.climbed.append(rung)
            order.climbed_at = now
            _logger.warning("run does not end", extra={"device": board.name, "pod": entry.pod, "rung": rung.value})
        match rung:
            case Rung.STOP:
                order.stop_sent_at = now
                return await self._send_stop(board, entry, order)
            case Rung.REBOOT:
                await self._send_reboot(board)
            case Rung.RESET | Rung.POWER_CYCLE:
                await self._run_hook(board, rung)
            case Rung.DIRTY:
                board.is_dirty = True
                board.problem = f"DeviceDirty: {entry.pod} does not end; reset the board by hand"
                self._events.fleet_changed()
            case _:
                assert_never(rung)
        return False

    async def _send_stop(self, board: Board, entry: Entry, order: StopOrder) -> bool:
        grace_ms = int(order.remaining_grace_s(self._loop_time()) * 1000)
        try:
            status = await board.requester.request(StopWorkload(entry.wid, entry.gen, grace_ms))
        except DeviceError as error:
            _logger.warning("device refused STOP", extra={"device": board.name, "why": str(error)})
            return False
        except TransportError:
            order.stop_sent_at = None
            await _first_of(board.changed, board.changed, 1.0)
            return False
        if status is not None:
            await self._events.status(board, status)
        elif entry.state == AttemptState.INTENDED.value:
            await self._book.exited(entry, exits.NEVER_STARTED)
            return True
        return False

    async def _send_reboot(self, board: Board) -> None:
        try:
            await board.requester.request(Reboot())
        except TransportError as error:
            _logger.info("REBOOT was not answered", extra={"device": board.name, "why": str(error)})

    async def _run_hook(self, board: Board, rung: Rung) -> None:
        hook = _hooks(board)[rung]
        if hook is None:
            return
        try:
            await run_hook(rung.value, hook.command, hook.deadline_s, board.name)
            board.output.text(f"wirelet: hook {rung.value} has run\n".encode())
        except HookFailed as error:
            board.problem = str(error)
            board.output.text(f"wirelet: {error}\n".encode())
            _logger.warning("hook failed", extra={"device": board.name, "why": str(error)})

    # -- letting go

    async def retire(self, uid: PodUid) -> None:
        self._book.retire(uid)

    async def release(self, uid: PodUid) -> None:
        await self._book.release(uid)


def _intent(pod: PodIdentity, container: str, gen: int, device: str, wid: int) -> Entry:
    return Entry(
        uid=pod.uid,
        container=container,
        gen=gen,
        namespace=pod.namespace,
        pod=pod.name,
        device=device,
        wid=wid,
        state=AttemptState.INTENDED.value,
    )


def _hooks(board: Board) -> dict[Rung, Hook | None]:
    return {Rung.RESET: board.reset_hook, Rung.POWER_CYCLE: board.power_hook}


async def _first_of(one: anyio.Event, other: anyio.Event, timeout_s: float | None) -> None:
    """Return when either event is set or the time is up."""
    with anyio.move_on_after(timeout_s):
        async with anyio.create_task_group() as waiting:

            async def wait(event: anyio.Event) -> None:
                await event.wait()
                waiting.cancel_scope.cancel()

            waiting.start_soon(wait, one)
            waiting.start_soon(wait, other)
