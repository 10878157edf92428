"""Starts against everything that may happen in between: each attempt begins once, and is known before the device hears of it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway.devices import exits
from gateway.devices.ledger import Ledger
from gateway.logs.store import AttemptKey
from gateway.pods.seams import AttemptState, StartRefused
from gateway.tests.desk import UID, WID, asked, desk, entry, lose_a_start, refused
from gateway.tests.fake_device import BUSY, FakeDevice
from gateway.tests.warped_time import WarpedLoop
from transports.errors import DeviceError
from transports.protocol import RemoveWorkload, Request, StartWorkload, StopWorkload, WorkloadStatus


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


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
        await lose_a_start(table, device)
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


async def test_a_removed_device_whose_ends_cannot_be_written_holds_up_no_other_pod(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.put(entry(device="removed"))
    ledger.close()
    async with desk(tmp_path, FakeDevice("dev")) as table:
        table.ledger._db.execute("PRAGMA query_only=ON")
        await table.until(table.workloads.settled)
        await table.until(lambda: UID in table.told)
        assert table.state() is AttemptState.RUNNING
        table.ledger._db.execute("PRAGMA query_only=OFF")
        assert (await table.exited()).reason == exits.of_removed_device("removed").reason


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
