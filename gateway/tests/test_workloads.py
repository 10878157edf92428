"""Which slot a workload has, and what becomes of runs that an earlier life of the gateway has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.devices.identity import workload_id, workload_tag
from gateway.devices.ledger import Ledger
from gateway.pods.seams import AdmissionRejected, AttemptState, Claims, StartRefused
from gateway.tests.desk import OTHER, UID, WID, asked, desk, entry
from gateway.tests.fake_device import FakeDevice
from gateway.tests.warped_time import WarpedLoop
from transports.protocol import Reboot, RemoveWorkload, StopWorkload, WorkloadState, WorkloadStatus


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


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
