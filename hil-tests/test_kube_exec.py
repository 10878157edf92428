"""kubectl exec and attach on boards with our firmware, through a real API server."""

from __future__ import annotations

import contextlib
import os
import random

from lab import Lab, assert_counted
from person import Person


def at_a_terminal(lab: Lab, *words: str, columns: int = 93, rows: int = 31) -> Person:
    argv = lab.control_plane.kubectl_argv("-n", lab.namespace, *words)
    return Person(argv, {**os.environ, **lab.control_plane.kubectl_env}, columns=columns, rows=rows)


def test_kubectl_runs_a_command_on_a_board_while_its_log_goes_on(lab: Lab) -> None:
    lab.set_up()
    lab.run("counter", "counter", "--rate", "100", request=True)
    lab.wait_for_ready("counter")
    follower = lab.follow("counter")
    follower.wait_for_lines(20)
    data = random.Random(3).randbytes(200_000)
    told = lab.ran_kubectl("exec", "-i", "counter", "--", "tee", stdin=data)
    assert (told.returncode, told.stdout == data, told.stderr == data) == (0, True, True), told.stderr[:200]
    failed = lab.ran_kubectl("exec", "counter", "--", "crash")
    assert (failed.returncode, failed.stdout) == (134, b"")
    assert failed.stderr == b"panic: crash was asked for\ncommand terminated with exit code 134\n"
    absent = lab.ran_kubectl("exec", "counter", "--", "ls")
    assert absent.returncode == 1
    assert b"exec on device board-0: no command 'ls'" in absent.stderr
    assert_counted(follower.wait_for_lines(len(follower.lines) + 50), first=1)


def test_kubectl_has_a_terminal_on_a_board(lab: Lab) -> None:
    lab.set_up()
    lab.run("job", "hello", request=True)
    lab.wait_for_ready("job")
    with contextlib.closing(at_a_terminal(lab, "exec", "-it", "job", "--", "size")) as alice:
        alice.sees(b"93 columns, 31 rows\r\n")
        alice.resize(70, 20)
        alice.sees(b"70 columns, 20 rows\r\n")
        alice.types(b"\x04")
        assert alice.ends() == 0
    with contextlib.closing(at_a_terminal(lab, "exec", "-it", "job", "--", "cat")) as bob:
        bob.types(b"typed\r")
        bob.sees(b"typed\r\ntyped\r\n")
        bob.types(b"\x03")
        assert bob.ends() == 130


def test_kubectl_types_to_a_program_on_a_board(lab: Lab) -> None:
    lab.set_up()
    lab.run("reader", "cat", request=True, container={"stdin": True, "tty": True}, restartPolicy="Never")
    lab.wait_for_ready("reader")
    with contextlib.closing(at_a_terminal(lab, "attach", "-it", "reader")) as alice:
        alice.sees(b"try pressing enter.")
        alice.types(b"hello board\r")
        alice.sees(b"hello board\r\n")
        # kubectl says that line a moment before it takes the terminal: until then that echoes by itself.
        lab.wait(lambda: lab.kubectl("logs", "reader") == "hello board\n", "the line in the log")
    piped = lab.ran_kubectl("attach", "-i", "reader", stdin=b"and the end\n")
    assert piped.returncode == 0, piped.stderr
    assert b"and the end\n" in piped.stdout
    lab.wait_for_phase("reader", "Succeeded")
    assert lab.kubectl("logs", "reader") == "hello board\nand the end\n"


def test_a_pulled_cable_is_one_message_for_kubectl_too(lab: Lab) -> None:
    lab.set_up()
    lab.run("job", "hello", request=True)
    lab.wait_for_ready("job")
    with contextlib.closing(at_a_terminal(lab, "exec", "-it", "job", "--", "cat")) as alice:
        alice.types(b"up\r")
        alice.sees(b"up\r\nup\r\n")
        lab.boards.unplug()
        assert alice.ends() == 1
        assert b"the session with the device ended in the middle of the command" in alice.shown
