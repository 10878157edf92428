"""Scripts on real MicroPythons behind a gateway: that of 2017 on QEMU's micro:bit, whose firmware Debian has, and a current one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from console_lab import ConsoleDesk
from needs import MICROBIT_FIRMWARE, find_micropython
from processes import Process
from terminal_port import TerminalPort
from workbench import Workbench

NASTY = ["it's", '"quoted"', "\\", "a\nb", "\t", "%s", "\x03\x04", ""]


class MicroBit:
    """The board; link is its port as long as it runs."""

    def __init__(self, workbench: Workbench) -> None:
        board = ["qemu-system-arm", "-M", "microbit", "-nodefaults", "-display", "none"]
        self.process: Process = workbench.process("microbit", [*board, "-device", f"loader,file={MICROBIT_FIRMWARE}", "-serial", "pty"])
        self.process.wait_for(lambda: "/dev/pts/" in self.process.log_tail(), "its port")
        port = re.search(r"/dev/pts/\d+", self.process.log_tail())
        assert port is not None
        self.link = Path(port[0])


@pytest.fixture
def desk(need: Callable[[str], None], workbench: Workbench, tmp_path: Path) -> ConsoleDesk:
    """With a micro:bit."""
    need("microbit")
    return ConsoleDesk(workbench, tmp_path, MicroBit(workbench).link, profile="micropython")


@pytest.fixture
def current(need: Callable[[str], None], workbench: Workbench, tmp_path: Path) -> Iterator[ConsoleDesk]:
    """With a current MicroPython."""
    need("micropython")
    repl = f"stty raw -echo; exec node {find_micropython() / 'repl.mjs'}"
    with contextlib.closing(TerminalPort(tmp_path / "port", ["sh", "-c", repl], {})) as port:
        yield ConsoleDesk(workbench, tmp_path, port.link, profile="micropython")


@pytest.fixture(params=["desk", "current"])
def either(request: pytest.FixtureRequest) -> ConsoleDesk:
    made = request.getfixturevalue(request.param)
    assert isinstance(made, ConsoleDesk)
    return made


def test_a_script_gets_argv_and_environ_and_its_end_is_the_pods(either: ConsoleDesk) -> None:
    desk = either
    code = "for each in argv: print(repr(each))\nfor name in sorted(environ): print(name, repr(environ[name]))\nraise SystemExit(7)"
    env = [{"name": f"W_{number}", "value": value} for number, value in enumerate(NASTY)]
    told = desk.ran("nasty", "Error", command=["micropython", "-c", code, *NASTY], env=env)
    assert told.splitlines() == ["'-c'", *map(_repr, NASTY), *(f"W_{number} {_repr(value)}" for number, value in enumerate(NASTY))]
    assert desk.end_of("nasty")["exitCode"] == 7

    assert desk.ran("fine", "Completed", command=["python3", "-c"], args=["print('hello')"]) == "hello\n"
    assert desk.ran("many", "Completed", command=["-c", "for n in range(2000): print(n)"]).split() == [str(n) for n in range(2000)]


def _repr(value: str) -> str:
    """As MicroPython writes it, which has no \\t."""
    return "".join(f"\\x{ord(each):02x}" if each < " " and each != "\n" else each for each in ascii(value.replace("\t", "\x09")))


def test_a_traceback_is_the_end_with_its_last_line(either: ConsoleDesk) -> None:
    desk = either
    told = desk.ran("broken", "Error", command=["-c", "print('before')\n1/0"])
    assert told.splitlines()[:2] == ["before", "Traceback (most recent call last):"]
    end = desk.end_of("broken")
    assert (end["exitCode"], end["message"].partition(":")[0]) == (1, "ZeroDivisionError")
    assert "SyntaxError" in desk.ran("wrong", "Error", command=["-c", "this is no python"])


def test_a_file_and_a_module_of_the_board_run(desk: ConsoleDesk) -> None:
    program = "print('i am', __name__, argv)\n"
    write = f"for name in ('prog.py', 'mod.py'):\n with open(name, 'w') as file: file.write({program.replace(', argv', '')!r})"
    desk.ran("write", "Completed", command=["-c", write])
    assert desk.ran("file", "Completed", command=["prog.py", "x"]) == "i am __main__\n"
    assert desk.ran("module", "Completed", command=["-m", "mod"]) == "i am mod\n"
    assert "OSError" in desk.ran("absent", "Error", command=["absent.py"])


def test_a_stop_is_a_control_c(desk: ConsoleDesk) -> None:
    desk.put("loop", command=["-c", "print('up')\nwhile True: pass"])
    desk.wait(lambda: desk.log("loop") == "up\n", "the script to run")
    desk.remove("loop")
    desk.wait(lambda: not desk.row("loop"), "the pod to be gone")
    assert desk.ran("next", "Completed", command=["-c", "print('free')"]) == "free\n"


def test_a_board_that_resets_itself_has_restarted(desk: ConsoleDesk) -> None:
    desk.ran("reset", "DeviceRebooted", command=["-c", "import microbit\nprint('going')\nmicrobit.reset()"])
    end = desk.end_of("reset")
    assert (end["reason"], end["exitCode"]) == ("DeviceRebooted", 137)
    assert desk.ran("next", "Completed", command=["-c", "print('back')"]) == "back\n"


def test_a_killed_gateway_adopts_the_script(desk: ConsoleDesk) -> None:
    desk.put(
        "long",
        command=["-c", "print('up')\nimport microbit\nfor n in range(60):\n microbit.sleep(100)\nprint('down')\nraise SystemExit(5)"],
    )
    desk.wait(lambda: desk.log("long") == "up\n", "the script to run")
    desk.gateway.kill()
    desk.gateway.start()
    desk.wait_for("long", "Error")
    assert desk.end_of("long")["exitCode"] == 5
    up, gap, *_, down = desk.log("long").splitlines()
    assert (up, down) == ("up", "down")
    assert "nobody was reading" in gap


def test_an_end_that_nobody_heard_is_told_as_unknown(desk: ConsoleDesk) -> None:
    desk.put("short", command=["-c", "print('up')\nimport microbit\nmicrobit.sleep(1500)"])
    desk.wait(lambda: desk.log("short") == "up\n", "the script to run")
    desk.gateway.kill()
    with desk.listening() as heard:
        desk.wait_without_gateway(lambda: b"\x04\x04>" in heard(), "the script to end")
    desk.gateway.start()
    desk.wait_for("short", "LinkLoss")
    end = desk.end_of("short")
    assert (end["reason"], end["exitCode"]) == ("LinkLoss", 137)
    assert "nobody was listening" in end["message"]
