"""exec and attach on boards with our firmware: real commands of ours against simulated boards behind serial ports."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from board_lab import BoardDesk, outcome
from cable import Cable
from gateways import WIRELET
from lab import GAP, Follower, assert_counted
from person import Person
from wire import Line
from workbench import Workbench

MEBIBYTE = 1 << 20


@pytest.fixture
def people() -> Iterator[Callable[..., Person]]:
    """people(desk, "attach", "-it", "x"): one at a terminal."""
    with contextlib.ExitStack() as made:

        def make(desk: BoardDesk, *words: str, user: str = "alice", **size: int) -> Person:
            env = {**desk.gateway.cli_env, "LOGNAME": user}
            return made.enter_context(contextlib.closing(Person([*WIRELET, *words], env, **size)))

        yield make


@pytest.fixture
def follow() -> Iterator[Callable[[BoardDesk, str], Follower]]:
    with contextlib.ExitStack() as made:

        def make(desk: BoardDesk, pod: str) -> Follower:
            return made.enter_context(contextlib.closing(Follower([*WIRELET, "logs", "-f", pod, "--socket", str(desk.gateway.socket)])))

        yield make


@pytest.fixture
def desk(workbench: Workbench, tmp_path: Path) -> BoardDesk:
    return BoardDesk(workbench, tmp_path)


# -- exec


def test_a_command_has_its_environment_its_outputs_and_its_exit_code(desk: BoardDesk) -> None:
    desk.put("job", "hello", env=[{"name": "MODE", "value": "it's $HOME"}])
    echoed = desk.ran("exec", "job", "--", "echo", "two  spaces", "$(reboot)")
    assert (echoed.returncode, echoed.stdout, echoed.stderr) == (0, b"two  spaces $(reboot)\n", b"")
    assert b"MODE=it's $HOME\n" in desk.ran("exec", "job", "--", "env").stdout
    assert desk.ran("exec", "job", "--", "exit", "37").returncode == 37
    panic = desk.ran("exec", "job", "--", "crash")
    assert (panic.returncode, panic.stdout, panic.stderr) == (134, b"", b"panic: crash was asked for\n")
    both = desk.ran("exec", "-i", "job", "--", "tee", stdin=b"\x00\xff and no end of a line")
    assert (both.stdout, both.stderr) == (b"\x00\xff and no end of a line",) * 2
    nobody = desk.ran("exec", "job", "--", "cat")
    assert (nobody.returncode, nobody.stdout) == (0, b"")
    absent = desk.ran("exec", "job", "--", "ls")
    assert absent.returncode == 1
    assert absent.stderr.startswith(b"wirelet exec: exec on device board-a: no command 'ls'; there are: args, cat")
    assert desk.log("job") == "hello from a\n"


def test_two_mebibytes_go_there_and_back_while_the_log_goes_on(desk: BoardDesk, follow: Callable[[BoardDesk, str], Follower]) -> None:
    desk.put("counter", "counter", "--rate", "200")
    follower = follow(desk, "counter")
    before = len(follower.wait_for_lines(20))
    data = random.Random(1).randbytes(2 * MEBIBYTE)  # for longer than a client may be silent (PROBE_S)
    told = desk.ran("exec", "-i", "counter", "--", "cat", stdin=data)
    assert told.returncode == 0, told.stderr
    assert told.stdout == data
    lines = follower.wait_for_lines(before + 50)
    assert_counted(lines, first=1)
    assert not [line for line in lines if line.startswith(GAP)]


@pytest.mark.parametrize("line", [Line(baud=115200), Line(baud=115200, flip=1e-4, lose=1e-4)], ids=["clean", "bad"])
def test_a_slow_line_carries_both_too(
    workbench: Workbench, tmp_path: Path, follow: Callable[[BoardDesk, str], Follower], line: Line
) -> None:
    with Cable(tmp_path / "host", tmp_path / "board", a_to_b=line, b_to_a=line):
        far_end = Path(__file__).parent / "board_on_a_cable.py"
        argv = [WIRELET[0], str(far_end), str(tmp_path / "board"), "--slots", "4", "--line-bytes-per-s", "11520"]
        board = workbench.process("board", argv)
        board.wait_for(lambda: "powered" in board.log_tail(), "the board")
        desk = BoardDesk(workbench, tmp_path, link=tmp_path / "host", baud=line.baud)
        desk.put("counter", "counter", "--rate", "100")
        follower = follow(desk, "counter")
        follower.wait_for_lines(20)
        data = random.Random(2).randbytes(30_000)
        told = desk.ran("exec", "-i", "counter", "--", "cat", stdin=data)
        assert (told.returncode, told.stdout == data) == (0, True), told.stderr
        assert_counted(follower.wait_for_lines(len(follower.lines) + 20), first=1)
        assert not [line for line in follower.lines if line.startswith(GAP)]


def test_whoever_does_not_read_holds_up_nobody(desk: BoardDesk, follow: Callable[[BoardDesk, str], Follower]) -> None:
    desk.put("counter", "counter", "--rate", "100")
    follower = follow(desk, "counter")
    with desk.begun("exec", "counter", "--", "firehose") as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline().startswith(b"0000000001 ")
        follower.wait_for_lines(len(follower.lines) + 100)
        assert desk.ran("exec", "counter", "--", "echo", "quick").stdout == b"quick\n"
        deaf.terminate()
    assert_counted(follower.wait_for_lines(len(follower.lines) + 50), first=1)
    assert not [line for line in follower.lines if line.startswith(GAP)]


def test_a_terminal_on_a_board_follows_the_size_of_the_persons(desk: BoardDesk, people: Callable[..., Person]) -> None:
    desk.put("job", "hello")
    alice = people(desk, "exec", "-it", "job", "--", "size", columns=93, rows=31)
    alice.sees(b"93 columns, 31 rows\r\n")
    alice.resize(70, 20)
    alice.sees(b"70 columns, 20 rows\r\n")
    alice.types(b"\x04")
    assert alice.ends() == 0
    bob = people(desk, "exec", "-it", "job", "--", "cat", user="bob")
    bob.types(b"typed\r")
    bob.sees(b"typed\r\ntyped\r\n")
    bob.types(b"\x03")
    bob.sees(b"^C\r\n")
    assert bob.ends() == 130


def test_a_command_ends_with_who_began_it_and_with_its_pod(workbench: Workbench, tmp_path: Path) -> None:
    desk = BoardDesk(workbench, tmp_path, "--conversations", "1", "--trace")
    desk.put("job", "hello")
    with desk.begun("exec", "-i", "job", "--", "cat") as first:
        desk.wait(lambda: "EXEC ['cat'] on channel 16 -> OK" in desk.boards.process.log_tail(100), "the first")
        second = desk.ran("exec", "job", "--", "echo", "x")
        assert second.returncode == 1
        assert second.stderr == b"wirelet exec: exec on device board-a: it has room for 1 conversation, and 1 are open\n"
        first.kill()
    desk.wait(lambda: desk.ran("exec", "job", "--", "echo", "x").stdout == b"x\n", "room again")
    with desk.begun("exec", "-i", "job", "--", "cat") as third:
        say_up(third)
        (tmp_path / "pods" / "job.yaml").unlink()
        assert outcome(third)[0] == 137


def test_a_board_that_cannot_says_so(workbench: Workbench, tmp_path: Path) -> None:
    desk = BoardDesk(workbench, tmp_path, "--conversations", "0")
    desk.put("reader", "cat", stdin=True)
    refused = desk.ran("exec", "reader", "--", "echo", "x")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert refused.stderr == (
        b"wirelet exec: exec on device board-a: nothing but its workloads runs on it (it does not name the capability exec)\n"
    )
    refused = desk.ran("attach", "-i", "reader", stdin=b"x")
    assert refused.returncode == 1
    assert refused.stderr == (
        b"wirelet attach: device board-a takes no input: its programs read none (it does not name the capability stdin)\n"
    )


# -- attach


def test_one_types_to_a_program_and_the_next_one_goes_on(desk: BoardDesk, people: Callable[..., Person]) -> None:
    desk.put("reader", "cat", stdin=True, tty=True)
    alice = people(desk, "attach", "-it", "reader")
    alice.sees(b"Ctrl-] leaves.")
    alice.types(b"from alice\r")
    alice.sees(b"from alice\r\n")
    refused = desk.ran("attach", "-i", "reader", stdin=b"mine\n")
    assert refused.returncode == 1
    assert b"alice types to container main on board-a" in refused.stderr
    alice.types(b"\x1d")
    assert alice.ends() == 0
    desk.wait(lambda: desk.row()["typists"] == [], "nobody at the keyboard")
    told = desk.ran("attach", "-i", "reader", stdin=b"from bob\n")
    assert (told.returncode, told.stdout) == (0, b"from bob\n")
    desk.wait_for("reader", "Completed")
    assert desk.log("reader") == "from alice\nfrom bob\n"
    late = desk.ran("attach", "-i", "reader", stdin=b"x")
    assert late.returncode == 1
    assert b"container main is not running" in late.stderr


@pytest.mark.parametrize("words", [("exec", "absent", "--", "echo"), ("attach", "absent")])
def test_whoever_asks_a_pod_that_waits_is_told_for_what(desk: BoardDesk, words: tuple[str, ...]) -> None:
    desk.put("absent", "nginx", awaiting="ErrImageNeverPull")
    told = desk.ran(*words)
    waits = b'container "main" in pod "absent" is waiting to start: ErrImageNeverPull\n'
    assert (told.returncode, told.stderr) == (1, b"wirelet %s: %s" % (words[0].encode(), waits))


def test_a_mebibyte_is_typed_byte_for_byte(desk: BoardDesk) -> None:
    desk.put("reader", "cat", stdin=True)
    data = b"".join(b"%07d\n" % number for number in range(MEBIBYTE // 8))
    told = desk.ran("attach", "-i", "reader", stdin=data)
    assert told.returncode == 0, told.stderr
    assert told.stdout == data
    assert desk.end_of("reader")["exitCode"] == 0


def test_who_leaves_while_nobody_reads_makes_room_for_the_next(desk: BoardDesk) -> None:
    desk.put("deaf", "hello", stdin=True)
    with desk.begun("attach", "-i", "deaf") as popen:
        assert popen.stdin is not None
        popen.stdin.write(b"z" * 20_000)  # more than the board has room for
        popen.stdin.flush()
        desk.wait(lambda: desk.row()["typists"], "somebody at the keyboard")
        popen.kill()
    desk.wait(lambda: desk.row()["typists"] == [], "nobody at the keyboard")


# -- accidents


def say_up(popen: subprocess.Popen[bytes]) -> None:
    """And hear it again."""
    assert popen.stdin is not None
    assert popen.stdout is not None
    popen.stdin.write(b"up\n")
    popen.stdin.flush()
    assert popen.stdout.readline() == b"up\n"


@pytest.mark.parametrize("accident", ["cable", "reset"])
def test_a_session_that_ends_ends_the_command_with_one_message(desk: BoardDesk, accident: str) -> None:
    desk.put("job", "hello")
    with desk.begun("exec", "-i", "job", "--", "cat") as popen:
        say_up(popen)
        desk.boards.unplug() if accident == "cable" else desk.boards.reset()
        code, out, err = outcome(popen)
    assert (code, out) == (1, b"")
    assert err.startswith(b"wirelet exec: device board-a: the session with the device ended in the middle of the command"), err
    assert err.count(b"\n") == 1


def test_a_pulled_cable_is_told_to_who_types(desk: BoardDesk) -> None:
    desk.put("deaf", "hello", stdin=True)
    with desk.begun("attach", "-i", "deaf") as popen:
        assert popen.stdin is not None
        popen.stdin.write(b"z" * 20_000)  # more than the board has room for
        popen.stdin.flush()
        desk.wait(lambda: desk.row()["typists"], "somebody at the keyboard")
        desk.boards.unplug()
        code, _, err = outcome(popen)
    assert code == 1
    assert err.startswith(b"wirelet attach: device board-a: "), err
    assert err.endswith(b"what was typed last may not have arrived\n"), err
    assert err.count(b"\n") == 1


def test_a_killed_gateway_leaves_no_command_behind(workbench: Workbench, tmp_path: Path) -> None:
    desk = BoardDesk(workbench, tmp_path, "--conversations", "1")
    desk.put("job", "counter", "--rate", "50")
    with desk.begun("exec", "-i", "job", "--", "cat") as popen:
        say_up(popen)
        desk.gateway.kill()
        code, _, err = outcome(popen)
    assert (code, err) == (1, b"wirelet exec: the gateway left in the middle; it has stopped or was restarted: try again when it runs\n")
    desk.gateway.start()
    desk.wait(lambda: desk.ran("exec", "job", "--", "echo", "free").stdout == b"free\n", "the board's only conversation to be free")
    assert_counted(desk.log("job").splitlines(), first=1)
