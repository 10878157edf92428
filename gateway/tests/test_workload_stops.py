"""Stops against everything that may happen in between: what was told to end has ended, or its board is climbed, and nobody else pays."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway.devices.board import Hook, LineReset
from gateway.devices.ladder import STEP_DEADLINE_S
from gateway.pods.seams import AttemptState
from gateway.tests.desk import OTHER, UID, WID, asked, desk, lose_a_start
from gateway.tests.fake_device import REQUEST_DEADLINE_S, FakeDevice
from gateway.tests.warped_time import WarpedLoop
from transports.errors import LinkError
from transports.protocol import Reboot, StartWorkload, StopWorkload


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


async def test_a_stop_does_not_switch_a_board_on_that_a_person_switched_off(tmp_path: Path) -> None:
    device, log = FakeDevice("dev"), tmp_path / "hooks"
    async with desk(tmp_path, device, power_hook=Hook(("touch", str(log)), 600.0)) as table:
        device.join()
        await table.handled()
        await table.start()
        device.deaf_to |= {StopWorkload, Reboot}
        table.boards["dev"].is_off = True
        await table.stop(grace_s=1.0)
        await table.until(lambda: table.boards["dev"].is_dirty)
        assert not log.exists()


async def test_a_ladder_of_a_board_that_ignores_everything_is_climbed_in_order(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    log = tmp_path / "hooks"
    hooks = {f"{name}_hook": Hook(("sh", "-c", f'echo "$WIRELET_HOOK $WIRELET_DEVICE" >> {log}'), 600.0) for name in ("reset", "power")}
    async with desk(tmp_path, device, **hooks) as table:
        device.join()
        await table.handled()
        await table.start()
        device.deaf_to |= {StopWorkload, Reboot}
        await table.stop(grace_s=5.0)
        await table.until(lambda: table.boards["dev"].is_dirty)
        kinds = [type(request) for request in device.asked if not isinstance(request, StartWorkload)]
        assert kinds == [StopWorkload, Reboot]
        assert log.read_text().splitlines() == ["reset dev", "power.cycle dev"]
        assert "does not end" in table.boards["dev"].problem
        assert not table.boards["dev"].is_allocatable(anyio.current_time())
        assert table.state() is AttemptState.STOPPING
        # A person resets it: the run is over, and the board is clean.
        device.reset(2)
        device.join()
        ended = await table.exited()
        assert ended.reason == "DeviceRebooted"
        await table.handled()
        assert not table.boards["dev"].is_dirty


async def test_a_board_may_be_reset_by_its_modem_lines(tmp_path: Path) -> None:
    device = FakeDevice("dev")

    async def pulse() -> None:
        device.reset(2)
        device.join()

    async with desk(tmp_path, device, reset_hook=LineReset(pulse)) as table:
        device.join()
        await table.handled()
        await table.start()
        device.deaf_to |= {StopWorkload, Reboot}
        await table.stop(grace_s=5.0)
        ended = await table.exited()
        assert ended.reason == "DeviceRebooted"
        assert not table.boards["dev"].is_dirty


async def test_lines_that_cannot_reset_are_told_and_the_ladder_goes_on(tmp_path: Path) -> None:
    device = FakeDevice("dev")

    async def pulse() -> None:
        raise LinkError("port: the port has no modem lines")

    async with desk(tmp_path, device, reset_hook=LineReset(pulse)) as table:
        device.join()
        await table.handled()
        await table.start()
        device.deaf_to |= {StopWorkload, Reboot}
        await table.stop(grace_s=5.0)
        await table.until(lambda: table.boards["dev"].trouble == "port: the port has no modem lines")
        await table.until(lambda: table.boards["dev"].is_dirty)


async def test_a_ghost_that_ends_by_itself_leaves_a_clean_board(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.deaf_to |= {StopWorkload, Reboot}
        await table.stop(grace_s=0.0)
        await table.until(lambda: table.boards["dev"].is_dirty)
        device.end(WID)
        await table.exited()
        await table.until(lambda: not table.boards["dev"].is_dirty)


async def test_a_device_that_answers_no_stop_is_still_climbed(tmp_path: Path) -> None:
    """Its session lives, so nobody says that the request is lost."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.held.add(StopWorkload)
        device.deaf_to.add(StopWorkload)
        before = anyio.current_time()
        await table.stop(grace_s=1.0)
        ended = await table.exited()
        assert ended.reason == "DeviceRebooted"
        assert anyio.current_time() - before < REQUEST_DEADLINE_S
        assert any(isinstance(request, Reboot) for request in device.asked)


async def test_a_cable_that_comes_back_late_gives_the_program_its_chance(tmp_path: Path) -> None:
    """The grace is long over when STOP can be sent: the answer to it must not be followed by REBOOT at once."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.lose()
        await table.handled()
        await table.stop(grace_s=1.0)
        await anyio.sleep(120)
        device.deaf_to.add(StopWorkload)
        device.join()
        await table.until(lambda: bool(asked(device, StopWorkload)))
        await table.handled()
        device.end(WID)
        assert (await table.exited()).reason == "Completed"
        assert not any(isinstance(request, Reboot) for request in device.asked)


@pytest.mark.parametrize("grace_s", [1.0, 3.0])
async def test_two_stuck_runs_on_one_board_do_not_wait_for_each_other(tmp_path: Path, grace_s: float) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        await table.start(pod=OTHER)
        device.deaf_to.add(StopWorkload)
        await table.stop(grace_s=1.0)
        await table.stop(grace_s=grace_s, pod=OTHER)
        assert (await table.exited()).reason == "DeviceRebooted"
        assert (await table.exited(pod=OTHER)).reason == "DeviceRebooted"
        assert sum(isinstance(request, Reboot) for request in device.asked) == 1


async def test_a_stuck_run_beside_a_healthy_one_takes_nothing_down(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        await table.start(pod=OTHER)
        device.deaf_to.add(StopWorkload)
        await table.stop(grace_s=1.0)
        await anyio.sleep(60)
        assert not any(isinstance(request, Reboot) for request in device.asked)
        assert table.state(pod=OTHER) is AttemptState.RUNNING
        assert len(asked(device, StopWorkload)) > 2


async def test_an_end_that_meets_a_stop_stays_the_end(tmp_path: Path) -> None:
    """The program ends by itself at the moment of the stop: nothing may bring the attempt back to life."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.end(WID, 4)
        await table.stop(grace_s=1.0)
        ended = await table.exited()
        await anyio.sleep(120)
        assert table.attempt() == ended
        assert ended.exit_code == 4
        assert [held.state for held in table.ledger.entries()] == ["exited"]
        assert not any(isinstance(request, Reboot) for request in device.asked)


async def test_a_stop_during_a_start_ends_what_was_started(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        device.held |= {StartWorkload, StopWorkload}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(table.start)
            await table.until(lambda: bool(device.asked))
            await table.stop(grace_s=1.0)
            await table.until(lambda: bool(asked(device, StopWorkload)))
            device.let_go(StartWorkload, StopWorkload)
        ended = await table.exited()
        await table.handled()
        assert ended.reason == "Completed"
        assert device.runs == {}


async def test_an_intent_that_never_reached_its_device_ends_with_the_stop(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await lose_a_start(table, device)
        device.join()
        await table.handled()
        await table.stop()
        ended = await table.exited()
        assert (ended.reason, ended.exit_code) == ("ContainerStatusUnknown", 137)
        assert not any(isinstance(request, Reboot) for request in device.asked)


async def test_a_reset_during_a_stop_is_the_end_of_the_ladder(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.deaf_to.add(StopWorkload)
        await table.stop(grace_s=30.0)
        await table.until(lambda: bool(asked(device, StopWorkload)))
        device.reset(4)
        device.join()
        assert "watchdog" in (await table.exited()).message
        await anyio.sleep(120)
        assert not any(isinstance(request, Reboot) for request in device.asked)
        assert table.workloads.stops_under_way == 0


async def test_a_shorter_grace_is_sent_to_the_device(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.deaf_to.add(StopWorkload)
        await table.stop(grace_s=300.0)
        await table.until(lambda: len(asked(device, StopWorkload)) == 1)
        await table.stop(grace_s=0.0)
        await table.until(lambda: len(asked(device, StopWorkload)) == 2)
        graces = [request.grace_ms for request in device.asked if isinstance(request, StopWorkload)]
        assert graces[0] > 290_000
        assert graces[1] == 0


async def test_a_slow_hook_has_its_time_before_the_next_rung(tmp_path: Path) -> None:
    """A power cycle that takes longer than a step: the board boots after it, and only then its patience counts."""
    device = FakeDevice("dev")
    done = tmp_path / "done"
    async with desk(tmp_path, device, power_hook=Hook(("sh", "-c", f"sleep 0.3; touch {done}"), 600.0)) as table:
        device.join()
        await table.handled()
        await table.start()
        device.lose()
        await table.handled()
        await table.stop(grace_s=0.0)
        await table.until(done.exists)
        before = anyio.current_time()
        await table.until(lambda: table.boards["dev"].is_dirty)
        assert anyio.current_time() - before > STEP_DEADLINE_S / 2


async def test_release_forgets_everything(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.say(WID, "one")
        await table.stop()
        await table.exited()
        await table.workloads.release(UID)
        await table.handled()
        assert table.workloads.known_pods() == []
        assert table.ledger.entries() == []
        assert not [info for info in table.logs.rings() if getattr(info.key, "uid", None) == UID]
        assert table.book.slots.usage("dev") == (0, 0)
        assert device.runs == {}
