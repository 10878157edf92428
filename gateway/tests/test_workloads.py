"""Starts and stops against everything that may happen in between: what the pod controller is promised by its seam."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway.devices.board import Hook, LineReset
from gateway.devices.identity import workload_id, workload_tag
from gateway.devices.ladder import STEP_DEADLINE_S
from gateway.devices.ledger import Ledger
from gateway.logs.store import AttemptKey
from gateway.pods.seams import AdmissionRejected, AttemptState, Claims, StartRefused
from gateway.tests.desk import OTHER, UID, WID, Desk, desk, entry
from gateway.tests.fake_device import BUSY, REQUEST_DEADLINE_S, FakeDevice
from gateway.tests.warped_time import WarpedLoop
from transports.errors import DeviceError, LinkError
from transports.protocol import Reboot, RemoveWorkload, Request, StartWorkload, StopWorkload, WorkloadState, WorkloadStatus


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


def asked(device: FakeDevice, kind: type[Request]) -> list[tuple[int, int]]:
    """(wid, gen) of every request of this kind that the device got."""
    runs = (request for request in device.asked if isinstance(request, StartWorkload | StopWorkload | RemoveWorkload))
    return [(request.wid, request.gen) for request in runs if isinstance(request, kind)]


# -- starting


async def test_a_start_is_in_the_ledger_before_the_device_hears_of_it(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    seen: list[list[tuple[int, str]]] = []

    class Watching(FakeDevice):
        async def request(self, request: Request) -> WorkloadStatus | None:
            ledger = Ledger(tmp_path / "ledger.sqlite")
            seen.append([(held.gen, held.state) for held in ledger.entries()])
            ledger.close()
            return await super().request(request)

    device = Watching("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        assert seen == [[(1, "intended")]]
        assert table.state() is AttemptState.RUNNING


async def test_a_start_without_a_session_leaves_no_trace(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        with pytest.raises(StartRefused) as caught:
            await table.start()
        assert caught.value.reason == "DeviceDisconnected"
        assert table.ledger.entries() == []
        assert table.book.slots.usage("dev") == (0, 0)


async def test_a_start_waits_for_the_inventory_instead_of_missing_its_program(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table, anyio.create_task_group() as tasks:
        device.begin_session()
        device.list()
        await table.handled()
        tasks.start_soon(table.start)
        await table.handled()
        assert not table.workloads.settled()
        device.tell_inventory()
        await table.until(lambda: table.state() is AttemptState.RUNNING)


async def test_a_start_that_follows_an_end_in_list_is_not_refused(tmp_path: Path) -> None:
    """The pod hears of its end while LIST is still being decided."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table, anyio.create_task_group() as tasks:
        device.join()
        await table.handled()
        await table.start()
        device.reset()
        device.begin_session()
        await table.handled()
        tasks.start_soon(table.start, "main", 1)
        tasks.start_soon(table.start, "side")
        await table.handled()
        device.list()
        device.tell_inventory()
        await table.until(lambda: table.state("side") is AttemptState.RUNNING)
        assert table.state() is AttemptState.EXITED


async def test_a_refused_start_gives_its_slot_back_and_may_go_elsewhere(tmp_path: Path) -> None:
    full, free = FakeDevice("a-full"), FakeDevice("b-free")
    full.refuses[StartWorkload] = DeviceError(BUSY, "all slots are in use")
    async with desk(tmp_path, full, free) as table:
        full.join()
        free.join()
        await table.handled()
        with pytest.raises(StartRefused) as caught:
            await table.start()
        assert caught.value.reason == "DeviceBusy"
        assert table.ledger.entries() == []
        assert table.book.slots.usage("a-full") == (0, 0)
        assert not table.workloads.known_pods()
        table.boards["a-full"].slots = 0
        await table.start()
        assert table.workloads.observe(UID).devices == {"main": "b-free"}


async def test_an_answer_that_is_lost_with_the_session_is_told_by_the_next_list(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        device.held.add(StartWorkload)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused, table)
            await table.until(lambda: bool(device.asked))
            device.lose()
        assert table.state() is AttemptState.INTENDED
        device.held.clear()
        device.join()
        await table.handled()
        assert table.state() is AttemptState.RUNNING
        await table.start()
        assert device.started == [(WID, 1)]


async def refused(table: Desk) -> None:
    with pytest.raises(StartRefused):
        await table.start()


async def test_a_run_that_a_reset_took_with_its_answer_never_starts_again(tmp_path: Path) -> None:
    """The session after the reset is lost before its LIST, so the LIST that decides comes in a boot that is no news."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        device.held.add(StartWorkload)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused, table)
            await table.until(lambda: bool(device.asked))
            device.reset()
        device.held.clear()
        device.begin_session()
        device.lose()
        device.join()
        await table.handled()
        ended = await table.exited()
        assert (ended.exit_code, ended.reason) == (137, "DeviceRebooted")
        assert ended.message == "the device restarted: power; it had not confirmed the start"
        await table.start()
        assert device.started == [(WID, 1)]


async def test_a_gateway_that_dies_between_start_and_answer_does_not_start_twice(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        device.held.add(StartWorkload)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(table.start)
            await table.until(lambda: bool(device.asked))
            tasks.cancel_scope.cancel()
    device.reset()
    device.held.clear()
    # The dead gateway's checkpoint knows the new boot already: it was killed after the first output of it.
    device.known_boot = device.boot_id
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        assert (await table.exited()).reason == "DeviceRebooted"
        assert device.started == [(WID, 1)]


async def test_a_start_that_the_device_never_got_is_sent_again_in_the_same_boot(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        device.held.add(StartWorkload)
        device.deaf_to.add(StartWorkload)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused, table)
            await table.until(lambda: bool(device.asked))
            device.lose()
        device.held.clear()
        device.deaf_to.clear()
        device.join()
        await table.handled()
        assert table.state() is AttemptState.INTENDED
        await table.start()
        assert table.state() is AttemptState.RUNNING
        assert device.started == [(WID, 1)]


async def test_an_exit_that_overtakes_the_answer_is_the_end(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        device.held.add(StartWorkload)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(table.start)
            await table.until(lambda: bool(device.asked))
            device.end(WID, 3)
            await table.handled()
            device.let_go(StartWorkload)
        ended = await table.exited()
        assert (ended.exit_code, ended.reason) == (3, "Error")
        await table.handled()
        assert asked(device, StopWorkload) == []
        assert device.runs == {}


async def test_the_next_attempt_waits_for_the_exit_record_of_the_last(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.refuses[RemoveWorkload] = DeviceError(10, "not now")
        device.end(WID)
        await table.exited()
        await table.handled()
        device.refuses.clear()
        await table.start(gen=2)
        assert table.attempt().gen == 2
        assert table.state() is AttemptState.RUNNING


async def test_a_full_disk_refuses_starts_and_no_start_is_sent(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        table.ledger._db.execute("PRAGMA query_only=ON")
        with pytest.raises(StartRefused) as caught:
            await table.start()
        assert caught.value.reason == "LedgerUnavailable"
        assert device.asked == []
        assert table.workloads.known_pods() == []
        table.ledger._db.execute("PRAGMA query_only=OFF")
        await table.start()
        assert table.state() is AttemptState.RUNNING


async def test_an_end_is_told_when_the_ledger_can_be_written_again(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        table.ledger._db.execute("PRAGMA query_only=ON")
        device.end(WID)
        for _ in range(50):
            await anyio.sleep(0.1)
        assert table.state() is AttemptState.RUNNING
        assert asked(device, RemoveWorkload) == []
        table.ledger._db.execute("PRAGMA query_only=OFF")
        assert (await table.exited()).reason == "Completed"


async def test_only_the_last_attempts_are_kept(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        for gen in range(1, 9):
            await table.start(gen=gen)
            device.say(WID, f"attempt {gen}")
            device.end(WID)
            await table.exited()
            await table.handled()
        assert [held.gen for held in table.ledger.entries()] == [4, 5, 6, 7, 8]
        assert sorted(info.key.gen for info in table.logs.rings() if isinstance(info.key, AttemptKey)) == [4, 5, 6, 7, 8]


# -- slots


async def test_an_init_container_hands_its_slot_to_the_container_after_it(tmp_path: Path) -> None:
    device = FakeDevice("dev", slots=1)
    claims = Claims(containers={"init": {}, "main": {}}, inits=frozenset({"init"}))
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start("init", claims=claims)
        assert table.book.slots.usage("dev") == (1, 0)
        device.end(workload_id(UID, "init"))
        await table.exited("init")
        await table.handled()
        await table.start("main", claims=claims)
        assert table.book.slots.usage("dev") == (1, 0)
        assert table.state("main") is AttemptState.RUNNING


async def test_an_init_container_runs_on_the_board_that_its_pod_pays_for(tmp_path: Path) -> None:
    paid, other = FakeDevice("z-paid", slots=1), FakeDevice("a-other", slots=1)
    claims = Claims(containers={"init": {}, "side": {}, "main": {"esp32": 1}}, inits=frozenset({"init"}))
    async with desk(tmp_path, paid, other) as table:
        table.boards["z-paid"].class_name = "esp32"
        paid.join()
        other.join()
        await table.handled()
        await table.start("init", claims=claims)
        assert table.workloads.observe(UID).devices["init"] == "z-paid"
        assert table.book.slots.usage("z-paid") == (1, 0)
        with pytest.raises(AdmissionRejected):
            await table.start(pod=OTHER, claims=Claims(containers={"main": {"esp32": 1}}))
        paid.end(workload_id(UID, "init"))
        await table.exited("init")
        await table.handled()
        with pytest.raises(StartRefused, match="no further slot"):
            await table.start("side", claims=claims)
        await table.start("main", claims=claims)
        assert table.workloads.observe(UID).devices["main"] == "z-paid"


async def test_slots_of_finished_pods_do_not_reject_new_ones_after_a_restart(tmp_path: Path) -> None:
    device = FakeDevice("dev", slots=1)
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.end(WID)
        await table.exited()
        await table.workloads.retire(UID)
        assert table.book.slots.usage("dev") == (0, 0)
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        # Nobody has looked at the finished pod yet: the new one waits, and is not Failed.
        with pytest.raises(StartRefused) as caught:
            await table.start(pod=OTHER, claims=Claims(containers={"main": {"sim": 1}}))
        assert caught.value.reason == "DeviceBusy"
        table.told.clear()
        await table.workloads.retire(UID)
        assert OTHER.uid in table.told
        await table.start(pod=OTHER, claims=Claims(containers={"main": {"sim": 1}}))


async def test_a_pod_that_waits_for_a_device_hears_when_it_comes(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        with pytest.raises(StartRefused):
            await table.start()
        table.told.clear()
        device.join()
        await table.handled()
        assert UID in table.told


async def test_no_second_workload_beside_a_ghost(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start(pod=OTHER)
        device.end(workload_id(OTHER.uid, "main"))
        await table.exited(pod=OTHER)
        await table.start()
        device.deaf_to |= {StopWorkload, Reboot}
        await table.stop(grace_s=0.0)
        await table.until(lambda: table.boards["dev"].is_dirty)
        with pytest.raises(StartRefused) as caught:
            await table.start(gen=2, pod=OTHER)
        assert caught.value.reason == "DeviceDirty"


# -- stopping


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
        device.held.add(StartWorkload)
        device.deaf_to.add(StartWorkload)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused, table)
            await table.until(lambda: bool(device.asked))
            device.lose()
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


# -- an earlier life


async def test_a_device_that_left_the_configuration_ends_its_runs(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.put(entry(device="gone"))
    await ledger.put(entry(AttemptState.INTENDED, device="gone", container="side"))
    ledger.close()
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        for container in ("main", "side"):
            ended = await table.exited(container)
            assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")
            assert "gone" in ended.message
        await table.stop()
        await table.start(gen=2)
        assert table.workloads.observe(UID).devices["main"] == "dev"
        await table.workloads.retire(UID)


async def test_without_devices_nothing_is_waited_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as table:
        await table.until(table.workloads.settled)
        with pytest.raises(StartRefused):
            await table.start()
        with pytest.raises(StartRefused):
            await table.start(claims=Claims(containers={"main": {"esp32": 1}}))


async def test_a_log_whose_pod_nobody_remembers_is_let_go(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.say(WID, "one")
        await table.stop()
        await table.exited()
        await table.ledger.forget(UID)  # killed between the ledger and the rings
    async with desk(tmp_path, device) as table:
        assert list(table.workloads.known_pods()) == [UID]
        await table.workloads.release(UID)
        assert table.workloads.known_pods() == []
        assert table.logs.allocated_bytes == 0


def put_run(device: FakeDevice, gen: int, *, tag: bytes | None = None) -> None:
    """A run that only the device remembers."""
    device.runs[WID] = WorkloadStatus(
        WID, gen, 0, WorkloadState.RUNNING, device.offset, tag=workload_tag(UID, "main") if tag is None else tag
    )


async def test_a_run_that_only_the_device_remembers_is_taken_up_under_its_name(tmp_path: Path) -> None:
    device = FakeDevice("dev", slots=1)
    put_run(device, 3)
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        assert list(table.workloads.known_pods()) == [UID]
        assert table.book.slots.usage("dev") == (1, 0)
        table.workloads.containers_of = lambda uid: {"init": True, "main": False} if uid == UID else {}
        assert table.state() is AttemptState.RUNNING
        assert table.attempt().gen == 3
        await table.start(gen=4)  # the controller may have planned from an API status that said less
        assert device.started == []
        assert table.book.slots.usage("dev") == (1, 0)
        device.end(WID, 2)
        assert (await table.exited()).exit_code == 2
        assert [(held.container, held.gen, held.state) for held in table.ledger.entries()] == [("main", 3, "exited")]
        await table.handled()
        assert device.runs == {}


async def test_an_end_that_only_the_device_remembers_is_a_witness(tmp_path: Path) -> None:
    """The power cut took the intent; the program ran to its end meanwhile. It must not run again."""
    device = FakeDevice("dev")
    put_run(device, 1)
    device.end(WID, 5)
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        assert asked(device, RemoveWorkload) == []
        table.workloads.containers_of = lambda uid: {"main": False}
        ended = await table.exited()
        assert ended.exit_code == 5
        await table.start()
        assert device.started == []
        await table.until(lambda: device.runs == {})
        assert [(held.container, held.state) for held in table.ledger.entries()] == [("main", "exited")]


async def test_a_run_of_a_pod_that_is_gone_is_stopped_and_forgotten(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    put_run(device, 1)
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        (container,) = table.workloads.observe(UID).attempts
        await table.stop(container)
        await table.exited(container)
        await table.workloads.release(UID)
        await table.until(lambda: device.runs == {})
        assert table.workloads.known_pods() == []


async def test_a_run_without_our_tag_takes_a_slot_and_can_be_stopped(tmp_path: Path) -> None:
    device = FakeDevice("dev", slots=1)
    put_run(device, 1, tag=b"")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        assert table.book.slots.usage("dev") == (1, 0)
        (uid,) = table.workloads.known_pods()
        (container,) = table.workloads.observe(uid).attempts
        await table.workloads.stop(uid, container, 0.0)
        await table.until(lambda: table.workloads.observe(uid).attempts[container][-1].state is AttemptState.EXITED)
        await table.workloads.release(uid)
        await table.until(lambda: device.runs == {})


async def test_a_run_that_ended_for_us_and_lives_on_the_device_is_ended_there(tmp_path: Path) -> None:
    """Its device was out of the configuration for a while."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.put(entry(AttemptState.EXITED))
    ledger.close()
    device = FakeDevice("dev")
    put_run(device, 1)
    async with desk(tmp_path, device) as table:
        device.join()
        await table.until(lambda: device.runs == {})
        assert table.state() is AttemptState.EXITED
        await table.start(gen=2)
        assert table.state() is AttemptState.RUNNING
