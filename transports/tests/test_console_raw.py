"""A console that is only listened to: its log, its runs, and what survives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.logs.checkpoint import MAX_TAIL_BYTES
from transports.console_options import ConsoleOptions
from transports.errors import SessionLost
from transports.protocol import (
    DEVICE_SLOT,
    MAX_INPUT_BYTES,
    Answered,
    Checkpoint,
    ExitReason,
    Gap,
    GapReason,
    Inventoried,
    Joined,
    Left,
    Listed,
    Output,
    Reboot,
    Record,
    RequestLost,
    SendInput,
    StartWorkload,
    WorkloadState,
)
from transports.protocols.console.core import DUMP_S, DUMP_SILENCE_S, MAX_INPUTS, SILENCE_S
from transports.tests.console_rig import Rig
from transports.wire.numbers import Code

TESTS = ConsoleOptions(
    ready=("^Running*suite",),
    ok=("PROJECT EXECUTION SUCCESSFUL",),
    fail=("PROJECT EXECUTION FAILED",),
    reboot=("*** Booting Zephyr OS",),
    panic=("ZEPHYR FATAL ERROR",),
)


def test_an_open_port_is_a_session_and_nothing_is_sent() -> None:
    rig = Rig().up().hear(b"U-Boot 2024.01\r\nHit any key: ").wait(60)
    joined, listed, inventoried, *_ = rig.events
    assert isinstance(joined, Joined)
    assert joined.new_boot
    assert listed == Listed(())
    assert isinstance(inventoried, Inventoried)
    assert (rig.device_log, rig.run_log, rig.sent) == ("U-Boot 2024.01\nHit any key: ", "", b"")


def test_a_runs_log_begins_at_its_start_and_the_devices_log_goes_on() -> None:
    rig = Rig().up().hear(b"before\n")
    request = rig.start()
    rig.hear(b"in it\n")
    assert rig.answer(request) == Answered(request, 0, rig.last(Answered).status)
    status = rig.last(Answered).status
    assert status is not None
    assert (status.state, status.start_off, status.ready) == (WorkloadState.RUNNING, 7, True)
    assert (rig.device_log, rig.run_log) == ("before\nin it\n", "in it\n")


def test_a_stop_ends_the_run_and_not_the_listening() -> None:
    rig = Rig().up()
    rig.start()
    rig.hear(b"one\n")
    rig.stop()
    rig.hear(b"two\n")
    (status,) = rig.statuses
    assert (status.state, status.exit_code, status.reason, status.end_off) == (WorkloadState.EXITED, 0, ExitReason.STOPPED, 4)
    assert (rig.device_log, rig.run_log, rig.sent) == ("one\ntwo\n", "one\n", b"")


@pytest.mark.parametrize(
    ("line", "exit_code", "reason", "message"),
    [
        (b"PROJECT EXECUTION SUCCESSFUL", 0, ExitReason.COMPLETED, ""),
        (b"\x1b[31mPROJECT EXECUTION\x1b[0m FAILED", 1, ExitReason.ERROR, "?[31mPROJECT EXECUTION?[0m FAILED"),
    ],
)
def test_a_line_says_how_the_run_ends(line: bytes, exit_code: int, reason: ExitReason, message: str) -> None:
    rig = Rig(TESTS).up()
    rig.start()
    rig.hear(b"START - test_a\r\n" + line + b"\r\nidle\r\n")
    status = rig.statuses[-1]
    assert (status.exit_code, status.reason, status.message) == (exit_code, reason, message)
    assert rig.run_log == f"START - test_a\n{line.decode()}\n"
    assert status.end_off == len(b"START - test_a\r\n" + line + b"\r\n")


def test_the_exit_is_told_after_all_of_its_log() -> None:
    rig = Rig(TESTS).up()
    rig.start()
    rig.hear(b"PROJECT EXECUTION SUCCESSFUL\n")
    *_, output, changed = rig.events
    assert isinstance(output, Output)
    assert output.checkpoint.expected == rig.statuses[-1].end_off
    assert changed is rig.events[-1]


def test_a_run_is_ready_when_a_line_says_so() -> None:
    rig = Rig(TESTS).up()
    request = rig.start()
    answer = rig.answer(request)
    assert answer is not None
    assert answer.status is not None
    assert answer.status.ready is False
    rig.hear(b"Running TESTSUITE mine: a suite\n")
    assert [(status.state, status.ready) for status in rig.statuses] == [(WorkloadState.RUNNING, True)]
    rig.hear(b"Running another suite\n")
    assert len(rig.statuses) == 1


def test_a_prompt_without_an_end_counts_when_the_console_is_silent_and_only_once() -> None:
    rig = Rig(ConsoleOptions(ready=("^uart:~$ $",))).up()
    rig.start()
    rig.hear(b"uart:~$ ")
    assert rig.statuses == []
    rig.wait(SILENCE_S)
    assert [status.ready for status in rig.statuses] == [True]
    rig.hear(b"help\n")
    assert (len(rig.statuses), rig.run_log) == (1, "uart:~$ help\n")


def test_a_reboot_is_a_new_boot_in_the_same_log_and_ends_the_run_where_it_begins() -> None:
    rig = Rig(TESTS).up()
    first = rig.last(Joined)
    rig.start()
    rig.hear(b"a line\n*** Booting Zephyr OS build v3.7 ***\nhello\n")
    again = rig.last(Joined)
    assert (again.new_boot, again.epoch, again.boot_off) == (True, first.epoch, 7)
    assert again.boot_id != first.boot_id
    assert rig.last(Listed) == Listed(())
    assert (rig.run_log, rig.statuses) == ("a line\n", [])
    assert rig.device_log == "a line\n*** Booting Zephyr OS build v3.7 ***\nhello\n"


def test_a_panic_ends_the_run_when_its_dump_is_over() -> None:
    rig = Rig(TESTS).up()
    rig.start()
    rig.hear(b"E: >>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0\n").wait(DUMP_SILENCE_S / 2)
    rig.hear(b"r0/a1: 00000000\n").wait(DUMP_SILENCE_S / 2)
    assert rig.statuses == []
    rig.wait(DUMP_SILENCE_S)
    (status,) = rig.statuses
    assert (status.reason, status.exit_code) == (ExitReason.PANIC, 137)
    assert status.message == "E: >>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0"
    assert rig.run_log.endswith("r0/a1: 00000000\n")


def test_a_panic_whose_line_is_slow_is_one() -> None:
    rig = Rig(TESTS).up()
    rig.start()
    rig.hear(b"ZEPHYR FATAL ERROR").wait(SILENCE_S + DUMP_SILENCE_S)
    rig.remove()
    rig.start(8)
    rig.hear(b" 4\n").wait(DUMP_S)
    assert [status.wid for status in rig.statuses] == [7]


def test_a_panic_that_reboots_at_once_is_told_as_a_panic() -> None:
    rig = Rig(TESTS).up()
    rig.start()
    rig.hear(b"ZEPHYR FATAL ERROR\nr0: 0\n*** Booting Zephyr OS\n")
    assert [status.reason for status in rig.statuses] == [ExitReason.PANIC]
    assert rig.run_log == "ZEPHYR FATAL ERROR\nr0: 0\n"
    assert rig.last(Listed).workloads == (rig.statuses[0],)


def test_a_board_that_panics_for_ever_ends_its_run() -> None:
    rig = Rig(TESTS).up()
    rig.start()
    rig.hear(b"ZEPHYR FATAL ERROR\n")
    for _ in range(int(DUMP_S / DUMP_SILENCE_S * 2) + 1):
        rig.hear(b"ZEPHYR FATAL ERROR\n").wait(DUMP_SILENCE_S / 2)
    assert [status.reason for status in rig.statuses] == [ExitReason.PANIC]


def test_a_run_may_begin_with_its_boot_and_is_judged_by_that() -> None:
    rig = Rig(TESTS).up()
    rig.hear(b"noise\n*** Booting Zephyr OS\nPROJECT EXECUTION FAILED\n")
    rig.start(from_boot=True)
    begin = next(item for item in rig.items if isinstance(item, Record) and item.start)
    assert (begin.start, begin.log_from, begin.offset) == ((7, 1), 6, 53)
    assert [(status.exit_code, status.end_off) for status in rig.statuses] == [(1, 53)]
    rig.remove()
    rig.start(8)
    assert rig.last(Answered).status is not None
    assert len(rig.statuses) == 1


def test_the_verdict_of_an_earlier_boot_is_forgotten() -> None:
    rig = Rig(TESTS).up().hear(b"PROJECT EXECUTION FAILED\n*** Booting Zephyr OS\n")
    rig.start(from_boot=True)
    assert rig.statuses == []


def test_a_working_directory_is_refused() -> None:
    rig = Rig().up()
    told = rig.answer(rig.start(working_dir="/srv"))
    assert told is not None
    assert (told.code, told.text) == (Code.UNSUPPORTED, "workingDir /srv: a console has no directories")
    assert rig.sent == b""


def test_one_workload_has_the_console() -> None:
    rig = Rig().up()
    rig.start(7)
    other = rig.answer(rig.start(8))
    assert other is not None
    assert (other.code, other.text) == (Code.BUSY, "another workload has the console")
    same = rig.answer(rig.start(7))
    assert same is not None
    assert same.code == 0


@pytest.mark.parametrize(("more", "told"), [({"args": ("ls",)}, "command or args"), ({"env": ("A=1",)}, "env")])
def test_what_cannot_be_sent_is_refused(more: dict[str, Any], told: str) -> None:
    rig = Rig().up()
    answer = rig.answer(rig.start(**more))
    assert answer is not None
    assert answer.code == Code.INVALID
    assert told in answer.text
    assert rig.answer(rig.start(8)) == Answered(rig.last(Answered).request_id, 0, rig.last(Answered).status)


def test_a_console_says_what_it_cannot_do() -> None:
    rig = Rig().up()
    request = rig.core.request(Reboot(), rig.now)
    rig.look()
    assert rig.answer(request) == Answered(request, Code.UNSUPPORTED, None, "a console cannot do Reboot")


def test_without_a_link_there_is_nobody_to_ask() -> None:
    rig = Rig()
    with pytest.raises(SessionLost):
        rig.core.request(StartWorkload(7, 1, "any"), 0.0)
    rig.up().down()
    assert isinstance(rig.events[-1], Left)
    with pytest.raises(SessionLost):
        rig.core.request(StartWorkload(7, 1, "any"), 0.0)


def test_a_pulled_cable_is_a_gap_of_unknown_size_in_the_same_run() -> None:
    rig = Rig().up()
    rig.start()
    rig.hear(b"one\nha").down().up().hear(b"lf\ntwo\n")
    assert rig.run_log == "one\nha\n<gap>\nlf\ntwo\n"
    assert [(item.end, item.reason) for item in rig.items if isinstance(item, Gap)] == [(None, GapReason.NOBODY_READING)]
    assert rig.last(Joined).boot_id == rig.all(Joined)[0].boot_id
    assert [status.gen for status in rig.last(Listed).workloads] == [1]


def test_a_killed_gateway_adopts_the_run_and_names_what_it_could_not_hear() -> None:
    rig = Rig(TESTS).up()
    rig.start(tag=b"t" * 24)
    rig.hear(b"Running a suite\none\nha")
    again = rig.killed().up()
    assert (again.last(Joined).boot_id, again.last(Joined).new_boot) == (rig.last(Joined).boot_id, False)
    (status,) = again.last(Listed).workloads
    assert (status.wid, status.gen, status.tag, status.ready) == (7, 1, b"t" * 24, True)
    again.hear(b"two\nPROJECT EXECUTION SUCCESSFUL\n")
    assert again.run_log == "ha\n<gap>\ntwo\nPROJECT EXECUTION SUCCESSFUL\n"
    assert again.statuses[-1].exit_code == 0
    first = next(item for item in again.items if isinstance(item, Record))
    assert first.offset == rig.last(Output).checkpoint.expected


def test_an_exit_is_told_again_until_somebody_lets_it_go() -> None:
    rig = Rig(TESTS).up()
    rig.start()
    rig.hear(b"PROJECT EXECUTION FAILED\n")
    again = rig.killed().up()
    assert again.last(Listed).workloads == (rig.statuses[-1],)
    again.remove()
    assert again.killed().up().last(Listed).workloads == ()


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\x93\xce",
        b"console1 raw nonsense",
        b"console1 raw [1,2]\n",
        b"console1 shell [null]\n",
        b'console1 raw [null,"",[[1]],0,[false,null,""]]\n',
    ],
)
def test_another_protocols_checkpoint_is_no_memory(tail: bytes) -> None:
    rig = Rig(checkpoint=Checkpoint(5, 6, 1000, tail)).up().hear(b"x\n")
    assert rig.last(Joined).new_boot
    assert rig.last(Joined).epoch != 6
    assert rig.last(Output).checkpoint.expected == 2


def test_another_profile_remembers_nothing() -> None:
    rig = Rig().up()
    rig.start()
    other = Rig(ConsoleOptions(profile="shell"), rig.last(Output).checkpoint, seed=2).up()
    assert other.last(Joined).new_boot
    assert other.last(Listed).workloads == ()


def test_what_is_remembered_always_fits_the_checkpoint() -> None:
    nines = 2**32 - 1
    rig = Rig(ConsoleOptions(fail=("x",), ready=("r",))).up()
    for wid in range(nines - 10, nines):
        rig.start(wid, nines, tag=b"\xff" * 24)
        rig.hear(b"\xff" * 500 + b"x" * 500 + b"\n")
    rig.start(nines, nines, tag=b"\xff" * 24)
    rig.hear(b"r" * 800).wait(1).hear(b"\xff" * 800)
    assert all(len(output.checkpoint.tail) <= MAX_TAIL_BYTES for output in rig.all(Output))


@given(st.binary(max_size=3000), st.lists(st.integers(1, 900)), st.booleans())
def test_where_the_bytes_are_cut_does_not_matter(data: bytes, cuts: list[int], is_crlf: bool) -> None:
    data = data.replace(b"\n", b"\r\n") if is_crlf else data
    whole, cut = Rig(TESTS).up(), Rig(TESTS).up()
    for rig in (whole, cut):
        rig.start()
    whole.hear(data)
    rest = data
    for size in cuts:
        cut.hear(rest[:size])
        rest = rest[size:]
    cut.hear(rest)
    assert [_plain(item) for item in whole.items] == [_plain(item) for item in cut.items]
    assert whole.last(Output).checkpoint == cut.last(Output).checkpoint


def _plain(item: object) -> object:
    return item._replace(uptime_ms=0) if isinstance(item, Record) else item


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([b"a", b"\n", b"\r\n", b"x" * 799, b"x" * 2000, b"\r"]), st.booleans()), max_size=30))
def test_every_byte_is_in_the_devices_log_once(said: list[tuple[bytes, bool]]) -> None:
    rig = Rig().up()
    for data, is_silence in said:
        rig.hear(data)
        if is_silence:
            rig.wait(SILENCE_S)
    records = [item for item in rig.items if isinstance(item, Record) and item.slot == DEVICE_SLOT]
    spoken = b"".join(data for data, _ in said)
    assert [record.offset for record in records] == [0, *(record.end for record in records)][:-1] if records else True
    stored = rig.last(Output).checkpoint
    assert stored.expected + len(stored.tail.partition(b"\n")[2]) == len(spoken)
    assert b"".join(record.data for record in records).replace(b"\r", b"") + stored.tail.partition(b"\n")[2].replace(b"\r", b"") == (
        spoken.replace(b"\r", b"").replace(b"\n", b"")
    )


# -- somebody types, and somebody looks on


def code_of(rig: Rig, request: Any) -> int | None:
    answer = rig.answer(request)
    return None if answer is None else answer.code


def test_keys_go_to_the_run_that_they_are_for() -> None:
    rig = Rig().up()
    rig.start(stdin=True)
    assert code_of(rig, rig.keys(b"ls\n")) == Code.OK
    assert code_of(rig, rig.keys(b"\x03", is_end=True)) == Code.OK
    assert rig.sent == b"ls\n\x03"
    assert code_of(rig, rig.keys(b"x", gen=2)) == Code.NOT_FOUND
    assert code_of(rig, rig.keys(b"x" * (MAX_INPUT_BYTES + 1))) == Code.TOO_BIG
    rig.stop()
    assert code_of(rig, rig.keys(b"late")) == Code.NOT_FOUND
    assert rig.sent == b"ls\n\x03"


def test_the_answer_to_keys_comes_when_the_link_has_taken_them() -> None:
    rig = Rig().up()
    rig.start(stdin=True)
    request = rig.core.request(SendInput(7, 1, b"first"), rig.now)
    assert not any(isinstance(event, Answered) for event in rig.core.events())
    assert rig.core.data_to_send(rig.now) == b"first"
    assert rig.core.next_deadline() == rig.now  # whoever drives the core looks at its events again
    rig.wait(0)
    assert code_of(rig, request) == Code.OK
    for _ in range(MAX_INPUTS):
        rig.core.request(SendInput(7, 1, b"x"), rig.now)
    assert code_of(rig, rig.keys(b"x")) == Code.TOO_BIG


def test_keys_that_were_not_sent_are_lost_with_the_link() -> None:
    rig = Rig().up()
    rig.start(stdin=True)
    request = rig.core.request(SendInput(7, 1, b"x"), rig.now)
    rig.down()
    assert rig.last(RequestLost).request_id == request
    rig.up()
    assert rig.sent == b""


def test_who_looks_on_sees_an_unfinished_line_at_once_and_the_log_is_the_same() -> None:
    watched, other = Rig(TESTS).up(), Rig(TESTS).up()
    for rig in (watched, other):
        rig.start()
    watched.core.watch(is_watched=True)
    for piece in (b"log", b"in: ", b"ro", b"ot\r", b"\nPROJECT EXEC", b"UTION FAI"):
        watched.hear(piece)
        other.hear(piece)
    assert watched.run_log == "login: root\nPROJECT EXECUTION FAI"
    assert other.run_log == "login: root\n"
    for rig in (watched, other):
        rig.hear(b"LED").wait(2 * SILENCE_S)
        assert rig.statuses[-1].exit_code == 1
    assert watched.run_log.rstrip("\n") == other.run_log.rstrip("\n") == "login: root\nPROJECT EXECUTION FAILED"


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.text("ab\r\n*Booting Zephyr OS").map(str.encode), max_size=12), cuts=st.sets(st.integers(0, 11)))
def test_looking_on_changes_nothing_of_what_is_logged(pieces: list[bytes], cuts: set[int]) -> None:
    watched, other = Rig(TESTS).up(), Rig(TESTS).up()
    for number, piece in enumerate(pieces):
        watched.core.watch(is_watched=number in cuts)
        for rig in (watched, other):
            rig.hear(piece)
    for rig in (watched, other):
        rig.hear(b"\n").wait(2 * SILENCE_S)
    assert watched.device_log == other.device_log
