"""A simulated board behind the real wire protocol, driven by the gateway's core in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.errors import RemoteProtocolError
from transports.protocol import (
    Away,
    ExitReason,
    Gap,
    Inventoried,
    Listed,
    ReadStats,
    Reboot,
    Record,
    RecordKind,
    RemoveWorkload,
    Reported,
    StartWorkload,
    StopWorkload,
    Text,
    WorkloadChanged,
    WorkloadState,
)
from transports.simulated.board import Board, BoardConfig
from transports.simulated.programs import PROGRAMS
from transports.tests.simulated_rig import Rig
from transports.wire.messages import Start
from transports.wire.numbers import Body, Code, Method, ResetCause


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.join()
    return rig


def test_a_board_says_what_it_is(rig: Rig) -> None:
    rig.run_until(lambda: rig.seen(Inventoried))
    inventory = rig.seen(Inventoried)[0].inventory
    assert [program.name for program in inventory.programs] == list(PROGRAMS)
    assert (inventory.slots, inventory.board) == (4, "wirelet-sim")
    assert rig.joined().device_id == BoardConfig(slots=4).device_id
    assert (rig.joined().reset_cause, rig.joined().new_boot) == (ResetCause.POWER, True)
    assert b"".join(text.data for text in rig.seen(Text)).startswith(b"wirelet-sim 1.0 sim-0: boot, reset cause power")


def test_a_board_tells_its_memory_and_what_it_does_not_know_it_does_not_tell(rig: Rig) -> None:
    assert rig.joined().tells_stats
    rig.start("counter", "--count", "50", "--rate", "1000")
    rig.exit_of()
    assert rig.request(ReadStats()).code == Code.OK
    (reported,) = rig.seen(Reported)
    stats = reported.stats
    assert stats.heap_bytes == BoardConfig().ring_bytes
    assert 0 < (stats.heap_used_bytes or 0) <= BoardConfig().ring_bytes
    assert (stats.cpu_permille, stats.temperature_mc) == (None, None)
    assert dict(stats.readings)["boots"] == 1


def test_an_id_or_a_seed_makes_the_same_device_every_time() -> None:
    assert BoardConfig(id="a").device_id == BoardConfig(id="a", seed=9).device_id
    assert len({BoardConfig(seed=seed).device_id for seed in range(50)} | {BoardConfig(id="a").device_id}) == 51


def test_hello_says_one_line_and_stays_until_it_is_stopped(rig: Rig) -> None:
    status = rig.start("hello")
    assert (status.state, status.slot, status.tag) == (WorkloadState.RUNNING, 0, b"tag")
    rig.run_until(lambda: rig.lines())
    rig.run_for(10)
    assert rig.lines() == ["hello from sim-0"]
    assert not rig.seen(WorkloadChanged)
    assert rig.request(StopWorkload(1, 1, grace_ms=30000)).code == 0
    end = rig.exit_of()
    assert (end.exit_code, end.reason, end.signal) == (0, ExitReason.STOPPED, None)


def test_a_run_begins_with_its_start_record_and_lies_between_its_offsets(rig: Rig) -> None:
    rig.start("sleep", "100", wid=5)
    status = rig.start("echo", "one", wid=7, gen=3)
    end = rig.exit_of(7)
    rig.run_until(lambda: rig.lines(1))
    records = [item for item in rig.items if isinstance(item, Record) and item.slot == 1]
    assert [record.kind for record in records] == [RecordKind.SYSTEM, RecordKind.STDOUT]
    assert records[0].start == (7, 3)
    assert records[0].offset == status.start_off
    assert records[-1].end == end.end_off


def test_a_start_may_be_repeated_and_runs_once(rig: Rig) -> None:
    first = rig.start("counter", "--rate", "1000", "--count", "3")
    end = rig.exit_of()
    again = rig.start("counter", "--rate", "1000", "--count", "3")
    assert (again.start_off, again.state, again.end_off) == (first.start_off, WorkloadState.EXITED, end.end_off)
    rig.run_for(1)
    assert rig.lines() == ["1", "2", "3"]


def test_refusals_have_codes_and_reasons(rig: Rig) -> None:
    def code(wid: int, gen: int, program: str) -> int:
        return rig.request(StartWorkload(wid, gen, program)).code

    assert code(1, 1, "nginx") == Code.NOT_FOUND
    assert [code(wid, 1, "cat") for wid in (1, 2, 3, 4)] == [0, 0, 0, 0]
    assert code(5, 1, "cat") == Code.BUSY
    assert code(2, 2, "cat") == Code.BAD_STATE
    assert rig.request(RemoveWorkload(2, 1)).code == Code.BAD_STATE
    assert rig.request(StopWorkload(2, 9, grace_ms=0)).code == 0
    assert rig.request(RemoveWorkload(99, 1)).code == 0
    assert [status.state for status in rig.board.workloads] == [WorkloadState.RUNNING] * 4


def test_an_exit_record_and_its_slot_stay_until_remove(rig: Rig) -> None:
    rig.start("exit", "3", wid=1)
    end = rig.exit_of()
    assert (end.exit_code, end.reason) == (3, ExitReason.ERROR)
    rig.unplug()
    rig.run_for(5)
    rig.plug()
    rig.join()
    assert [status.exit_code for status in rig.seen(Listed)[-1].workloads] == [3]
    assert rig.start("cat", wid=2).slot == 1
    assert rig.request(RemoveWorkload(1, 1)).code == 0
    assert rig.start("cat", wid=3).slot == 0


def test_grace_ends_a_stubborn_program_and_nothing_ends_a_stuck_one(rig: Rig) -> None:
    rig.start("stubborn", wid=1)
    rig.start("stuck", wid=2)
    began = rig.now
    rig.request(StopWorkload(1, 1, grace_ms=60000))
    rig.request(StopWorkload(2, 1, grace_ms=1000))
    rig.request(StopWorkload(1, 1, grace_ms=2000))
    end = rig.exit_of(1)
    assert (end.exit_code, end.signal, end.reason) == (137, 9, ExitReason.STOPPED)
    assert 2.0 <= rig.now - began < 2.5
    rig.run_for(10)
    assert rig.board.workloads[1].state is WorkloadState.STOPPING
    rig.request(Reboot())
    rig.join()
    assert rig.board.workloads == ()


def test_crash_is_told_as_a_panic(rig: Rig) -> None:
    rig.start("crash")
    assert (rig.exit_of().exit_code, rig.exit_of().reason) == (134, ExitReason.PANIC)
    rig.run_until(lambda: rig.lines())
    assert rig.lines() == ["panic: crash was asked for"]


def test_reboot_restarts_the_whole_device(rig: Rig) -> None:
    before = rig.joined()
    rig.start("counter", "--rate", "100", wid=1)
    rig.start("reboot", "0.5", wid=2)
    rig.join()
    after = rig.joined()
    assert (after.new_boot, after.reset_cause) == (True, ResetCause.SOFTWARE)
    assert after.boot_id != before.boot_id
    assert after.device_id == before.device_id
    assert rig.seen(Listed)[-1].workloads == ()
    assert rig.lines(1) == ["rebooting"]
    assert rig.board.boots == 2


def test_a_requested_reboot_says_goodbye_first(rig: Rig) -> None:
    assert rig.request(Reboot(delay_ms=100)).code == 0
    rig.join()
    assert [away.reason for away in rig.seen(Away)] == [3]
    assert rig.joined().reset_cause == ResetCause.SOFTWARE
    assert rig.request(Reboot(mode=1)).code == Code.UNSUPPORTED


def test_a_power_cycle_is_a_power_cycle(rig: Rig) -> None:
    rig.start("cat")
    rig.board.reset(rig.now)
    rig.join()
    assert (rig.joined().reset_cause, rig.joined().new_boot) == (ResetCause.POWER, True)
    assert rig.seen(Listed)[-1].workloads == ()


def test_a_watchdog_reset_keeps_the_last_lines(rig: Rig) -> None:
    rig.stores = False
    rig.start("counter", "--rate", "10")
    rig.run_for(1)
    rig.unplug()
    rig.run_for(1)
    rig.board.reset(rig.now, ResetCause.WATCHDOG, keeps_ring=True)
    rig.plug()
    rig.stores = True
    rig.join()
    rig.run_until(lambda: len(rig.lines()) >= 20)
    assert rig.lines() == [str(n + 1) for n in range(len(rig.lines()))]
    assert not [item for item in rig.items if isinstance(item, Gap)]
    assert rig.joined().new_boot


def test_a_replug_loses_nothing(rig: Rig) -> None:
    rig.start("counter", "--rate", "100", "--count", "500")
    rig.run_until(lambda: len(rig.lines()) > 100)
    rig.unplug()
    rig.run_for(2)
    rig.plug()
    rig.exit_of()
    rig.run_until(lambda: len(rig.lines()) >= 500)
    assert rig.lines() == [str(n) for n in range(1, 501)]
    assert not rig.joined().new_boot
    assert not [item for item in rig.items if isinstance(item, Gap)]


def test_lines_that_found_no_room_are_counted_where_they_are_missing() -> None:
    rig = Rig(BoardConfig(ring_bytes=1024))
    rig.join()
    rig.start("counter", "--rate", "100", "--count", "1000")
    rig.run_until(lambda: len(rig.lines()) > 10)
    rig.unplug()
    rig.run_for(5)
    rig.plug()
    end = rig.exit_of()
    rig.run_until(lambda: rig.items and rig.items[-1].end == end.end_off)
    numbers = [int(line) for line in rig.lines()]
    refused = [item.lost for item in rig.items if isinstance(item, Record) and item.lost is not None]
    assert numbers == sorted(set(numbers))
    assert refused
    assert len(numbers) + sum(lost[0] for lost in refused) == 1000
    missing = "".join(str(n) for n in range(1, 1001) if n not in set(numbers))
    assert sum(lost[1] for lost in refused) == len(missing)


def test_a_run_that_owes_a_gap_record_ends_when_it_has_told_it() -> None:
    rig = Rig(BoardConfig(ring_bytes=1024))
    rig.join()
    rig.start("counter", "--rate", "1000", "--count", "2000")
    rig.unplug()
    rig.run_for(5)
    assert rig.board.workloads[0].state is WorkloadState.RUNNING
    rig.plug()
    end = rig.exit_of()
    rig.run_until(lambda: rig.items and rig.items[-1].end == end.end_off)
    last = rig.items[-1]
    assert isinstance(last, Record)
    assert last.lost is not None


def test_firehose_waits_for_the_reader_and_misses_no_number() -> None:
    rig = Rig(BoardConfig(ring_bytes=4096))
    rig.join()
    rig.start("firehose", "--count", "2000")
    rig.stores = False
    rig.run_for(3)
    rig.stores = True
    rig.exit_of()
    rig.run_until(lambda: len(rig.lines()) == 2000)
    assert [int(line.split()[0]) for line in rig.lines()] == list(range(1, 2001))


def test_a_stop_comes_through_beside_a_firehose(rig: Rig) -> None:
    rig.start("firehose", wid=1)
    rig.start("hello", wid=2)
    rig.request(StopWorkload(1, 1, grace_ms=1000))
    end = rig.exit_of(1)
    rig.run_until(lambda: rig.lines(1))
    rig.run_until(lambda: rig.items[-1].end is not None and end.end_off is not None and rig.items[-1].end >= end.end_off)
    numbers = [int(line.split()[0]) for line in rig.lines(0)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert rig.lines(1) == ["hello from sim-0"]


def test_a_line_longer_than_a_record_arrives_whole() -> None:
    rig = Rig(BoardConfig(ring_bytes=1024))
    rig.join()
    text = "".join(chr(97 + n % 26) for n in range(3000))
    rig.start("echo", text)
    rig.exit_of()
    rig.run_until(lambda: rig.lines())
    assert rig.lines() == [text]


def test_31_slots_are_listed_in_pages() -> None:
    rig = Rig(BoardConfig(slots=31))
    rig.join()
    for wid in range(1, 32):
        rig.start("cat", wid=wid)
    rig.unplug()
    rig.plug()
    rig.join()
    assert [status.wid for status in rig.seen(Listed)[-1].workloads] == list(range(1, 32))


def test_a_quiet_board_asks_for_nothing_but_keepalives(rig: Rig) -> None:
    rig.start("hello")
    rig.run_for(5)
    frames = rig.gateway.counters.rx_frames
    rig.run_for(100)
    assert rig.gateway.counters.rx_frames - frames <= 110


@pytest.mark.parametrize(
    ("config", "why"), [(BoardConfig(slots=0), "slots must be 1 to 31"), (BoardConfig(ring_bytes=10), "ring must be 1024")]
)
def test_impossible_boards_are_refused(config: BoardConfig, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Board(config, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_no_bytes_from_the_wire_stop_a_board(noise: list[bytes]) -> None:
    rig = Rig()
    rig.join()
    for data in noise:
        rig.board.receive_data(data, rig.now)
        rig.run_for(0.01)
    rig.board.receive_data(b"\0", rig.now)
    rig.start("hello")
    rig.run_until(rig.lines)


@pytest.mark.parametrize(
    "body", [{}, {1: 1}, {1: 1, 2: 1, 3: 7}, {1: 1, 2: 1, 3: "hello", 4: [1]}, {-1: 0, 1: 1, 2: 1, 3: "hello"}], ids=str
)
def test_a_malformed_start_starts_nothing(body: Body) -> None:
    board = Board(BoardConfig(), 0.0)
    with pytest.raises(RemoteProtocolError):
        board.on_request(Method.START, body, 0.0)
    assert board.workloads == ()


def test_a_start_that_says_so_ends_its_run_when_the_link_is_lost_for_long(rig: Rig) -> None:
    start = Start(9, 1, "cat", on_link_loss=(1, 2000))
    code, _ = rig.board.on_request(Method.START, start.to_map(), rig.now)
    assert code == 0
    rig.unplug()
    rig.run_for(4)  # three keepalives and almost two seconds
    rig.plug()
    rig.join()
    assert rig.board.workloads[0].state is WorkloadState.RUNNING
    rig.unplug()
    rig.run_for(6)
    rig.plug()
    rig.join()
    end = rig.seen(Listed)[-1].workloads[0]
    assert (end.state, end.reason, end.exit_code) == (WorkloadState.EXITED, ExitReason.LINK_LOSS, 137)
