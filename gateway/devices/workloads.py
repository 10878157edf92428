"""`Workloads`: what the pod controller asks of the devices. Chooses slots, starts, stops by the ladder, lets go.

No START leaves before the device's LIST has come and the intent is in the ledger. A run that does not end keeps its slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import anyio
from anyio.abc import TaskGroup

from gateway.devices import exits
from gateway.devices.allocation import choose, payer
from gateway.devices.board import Board
from gateway.devices.events import DeviceEvents
from gateway.devices.identity import is_unnamed, workload_id, workload_tag
from gateway.devices.images import program_name
from gateway.devices.ledger import Entry, LedgerFailed
from gateway.devices.runbook import RunBook
from gateway.devices.runs import is_live
from gateway.devices.slotbook import Place
from gateway.devices.stops import Stops
from gateway.pods.seams import AdmissionRejected, AttemptState, Claims, PodIdentity, PodObservation, PodUid, Program, StartRefused
from transports.errors import DeviceError, LocalProtocolError, TransportError
from transports.protocol import RemoveWorkload, StartWorkload, StopWorkload, WorkloadStatus

SETTLE_S: Final = 3.0
"""How long after the start pods wait for devices that have not said yet what runs on them."""
LIST_WAIT_S: Final = 5.0
"""A device that has a session tells its runs and its programs within a few round trips."""
BAD_STATE: Final = 8
"""Answer code: another attempt of the workload is still on the device."""

_REFUSALS: Final[dict[int, str]] = {
    1: "CreateContainerConfigError",
    2: "CreateContainerConfigError",
    3: "ErrImageNeverPull",
    4: "DeviceBusy",
    5: "DeviceBusy",
    6: "CreateContainerConfigError",
}
"""Answer code of START (SPEC.md, Codes) -> waiting reason; others are RunContainerError."""


class DeviceWorkloads:
    """Implements gateway.pods.seams.Workloads over the boards. run() owns the stop ladders."""

    def __init__(self, boards: Mapping[str, Board], book: RunBook, events: DeviceEvents, loop_time: Callable[[], float]) -> None:
        self._boards = boards
        self._book = book
        self._events = events
        self._loop_time = loop_time
        self._settle_at: float | None = None
        self._stops = Stops(boards, book, loop_time, lambda: events.fleet_changed())
        self._tasks: TaskGroup | None = None
        self.starts: Counter[str] = Counter()
        """Workloads that each device took since the gateway began, for a metric."""
        self.containers_of: Callable[[PodUid], Mapping[str, bool]] = lambda uid: {}
        """The names of a pod's containers, and which of them are init containers; {} for a pod that nobody knows. Runs that only a device
        remembers are recognised by it."""

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            try:
                await self._tasks.start(self._stops.run)
                self._tasks.start_soon(self._end_those_of_removed_devices)
                await self._settle()
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    async def _settle(self) -> None:
        self._settle_at = self._loop_time() + SETTLE_S
        await anyio.sleep(SETTLE_S)
        for uid in self.known_pods():
            self._book.tell(uid)

    async def _end_those_of_removed_devices(self) -> None:
        """A ledger that takes nothing holds up their ends, and nobody else."""
        for entry in self._book.runs.live():
            if entry.device not in self._boards:
                await self._book.exited(entry.run, exits.of_removed_device(entry.device))

    # -- looking

    def observe(self, uid: PodUid) -> PodObservation:
        self._recognise(uid)
        devices = {container: place.device for container, place in self._book.slots.places(uid).items()}
        alive = [entry for entry in self._book.runs.containers(uid).values() if is_live(entry)]
        boards = {entry.device: self._boards[entry.device] for entry in alive if entry.device in self._boards}.values()
        now = self._loop_time()
        absent = [board for board in boards if not board.is_connected(now)]
        changes = [at for board in boards if (at := board.connection_changes_at(now)) is not None]
        return PodObservation(
            attempts=self._book.runs.attempts(uid),
            devices=devices,
            connected=not absent,
            lent=bool(absent) and all(board.borrower for board in absent),
            off=bool(absent) and all(board.is_off for board in absent),
            restarting=bool(absent) and all(board.is_restarting(now) for board in absent),
            connection_changes_at=min(changes, default=None),
        )

    def known_pods(self) -> Sequence[PodUid]:
        return self._book.pods()

    def settled(self) -> bool:
        if self._settle_at is None:
            return False
        if self._loop_time() >= self._settle_at:
            return True
        return all(board.has_ever_listed and board.inventory is not None for board in self._boards.values())

    @property
    def stops_under_way(self) -> int:
        return len(self._stops)

    def _recognise(self, uid: PodUid) -> None:
        if self._tasks is None or not any(is_unnamed(container) for container in self._book.runs.containers(uid)):
            return
        for entry in self._book.recognise(uid, self.containers_of(uid)):
            self._tasks.start_soon(self._keep, entry)

    async def _keep(self, entry: Entry) -> None:
        """Durable first; then the device need not remember an end any more."""
        await self._book.keep(entry.run)
        if not is_live(entry):
            self._events.ask(self._boards[entry.device], RemoveWorkload(entry.wid, entry.gen))

    # -- starting

    async def start(self, pod: PodIdentity, container: str, gen: int, program: Program, claims: Claims) -> None:
        self._recognise(pod.uid)
        newest = self._book.runs.newest(pod.uid, container)
        if newest is not None and (newest.gen > gen or (is_live(newest) and newest.gen < gen)):
            return  # a device knows more than the status from which gen was counted
        entry = self._book.runs.get(pod.uid, container, gen)
        if entry is not None and entry.state != AttemptState.INTENDED.value:
            return
        try:
            await self._start(pod, container, gen, program, claims)
        except (StartRefused, AdmissionRejected):
            self._book.slots.unassign(pod.uid)
            self._book.slots.waits(pod.uid)
            raise

    async def _start(self, pod: PodIdentity, container: str, gen: int, program: Program, claims: Claims) -> None:
        place = self._place(pod.uid, container, claims)
        board = self._boards[place.device]
        await self._wait_for_list(board)
        request = self._request(board, pod, container, gen, program, from_boot=claims.from_boot)
        self._book.limit_logs(pod.uid, claims.log_bytes)
        intent = self._book.runs.get(pod.uid, container, gen) or _intent(pod, container, gen, place, request.wid)
        await self._intend(board, intent)
        await self._send_start(board, request)

    def _place(self, uid: PodUid, container: str, claims: Claims) -> Place:
        """The container's place: the one it has, or a new choice, after that of the container that pays for it."""
        place = self._book.slots.places(uid).get(container)
        if place is not None and place.device in self._boards:
            return place
        paying = payer(claims, container)
        if paying is not None:
            self._place(uid, paying, claims)
        places = self._book.slots.places(uid)
        is_init = container in claims.inits
        usages = self._book.slots.usages()
        own = {place.device for place in places.values()}
        views = []
        for board in self._boards.values():
            used, ending = usages.get(board.name, (0, 0))
            takes_over = board.name in own and not self._book.slots.needs_another(uid, Place(board.name, is_init))
            views.append(board.view(used - takes_over, ending))
        name = choose(views, claims, container, {name: place.device for name, place in places.items()})
        place = Place(name, is_init)
        self._book.slots.assign(uid, container, place)
        return place

    async def _wait_for_list(self, board: Board) -> None:
        """An end that LIST tells is followed by the next start at once: it must not be refused because LIST is not over."""
        with anyio.move_on_after(LIST_WAIT_S):
            while board.has_session and not (board.is_ready and board.inventory is not None):
                await board.changed.wait()

    @staticmethod
    def _request(board: Board, pod: PodIdentity, container: str, gen: int, program: Program, *, from_boot: bool) -> StartWorkload:
        if board.dirt is not None:
            raise StartRefused("DeviceDirty", f"device {board.name}: {board.dirt.why}")
        if board.borrower:
            raise StartRefused("DeviceLent", f"device {board.name} is lent to another program")
        if board.is_off:
            raise StartRefused("DeviceOff", f"device {board.name} is switched off")
        if not board.is_ready or board.inventory is None:
            reason = "DeviceRestarting" if board.is_restarting(anyio.current_time()) else "DeviceDisconnected"
            raise StartRefused(reason, f"device {board.name} is not connected: {board.told_problem or 'no session'}")
        return StartWorkload(
            wid=workload_id(pod.uid, container),
            gen=gen,
            program=program_name(program.image, board.inventory, board.name),
            args=program.argv,
            env=tuple(f"{name}={value}" for name, value in program.env),
            tag=workload_tag(pod.uid, container),
            tty=program.tty,
            stdin=program.stdin,
            working_dir=program.working_dir,
            from_boot=from_boot,
        )

    async def _intend(self, board: Board, intent: Entry) -> None:
        """The ledger says for which boot an attempt is meant, so that a LIST without it tells whether it may still be sent.

        Meanwhile the device may restart. An intent of this call was not sent yet and is meant for the new boot; one of an earlier call may
        have run, and the LIST of the new boot has ended it or will.
        """
        if intent.boot_id == 0:
            while board.is_ready and intent.boot_id != board.boot_id:
                intent = replace(intent, boot_id=board.boot_id)
                try:
                    await self._book.intend(intent)
                except LedgerFailed as error:
                    raise StartRefused("LedgerUnavailable", str(error)) from error
        if not board.is_ready or intent.boot_id != board.boot_id:
            raise StartRefused("DeviceDisconnected", f"device {board.name} restarted before the start was sent")

    async def _send_start(self, board: Board, request: StartWorkload) -> None:
        joins = board.joins
        try:
            status = await self._ask_to_start(board, request)
        except DeviceError as error:
            reason = _REFUSALS.get(error.code, "RunContainerError")
            await self._withdraw(board, request)
            raise StartRefused(reason, f"device {board.name} refused {request.program}: {error.text or f'code {error.code}'}") from error
        except LocalProtocolError as error:
            await self._withdraw(board, request)
            raise StartRefused("CreateContainerConfigError", f"device {board.name}: {error}") from error
        except TransportError as error:
            raise StartRefused("DeviceDisconnected", f"device {board.name}: {error}") from error
        self.starts[board.name] += 1
        if board.joins == joins:
            if status is not None:
                await self._events.started(board, status)
            return
        # The answer is of the session before, and LIST has decided, or of the new one, in which START waited for LIST.
        entry = self._book.runs.of_run((board.name, request.wid, request.gen))
        if entry is None or not is_live(entry):
            self._events.ask(board, StopWorkload(request.wid, request.gen, 0))

    async def _ask_to_start(self, board: Board, request: StartWorkload) -> WorkloadStatus | None:
        try:
            return await board.requester.request(request)
        except DeviceError as error:
            if error.code != BAD_STATE:
                raise
        # The exit record of an earlier attempt is still there: its REMOVE was lost, or is on its way.
        for gen in range(request.gen - 1, 0, -1):
            ended = self._book.runs.of_run((board.name, request.wid, gen))
            if ended is not None and not is_live(ended):
                await board.requester.request(RemoveWorkload(request.wid, gen))
        return await board.requester.request(request)

    async def _withdraw(self, board: Board, request: StartWorkload) -> None:
        """It does not run and will not by this request: nothing keeps the container on this device."""
        try:
            await self._book.withdraw((board.name, request.wid, request.gen))
        except LedgerFailed:
            return  # the intent stays, and asks the same device again

    # -- stopping and letting go

    async def stop(self, uid: PodUid, container: str, grace_s: float) -> None:
        self._book.slots.end_begins(uid)
        entry = self._book.runs.newest(uid, container)
        if entry is not None and is_live(entry) and entry.device in self._boards:
            self._stops.ask(entry, grace_s)

    async def retire(self, uid: PodUid) -> None:
        self._book.slots.retire(uid)

    async def release(self, uid: PodUid) -> None:
        unnamed = [entry for entry in self._book.runs.of_pod(uid) if is_unnamed(entry.container)]
        await self._book.release(uid)
        for entry in unnamed:
            self._events.ask(self._boards[entry.device], RemoveWorkload(entry.wid, entry.gen))


def _intent(pod: PodIdentity, container: str, gen: int, place: Place, wid: int) -> Entry:
    return Entry(
        uid=pod.uid,
        container=container,
        gen=gen,
        namespace=pod.namespace,
        pod=pod.name,
        device=place.device,
        wid=wid,
        state=AttemptState.INTENDED.value,
        is_init=place.is_init,
    )
