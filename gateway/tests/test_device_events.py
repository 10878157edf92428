"""What devices say and what follows: ends that wait for their log, cables, resets, restarts of the gateway, and who a gap belongs to."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway.devices.identity import workload_id, workload_tag
from gateway.devices.ledger import Ledger
from gateway.pods.seams import AttemptState
from gateway.tests.desk import OTHER, UID, WID, desk, entry
from gateway.tests.fake_device import FakeDevice
from gateway.tests.warped_time import WarpedLoop
from transports.errors import LinkNotFound
from transports.protocol import BAUD_MISMATCH, GARBAGE, Problem, RemoveWorkload, WorkloadState, WorkloadStatus

OTHER_WID = workload_id(OTHER.uid, "main")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


# -- ends and their logs


async def test_an_end_is_told_only_with_its_whole_log(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.log_is_held = True
        device.say(WID, "one", "two")
        device.end(WID)
        await table.handled()
        assert table.state() is AttemptState.RUNNING
        assert not any(isinstance(request, RemoveWorkload) for request in device.asked)
        device.log_is_held = False
        device.flush()
        assert (await table.exited()).reason == "Completed"
        assert await table.log() == "one\ntwo\n"
        await table.until(lambda: device.runs == {})


async def test_a_log_that_never_comes_is_a_named_gap(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.say(WID, "one")
        device.log_is_held = True
        device.say(WID, "two", "three")
        device.end(WID)
        assert (await table.exited()).reason == "Completed"
        first, gap = (await table.log()).splitlines()
        assert first == "one"
        assert "18 bytes" in gap  # two records: 5 bytes each, and their text


async def test_a_run_that_ends_while_its_cable_is_out_keeps_its_log(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.lose()
        device.say(WID, "said to nobody")
        device.end(WID, 7)
        await anyio.sleep(300)
        assert table.state() is AttemptState.RUNNING
        device.join()
        await table.handled()
        device.flush()
        assert (await table.exited()).exit_code == 7
        assert await table.log() == "said to nobody\n"


async def test_a_cable_that_is_pulled_before_the_rest_of_the_log_declares_nothing_lost(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.log_is_held = True
        device.say(WID, "the rest")
        device.end(WID)
        await table.handled()
        device.lose()
        await anyio.sleep(300)
        assert table.state() is AttemptState.RUNNING
        device.log_is_held = False
        device.join()
        device.flush()
        await table.exited()
        assert await table.log() == "the rest\n"


async def test_a_sleeping_device_loses_no_log(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.log_is_held = True
        device.say(WID, "after the nap")
        device.end(WID)
        device.sleep()
        await anyio.sleep(60)
        assert table.state() is AttemptState.RUNNING
        device.wake_up()
        device.log_is_held = False
        device.flush()
        await table.exited()
        assert await table.log() == "after the nap\n"


# -- resets


async def test_a_reset_takes_the_rest_of_a_log_and_not_the_exit_code(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.say(WID, "one")
        device.log_is_held = True
        device.say(WID, "two")
        device.end(WID, 3)
        await table.handled()
        device.reset()
        device.log_is_held = False
        device.join()
        assert (await table.exited()).exit_code == 3
        first, gap = (await table.log()).splitlines()
        assert first == "one"
        assert gap.startswith("--- wirelet gap: unknown size")


async def test_output_of_the_new_boot_does_not_complete_the_log_of_the_old_one(tmp_path: Path) -> None:
    """LOG comes right after READY, before LIST: its offsets begin anew."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.log_is_held = True
        device.say(WID, "lost")
        device.end(WID, 3)
        await table.handled()
        device.reset()
        device.log_is_held = False
        device.begin_session()
        device.runs[OTHER_WID] = WorkloadStatus(OTHER_WID, 1, 0, WorkloadState.RUNNING, 0, tag=workload_tag(OTHER.uid, "main"))
        device.say(OTHER_WID, *["line of another run"] * 5)
        await table.exited()
        assert "gap" in await table.log()


async def test_a_ring_that_outlives_the_reset_brings_the_last_lines(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.log_is_held = True
        device.say(WID, "last words")
        device.reset(4, keeps_ring=True)
        device.join()
        await table.handled()
        assert table.state() is AttemptState.RUNNING
        device.log_is_held = False
        device.flush()
        ended = await table.exited()
        assert (ended.reason, ended.message) == ("DeviceRebooted", "the device restarted: watchdog")
        assert await table.log() == "last words\n"


async def test_an_end_before_such_a_reset_keeps_its_code_and_its_log(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.log_is_held = True
        device.say(WID, "last words")
        device.end(WID, 9)
        await table.handled()
        device.reset(4, keeps_ring=True)
        device.join()
        await table.handled()
        device.log_is_held = False
        device.flush()
        assert (await table.exited()).exit_code == 9
        assert await table.log() == "last words\n"


async def test_a_run_that_is_missing_without_a_reset_says_so(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.lose()
        device.runs.clear()
        device.join()
        ended = await table.exited()
        assert ended.reason == "ContainerStatusUnknown"
        assert "did not restart" in ended.message


# -- whose a gap is


async def test_a_gap_is_named_in_the_logs_it_may_belong_to_and_in_no_other(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.log_is_held = True
        device.say(WID, "before")
        device.lose_bytes(1000)
        await table.start(pod=OTHER)
        device.say(OTHER_WID, "clean")
        device.log_is_held = False
        device.flush()
        await table.handled()
        assert "1000 bytes" in await table.log()
        assert await table.log(pod=OTHER) == "clean\n"


# -- the cable and the board


async def test_pods_hear_of_the_cable_and_nothing_ends(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        table.told.clear()
        device.lose()
        await table.handled()
        assert UID in table.told
        assert not table.workloads.observe(UID).connected
        assert table.state() is AttemptState.RUNNING
        table.told.clear()
        device.join()
        await table.handled()
        assert UID in table.told
        assert table.workloads.observe(UID).connected


async def test_a_device_that_is_away_counts_for_its_grace(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        board = table.boards["dev"]
        assert not board.is_allocatable(anyio.current_time())
        assert board.state == "Connecting"
        device.join()
        await table.handled()
        assert board.state == "Ready"
        device.lose()
        await table.handled()
        assert board.state == "Disconnected"
        assert board.is_allocatable(anyio.current_time())
        await anyio.sleep(board.grace_s + 1)
        assert not board.is_allocatable(anyio.current_time())
        device.join()
        await table.handled()
        assert board.is_allocatable(anyio.current_time())


async def test_a_port_that_is_not_there_is_the_problem_until_it_comes(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        await table.events.link_changed("dev", LinkNotFound("/dev/ttyUSB0: no such port"))
        assert table.boards["dev"].problem == "/dev/ttyUSB0: no such port"
        device.join()
        await table.handled()
        assert table.boards["dev"].problem == ""


# -- an earlier life


async def test_a_run_that_goes_on_is_the_same_run(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.say(WID, "one")
        await table.handled()
        before = table.attempt()
    device.say(WID, "while nobody was there")
    async with desk(tmp_path, device) as table:
        assert table.state() is AttemptState.RUNNING
        device.join()
        device.flush()
        await table.handled()
        assert table.attempt() == before
        assert await table.log() == "one\nwhile nobody was there\n"
        assert device.started == [(WID, 1)]


async def test_a_run_that_a_reset_took_meanwhile_has_ended(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.say(WID, "one")
        await table.handled()
    device.reset(5)
    async with desk(tmp_path, device) as table:
        device.join()
        ended = await table.exited()
        assert ended.message == "the device restarted: brown-out"
        await table.start(gen=2)
        device.say(WID, "two")
        await table.handled()
        assert await table.log(gen=2) == "two\n"


async def test_a_device_that_does_not_come_back_keeps_its_last_status(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.put(entry())
    ledger.close()
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        assert not table.workloads.settled()
        await table.until(table.workloads.settled)
        await anyio.sleep(600)
        assert table.state() is AttemptState.RUNNING
        assert not table.workloads.observe(UID).connected


async def test_a_lost_runtime_directory_costs_a_named_gap_and_no_run(tmp_path: Path) -> None:
    """The host was reset: rings and checkpoints are gone, the ledger and the device are not."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.say(WID, "one")
        await table.handled()
    for folder in ("logs", "checkpoints"):
        for file in (tmp_path / folder).iterdir():
            file.unlink()
    device.known_boot = 0
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        assert table.state() is AttemptState.RUNNING
        device.say(WID, "two")
        await table.handled()
        assert await table.log() == "two\n"


async def test_lines_of_a_run_without_a_name_are_found_under_its_name(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    device.runs[WID] = WorkloadStatus(WID, 2, 0, WorkloadState.RUNNING, 0, tag=workload_tag(UID, "main"))
    async with desk(tmp_path, device) as table:
        device.join()
        device.say(WID, "one")
        device.lose_bytes(10)
        device.say(WID, "two")
        await table.handled()
        table.workloads.containers_of = lambda uid: {"main": False}
        assert table.state() is AttemptState.RUNNING
        device.say(WID, "three")
        await table.handled()
        one, gap, two, three = (await table.log(gen=2)).splitlines()
        assert (one, two, three) == ("one", "two", "three")
        assert "10 bytes" in gap


# -- problems of the line


async def test_a_wrong_speed_is_the_devices_message_and_one_fault(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        faults: list[tuple[str, str, str]] = []
        table.events.fault_told = lambda *fault: faults.append(fault)
        await table.events.link_changed("dev", None)
        await table.events.happened("dev", Problem(GARBAGE, "20 broken frames"))
        assert faults == []
        await table.events.happened("dev", Problem(BAUD_MISMATCH, "9 framing errors"))
        assert faults == [("dev", "BaudMismatch", "9 framing errors")]
        assert table.boards["dev"].problem == "BaudMismatch: 9 framing errors"
        assert table.boards["dev"].has_problem(anyio.current_time())
