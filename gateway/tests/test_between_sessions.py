"""Starts and stops that meet a cable, a reset or a LIST in the middle: nothing goes out too early, twice, or to another boot."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway.devices.identity import workload_id, workload_tag
from gateway.pods.seams import AttemptState
from gateway.tests.desk import OTHER, UID, WID, desk, lose_a_start, refused
from gateway.tests.fake_device import FakeDevice
from gateway.tests.warped_time import WarpedLoop
from transports.protocol import Reboot, Request, StartWorkload, StopWorkload, WorkloadState, WorkloadStatus

OTHER_WID = workload_id(OTHER.uid, "main")
A_WHILE_S = 1.0
"""Shorter than a start waits for LIST."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


def count(device: FakeDevice, kind: type[Request]) -> int:
    return sum(isinstance(request, kind) for request in device.asked)


async def test_nothing_is_intended_nor_stopped_before_list(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table, anyio.create_task_group() as tasks:
        device.join()
        await table.handled()
        await table.start()
        device.lose()
        device.asked.clear()
        device.begin_session()
        await table.handled()
        tasks.start_soon(table.start, "side")
        await table.stop()
        await anyio.sleep(A_WHILE_S)
        assert device.asked == []
        assert [held.container for held in table.ledger.entries()] == ["main"]
        device.list()
        await table.exited()
        await table.until(lambda: table.state("side") is AttemptState.RUNNING)


async def test_the_programs_of_a_board_are_those_of_its_newest_boot(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table, anyio.create_task_group() as tasks:
        device.join()
        await table.handled()
        device.reset()
        device.begin_session()
        device.list()
        await table.handled()
        tasks.start_soon(table.start)
        await anyio.sleep(A_WHILE_S)
        assert device.asked == []
        device.tell_inventory()
        await table.until(lambda: table.state() is AttemptState.RUNNING)


async def test_an_intent_of_an_earlier_boot_is_not_sent_in_the_next(tmp_path: Path) -> None:
    """LIST ends it while the next try to start it waits for LIST."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await lose_a_start(table, device)
        device.reset()
        device.begin_session()
        await table.handled()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused, table)
            await anyio.sleep(A_WHILE_S)
            device.list()
            device.tell_inventory()
        assert (await table.exited()).reason == "DeviceRebooted"
        assert count(device, StartWorkload) == 0


async def test_a_start_that_reaches_the_next_boot_is_ended_there(tmp_path: Path) -> None:
    """It is sent again in the moment of a reset: the LIST before it says that it never ran, and that has been told."""
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await lose_a_start(table, device)
        device.join()
        await table.handled()
        device.reset()
        device.join()
        await table.start()
        assert device.started == [(WID, 1)]
        assert (await table.exited()).reason == "DeviceRebooted"
        await table.until(lambda: device.runs == {})


class ResettingDevice(FakeDevice):
    """Restarts once, right behind its answer to a START: the answer, the end of the session and a whole new one come in one batch."""

    shall_reset = False

    def answered(self, request: Request) -> None:
        if self.shall_reset and isinstance(request, StartWorkload):
            self.shall_reset = False
            self.reset()
            self.join()


async def test_an_answer_from_before_a_reset_says_nothing_about_the_new_boot(tmp_path: Path) -> None:
    device = ResettingDevice("dev", slots=1)
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start(pod=OTHER)
        device.say(OTHER_WID, "x" * 1000)
        device.end(OTHER_WID)
        await table.exited(pod=OTHER)
        await table.workloads.retire(OTHER.uid)
        await table.until(lambda: device.runs == {})
        device.shall_reset = True
        await table.start()
        await table.exited()
        assert device.epoch not in [held.epoch for held in table.ledger.entries()]
        await table.start(gen=2)
        assert table.state() is AttemptState.RUNNING
        assert device.started == [(OTHER_WID, 1), (WID, 1), (WID, 2)]
        device.say(WID, "y" * 1000, "begins where the first one began")
        await table.handled()
        assert (await table.log(gen=2)).splitlines()[1:] == ["begins where the first one began"]


async def test_an_attempt_that_ran_is_not_started_again(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.end(WID)
        await table.exited()
        await table.until(lambda: device.runs == {})
        await table.start()
        assert device.started == [(WID, 1)]


async def test_a_run_that_nobody_has_looked_at_yet_is_not_started_beside(tmp_path: Path) -> None:
    """LIST told of it between the look at its pod and the start."""
    device = FakeDevice("dev")
    device.runs[WID] = WorkloadStatus(WID, 3, 0, WorkloadState.RUNNING, 0, tag=workload_tag(UID, "main"))
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        table.workloads.containers_of = lambda uid: {"main": False}
        await table.start()
        assert device.asked == []
        assert table.attempt().gen == 3


async def test_a_stop_that_is_lost_with_the_session_is_sent_again(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        device.held.add(StopWorkload)
        device.deaf_to.add(StopWorkload)
        await table.stop(grace_s=60.0)
        await table.until(lambda: count(device, StopWorkload) == 1)
        device.lose()
        device.held.clear()
        device.deaf_to.clear()
        device.join()
        assert (await table.exited()).reason == "Completed"
        assert count(device, Reboot) == 0
