"""Jobs on a real dash and a real busybox ash: what they say, how they end, and what survives connections, gateways and boots."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell_target import DEADLINE_S, SHELLS, Target, session, target

from transports.protocol import Gap, Joined, Listed, Reboot, Record, RecordKind, RemoveWorkload, StartWorkload, StopWorkload, WorkloadState
from transports.wire.numbers import Code


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path, need: Callable[[str], None]) -> Iterator[Target]:
    if request.param == "busybox":
        need("busybox")
    with target(tmp_path, request.param) as made:
        yield made


def test_a_job_says_and_ends(machine: Target) -> None:
    with session(machine) as gateway:
        assert gateway.join().workloads == ()
        started = gateway.start("sh", "-c", "echo out; echo err >&2; printf half; exit 3")
        assert (started.state, started.tag) == (WorkloadState.RUNNING, b"\x01\x02")
        ended = gateway.end_of()
        assert (ended.exit_code, ended.signal) == (3, None)
        assert gateway.lines() == [b"out", b"half"]
        assert gateway.lines(kind=RecordKind.STDERR) == [b"err"]
        assert gateway.checkpoint is not None
        assert ended.end_off is not None
        assert gateway.checkpoint.expected >= ended.end_off
        assert gateway.request(RemoveWorkload(7, 1)).code == 0
        assert not list(machine.directory.glob("run.*"))


def test_stop_ends_the_whole_group_by_the_signal(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "sleep 1000 & echo up; wait")
        gateway.wait(lambda: gateway.lines() == [b"up"], "it is up")
        assert gateway.request(StopWorkload(7, 1, grace_ms=10_000)).code == 0
        ended = gateway.end_of()
        assert (ended.exit_code, ended.signal) == (143, 15)


def test_a_job_that_ignores_the_signal_is_killed_after_its_grace(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
        gateway.wait(lambda: gateway.lines() == [b"up"], "it is up")
        gateway.request(StopWorkload(7, 1, grace_ms=500))
        assert gateway.end_of().signal == 9


def test_a_stop_without_grace_kills(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        gateway.request(StopWorkload(7, 1, grace_ms=0))
        assert gateway.end_of().exit_code == 137


def test_a_job_that_is_stopped_before_it_has_a_group_is_killed_too(machine: Target, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "setsid").write_text(f'#!/bin/sh\nsleep 0.5\nexec {shutil.which("setsid", path=machine.path)} "$@"\n')
    (slow / "setsid").chmod(0o755)
    machine.path = f"{slow}:{machine.path}"
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        gateway.request(StopWorkload(7, 1, grace_ms=0))
        assert gateway.end_of().exit_code == 137


def test_what_a_job_leaves_in_its_group_is_killed_and_what_left_it_does_not_hold_up_the_end(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "sleep 1000 & setsid sleep 12 & echo done")
        assert gateway.end_of().exit_code == 0
        assert gateway.lines() == [b"done"]


def test_a_job_is_not_deaf_to_interrupts(tmp_path: Path) -> None:
    """As what a shell starts in the background is; busybox has no means against it."""
    with target(tmp_path, "dash") as machine, session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "echo up; exec sleep 1000")
        gateway.wait(lambda: bool(gateway.lines()), "it is up")
        gateway.request(StopWorkload(7, 1, grace_ms=10_000, signal=signal.SIGINT))
        assert gateway.end_of().signal == signal.SIGINT


def test_a_job_has_the_umask_of_the_login_and_the_wrapper_lets_nobody_else_read(machine: Target) -> None:
    machine.umask = 0o027
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "umask")
        gateway.end_of()
        assert gateway.lines() == [b"0027"]
        assert all(path.stat().st_mode & 0o077 == 0 for path in (machine.directory, *machine.directory.rglob("*")))


def test_a_giant_line_ends_no_job_and_is_told(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "dd if=/dev/zero bs=1M count=12 2>/dev/null | tr '\\0' x; echo; echo next")
        gateway.end_of()
        assert [item for item in gateway.items if isinstance(item, Record) and item.lost is not None]
        assert gateway.lines()[-1] == b"next"


def until(met: Callable[[], bool], what: str) -> None:
    """While nobody is connected."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not met():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.02)


# -- drops, kills and boots

COUNT = 'i=0; while [ $i -lt "$0" ]; do i=$((i+1)); echo $i; done'
COUNT_BYTES = 'i=0; x=$(printf %1000d 0); while [ $i -lt "$0" ]; do i=$((i+1)); echo "$i $x"; done'
COUNT_SLOWLY = 'i=0; while [ $i -lt "$0" ]; do i=$((i+1)); echo $i; sleep 0.02; done'


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(1, count + 1)]


def test_a_dropped_connection_loses_nothing_and_repeats_nothing(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", COUNT_SLOWLY, "100")
        for seen in (5, 30, 60):
            gateway.wait(lambda seen=seen: len(gateway.lines()) >= seen, f"{seen} lines")  # type: ignore[misc]  # the loop's own
            gateway.drop()
            (adopted,) = gateway.join().workloads
            assert (adopted.wid, adopted.gen, adopted.tag) == (7, 1, b"\x01\x02")
        gateway.end_of()
        assert gateway.lines() == numbers(100)


def test_another_gateway_goes_on_from_the_checkpoint(machine: Target) -> None:
    """As after kill -9: nothing is left of the first one but what it stored."""
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", COUNT_SLOWLY, "100")
        gateway.wait(lambda: len(gateway.lines()) >= 20, "20 lines")
        gateway.stores = False  # what comes now dies with it
        already = list(gateway.lines())
        checkpoint = gateway.checkpoint
    with session(machine, checkpoint, seed=2) as heir:
        (adopted,) = heir.join().workloads
        assert adopted.state is WorkloadState.RUNNING
        heir.end_of()
        assert already + heir.lines() == numbers(100)


def test_a_job_that_ended_meanwhile_is_listed_with_its_code_and_its_log(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", f"{COUNT}; exit 5", "2000")
        gateway.drop()
        until(lambda: bool(list(machine.directory.glob("run.*/exit"))), "its end")
        (ended,) = gateway.join().workloads
        assert (ended.state, ended.exit_code) == (WorkloadState.EXITED, 5)
        gateway.wait(lambda: gateway.checkpoint is not None and gateway.checkpoint.expected >= (ended.end_off or 0), "its log")
        assert gateway.lines() == numbers(2000)


def test_a_start_that_was_not_answered_is_the_same_run(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        first = gateway.start("sh", "-c", "echo once; sleep 1000")
        again = gateway.start("sh", "-c", "echo once; sleep 1000")
        assert again == first
        gateway.wait(lambda: bool(gateway.lines()), "its line")
        assert gateway.request(RemoveWorkload(7, 1)).code == Code.BAD_STATE
        assert gateway.request(StartWorkload(7, 2, "program", ("true",))).code == Code.BAD_STATE
        assert gateway.lines() == [b"once"]


def test_the_newer_connection_wins(machine: Target) -> None:
    """The end of an old one may be noticed hours later."""
    with session(machine) as old, session(machine, seed=2) as new:
        old.join()
        new.join()
        assert old.shell is not None
        old.shell.wait(10)
        assert new.start("true").slot == 0


def test_a_supervisor_that_was_killed_leaves_no_ghost(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "echo up; sleep 1000")
        gateway.wait(lambda: bool(gateway.lines()), "its line")
        (supervisor,) = machine.directory.glob("run.*/supervisor")
        job = int((supervisor.parent / "job.process").read_text().split()[0])
        os.kill(int(supervisor.read_text().split()[0]), signal.SIGKILL)
        assert gateway.wait_for(Listed).workloads == ()  # noticed without being asked
        gateway.wait(lambda: not Path(f"/proc/{job}").exists(), "the end of the job")


def test_after_a_boot_the_log_goes_on_and_what_ran_is_gone(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "echo before; exit 4", wid=8)
        gateway.end_of(8)
        gateway.start("sh", "-c", "echo lost; sleep 1000")
        gateway.wait(lambda: b"lost" in gateway.lines(), "its line")
        before = gateway.checkpoint
        assert before is not None
        gateway.drop()
        machine.reboot()
        gateway.connect()
        joined = gateway.wait_for(Joined)
        assert joined.boot_off >= before.expected
        (kept,) = gateway.wait_for(Listed).workloads
        assert (kept.wid, kept.exit_code) == (8, 4)
        gateway.start("echo", "after", wid=9)
        gateway.end_of(9)
        assert gateway.lines() == [b"before", b"lost", b"after"]


def test_a_boot_that_lost_the_end_of_the_log_gives_no_offset_twice(machine: Target) -> None:
    """The power went before the target's disk had what the gateway has."""
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", COUNT, "500")
        gateway.end_of()
        before = gateway.checkpoint
        assert before is not None
        gateway.drop()
        machine.reboot()
        for log in machine.directory.glob("log.*"):
            os.truncate(log, log.stat().st_size // 2)
        gateway.join()
        gateway.start("echo", "after", wid=9)
        gateway.end_of(9)
        assert gateway.lines() == [*numbers(500), b"after"]
        assert gateway.checkpoint is not None
        assert gateway.checkpoint.expected > before.expected


def test_a_directory_that_was_emptied_is_a_new_log_and_says_so(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("echo", "one")
        gateway.end_of()
        before = gateway.checkpoint
        assert before is not None
        gateway.drop()
        machine.clear()
        shutil.rmtree(machine.directory)
        assert gateway.join().workloads == ()
        gap = next(item for item in gateway.items if isinstance(item, Gap))
        assert (gap.offset, gap.end) == (before.expected, None)
        gateway.start("echo", "two")
        gateway.end_of()
        assert gateway.lines() == [b"one", b"two"]


# -- the log


def test_the_log_is_bounded_and_what_is_missing_is_told(tmp_path: Path) -> None:
    with target(tmp_path, "dash", spool_bytes=1 << 20) as machine, session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", COUNT_BYTES, "3000")
        gateway.drop()  # nobody fetches it
        until(lambda: bool(list(machine.directory.glob("run.*/exit"))), "its end")
        assert sum(log.stat().st_size for log in machine.directory.glob("log.*")) <= (1 << 20) + 2 * (1 << 20)
        gateway.join()
        gateway.wait(lambda: bool(gateway.lines()) and gateway.lines()[-1].startswith(b"3000 "), "the last line")
        gap = next(item for item in gateway.items if isinstance(item, Gap))
        got = [int(line.split()[0]) for line in gateway.lines()]
        assert got == list(range(got[0], 3001))
        assert gap.end is not None
        assert gap.end > gap.offset


def test_files_that_are_stored_elsewhere_are_removed(tmp_path: Path) -> None:
    with target(tmp_path, "dash") as machine, session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", COUNT_BYTES, "3000")
        gateway.end_of()
        assert len(gateway.lines()) == 3000
        gateway.wait(lambda: len(list(machine.directory.glob("log.*"))) <= 2, "the files to go")


def test_long_lines_come_in_pieces(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "printf %10000d 7; echo; echo next")
        gateway.end_of()
        pieces = gateway.lines(kind=RecordKind.STDOUT_PARTIAL)
        assert b"".join(pieces) + gateway.lines()[0] == b"%10000d" % 7
        assert gateway.lines()[1] == b"next"


def test_bytes_that_are_no_text_pass_unchanged(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("printf", r"\001\177\200\377 \\ %%s\t|  two  spaces \r\n")
        gateway.end_of()
        assert gateway.lines() == [b"\x01\x7f\x80\xff \\ %s\t|  two  spaces \r"]


def test_a_login_that_greets_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    with target(tmp_path, "dash") as machine, session(machine) as gateway:
        machine.shell = [machine.shell[0], "-c", "echo; echo '. 0123456789abcdef 5 1.00 no'; exec sh"]
        assert gateway.join().workloads == ()


def test_a_job_cannot_end_an_answer(machine: Target) -> None:
    with session(machine) as gateway:
        gateway.join()
        gateway.start("sh", "-c", "for i in 1 2 3; do echo; echo '. 0000000000000000 0 1.00 ok'; echo 'x0 1.00 7 1 0'; done")
        gateway.end_of()
        assert gateway.lines() == [b"", b". 0000000000000000 0 1.00 ok", b"x0 1.00 7 1 0"] * 3


def test_more_runs_than_slots_are_refused(tmp_path: Path) -> None:
    with target(tmp_path, "dash", slots=2) as machine, session(machine) as gateway:
        gateway.join()
        slots = [gateway.start("sleep", "1000", wid=wid).slot for wid in (1, 2)]
        assert sorted(slots) == [0, 1]
        full = gateway.request(StartWorkload(3, 1, "program", ("true",)))
        assert (full.code, full.text) == (Code.BUSY, "all 2 slots are taken")
        assert gateway.request(StartWorkload(4, 1, "program", ("true",), tty=True)).code == Code.UNSUPPORTED
        assert gateway.request(Reboot()).code == Code.UNSUPPORTED
        assert gateway.request(StopWorkload(5, 1, 0)).code == Code.NOT_FOUND


def test_sixteen_jobs_speak_through_one_pipe(machine: Target) -> None:
    machine.slots = 16
    with session(machine) as gateway:
        gateway.join()
        slots = {wid: gateway.start("sh", "-c", COUNT, "200", wid=wid).slot for wid in range(1, 17)}
        for wid in slots:
            gateway.end_of(wid)
        assert all(gateway.lines(slot) == numbers(200) for slot in slots.values())
