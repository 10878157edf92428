"""Pods on real supervisors, the real protocol and simulated boards in this process: what the pod controller would see."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from gateway.config import Configuration, parse
from gateway.devices.board import Hook, LineReset
from gateway.devices.fleet import Fleet
from gateway.devices.ladder import Rung
from gateway.devices.ledger import Ledger
from gateway.logs.clock import SystemClock
from gateway.logs.reader import LogOptions, read
from gateway.logs.store import AttemptKey, LogStore
from gateway.pods.seams import Attempt, AttemptState, Claims, PodIdentity, PodUid, Program, StartRefused

POD = PodIdentity(PodUid("6f1f4a52-6d0c-4c8e-9a55-0d5f0d9a3c01"), "default", "hello")
NO_CLAIMS = Claims(containers={"main": {}})
CONFIGURATION = """
apiVersion: wirelet.dev/v1alpha1
kind: GatewayConfiguration
node: {name: desk}
classes: [{name: sim, slots: 2, shared: true, keepalive: 200ms}]
devices: [{name: sim-1, class: sim, link: {simulated: {seed: 1}}}]
"""


class Bench:
    """A fleet with its files, and what a test asks of it."""

    def __init__(self, folder: Path, configuration: Configuration) -> None:
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.logs = LogStore(folder / "logs", budget_bytes=8 << 20)
        self.logs.reopen_all()
        self._moved = anyio.Event()
        (folder / "checkpoints").mkdir(exist_ok=True)
        self.fleet = Fleet(
            configuration,
            ledger=self.ledger,
            logs=self.logs,
            checkpoints=folder / "checkpoints",
            loans=folder / "checkpoints",
            pod_changed=self._pod_changed,
            wall_clock=time.time,
        )
        self.fleet.events.fleet_changed = lambda: self._pod_changed(POD.uid)

    def close(self) -> None:
        self.logs.close()
        self.fleet.close()
        self.ledger.close()

    def _pod_changed(self, _uid: PodUid) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def until(self, met: Callable[[], bool]) -> None:
        with anyio.fail_after(15):
            while not met():
                await self._moved.wait()

    async def ready(self) -> None:
        await self.until(lambda: all(board.is_ready and board.inventory is not None for board in self.fleet.boards.values()))

    def attempt(self, container: str = "main") -> Attempt | None:
        attempts = self.fleet.workloads.observe(POD.uid).attempts.get(container)
        return attempts[-1] if attempts else None

    def state(self, container: str = "main") -> AttemptState | None:
        attempt = self.attempt(container)
        return attempt.state if attempt else None

    async def start(self, *argv: str, image: str = "counter", gen: int = 1, env: tuple[tuple[str, str], ...] = ()) -> None:
        program = Program(image=image, argv=argv, env=env)
        await self.fleet.workloads.start(POD, "main", gen, program, NO_CLAIMS)

    async def log(self, gen: int = 1) -> str:
        pieces = [piece async for piece in read(self.logs, AttemptKey(POD.uid, "main", gen), LogOptions(), clock=SystemClock())]
        return b"".join(pieces).decode()


@asynccontextmanager
async def bench(folder: Path, text: str = CONFIGURATION) -> AsyncIterator[Bench]:
    made = Bench(folder, parse(text))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.fleet.run)
        await made.ready()
        yield made
        tasks.cancel_scope.cancel()
    made.close()


async def test_a_program_runs_prints_and_ends(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.start("--rate", "1000", "--count", "50")
        await desk.until(lambda: desk.state() is AttemptState.EXITED)

        attempt = desk.attempt()
        assert attempt is not None
        assert (attempt.exit_code, attempt.reason) == (0, "Completed")
        assert await desk.log() == "".join(f"{number}\n" for number in range(1, 51))


async def test_arguments_and_environment_reach_the_program(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.start("one", "two words", "$(x)", image="registry.example/lab/args:1")
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        await desk.start(image="env", gen=2, env=(("B", "2"), ("A", "1 = one")))
        await desk.until(lambda: desk.state() is AttemptState.EXITED)

        assert await desk.log(1) == '["one", "two words", "$(x)"]\n'
        assert await desk.log(2) == "A=1 = one\nB=2\n"


@pytest.mark.parametrize(
    ("image", "argv", "exit_code", "reason"),
    [("exit", ("3",), 3, "Error"), ("exit", ("0",), 0, "Completed"), ("crash", (), 134, "DevicePanic")],
)
async def test_the_way_a_program_ends_is_told(tmp_path: Path, image: str, argv: tuple[str, ...], exit_code: int, reason: str) -> None:
    async with bench(tmp_path) as desk:
        await desk.start(*argv, image=image)
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        attempt = desk.attempt()
        assert attempt is not None
        assert (attempt.exit_code, attempt.reason) == (exit_code, reason)


async def test_a_stopped_program_ends_long_before_its_grace(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.start("--rate", "10")
        begun = time.monotonic()
        await desk.fleet.workloads.stop(POD.uid, "main", 30.0)
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        assert time.monotonic() - begun < 10


async def test_slots_are_taken_and_freed(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.start("--rate", "10")
        assert desk.fleet.slots_used("sim-1") == 1
        await desk.fleet.workloads.stop(POD.uid, "main", 5.0)
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        await desk.fleet.workloads.retire(POD.uid)
        assert desk.fleet.slots_used("sim-1") == 0
        await desk.fleet.workloads.release(POD.uid)
        assert list(desk.fleet.workloads.known_pods()) == []
        assert desk.ledger.entries() == []


async def test_an_unknown_image_waits_and_lists_what_there_is(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        with pytest.raises(StartRefused) as caught:
            await desk.start(image="nginx")
        assert caught.value.reason == "ErrImageNeverPull"
        assert "counter" in caught.value.message
        assert desk.ledger.entries() == []


async def test_a_start_that_cannot_fit_names_both_sizes_and_is_never_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        with pytest.raises(StartRefused) as caught:
            await desk.start("x" * 100_000)
        assert caught.value.reason == "CreateContainerConfigError"
        assert "args" in caught.value.message
        assert desk.ledger.entries() == []


async def test_a_reboot_ends_the_run_and_the_next_one_starts(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.start(image="reboot")
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        attempt = desk.attempt()
        assert attempt is not None
        assert attempt.reason == "DeviceRebooted"
        assert "software" in attempt.message
        await desk.ready()
        await desk.start("--rate", "1000", "--count", "3", gen=2)
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        assert await desk.log(2) == "1\n2\n3\n"


async def test_any_image_runs_where_the_board_accepts_any(tmp_path: Path) -> None:
    async with bench(tmp_path, CONFIGURATION.replace("seed: 1", "seed: 1, accept: any")) as desk:
        await desk.start("--flag", image="ghcr.io/lab/thing:2")
        await desk.until(lambda: desk.state() is AttemptState.RUNNING)
        await desk.fleet.workloads.stop(POD.uid, "main", 5.0)
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        assert "--flag" in await desk.log()


async def test_the_node_offers_the_slots_of_devices_that_answer(tmp_path: Path) -> None:
    two = CONFIGURATION.replace("seed: 1}}}]", "seed: 1}}}, {name: gone, class: sim, link: {serial: {path: /nowhere/tty}}}]")
    made = Bench(tmp_path, parse(two))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.fleet.run)
        await made.until(lambda: made.fleet.boards["sim-1"].is_ready and "gone" in made.fleet.problems())
        assert made.fleet.capacities() == {"sim": (4, 2)}
        assert made.fleet.problems()["gone"] == "no such port"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("settings", "hooks", "reset"),
    [("", "", None), (", modemLines: esp-autoreset", "", LineReset), (", modemLines: esp-autoreset", "reset: {command: [relay]}", Hook)],
)
def test_a_board_whose_lines_reset_it_needs_no_hook(tmp_path: Path, settings: str, hooks: str, reset: type | None) -> None:
    text = CONFIGURATION.replace("simulated: {seed: 1}", f"serial: {{path: /dev/ttyUSB0{settings}}}")
    made = Bench(tmp_path, parse(text.replace("keepalive: 200ms", f"hooks: {{{hooks}}}")))
    hook = made.fleet.boards["sim-1"].hooks.get(Rung.RESET)
    assert hook is None if reset is None else isinstance(hook, reset)
    made.close()


async def test_the_node_is_looked_at_again_when_a_board_should_be_back_from_its_sleep(tmp_path: Path) -> None:
    made = Bench(tmp_path, parse(CONFIGURATION))
    board, now = made.fleet.boards["sim-1"], anyio.current_time()
    board.away_since, board.is_away_by_itself, board.excused_until = now - 1000, True, now + 60
    assert made.fleet.allocatable_changes_at() == now + 60
    made.close()
