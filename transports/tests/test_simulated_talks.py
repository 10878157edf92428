"""Commands on a simulated device, and workloads of it that read: what firmware developers compare theirs with."""

from __future__ import annotations

import pytest

from transports.conversing import CoreCommand
from transports.errors import DeviceError, SessionLost
from transports.link import CommandEnd, TerminalSize
from transports.protocol import Answered, RemoveWorkload, SendInput, StopWorkload
from transports.simulated.board import BoardConfig
from transports.tests.simulated_rig import Rig
from transports.tests.talk_rig import Reader
from transports.wire.conversation_messages import Attach
from transports.wire.numbers import Code, Method

SCREEN = TerminalSize(80, 24)


def joined(**config: int) -> Rig:
    rig = Rig(BoardConfig(slots=4, **config))  # type: ignore[arg-type]  # a test names its settings
    rig.join()
    rig.start("hello", env=("MODE=lab",))
    return rig


def begun(rig: Rig, *argv: str, terminal: TerminalSize | None = None, run: tuple[int, int] = (1, 1)) -> CoreCommand:
    command = rig.gateway.begin_command(run, argv, terminal, lambda: None, rig.now)
    rig.run_until(lambda: command.has_begun)
    return command


def ran(rig: Rig, *argv: str, stdin: bytes = b"") -> tuple[bytes, bytes, CommandEnd]:
    """Its outputs and its end."""
    command, said = begun(rig, *argv), [stdin]
    person = Reader(command)

    def step() -> object:
        said[0] = said[0][command.write(said[0]) :]
        if not said[0]:
            command.end_input()
        return person.look()

    rig.run_until(step, limit_s=300)
    assert person.end is not None
    return person.out, person.err, person.end


@pytest.mark.parametrize(
    ("argv", "out", "err", "code"),
    [
        (["echo", "two", "words"], b"two words\n", b"", 0),
        (["env"], b"MODE=lab\n", b"", 0),
        (["exit", "3"], b"", b"", 3),
        (["exit", "x"], b"", b"exit: 'x' is not an exit code from 0 to 255\n", 2),
        (["size"], b"", b"size: there is no terminal\n", 1),
        (["counter", "--rate", "1000", "--count", "3"], b"1\n2\n3\n", b"", 0),
    ],
)
def test_programs_are_commands_too(argv: list[str], out: bytes, err: bytes, code: int) -> None:
    assert ran(joined(), *argv) == (out, err, CommandEnd(code))


def test_a_panic_has_its_signal() -> None:
    assert ran(joined(), "crash") == (b"", b"panic: crash was asked for\n", CommandEnd(134, "ABRT"))


def test_what_is_copied_is_the_same_byte_for_byte() -> None:
    data = bytes(range(256)) * 100 + b"\n\nno end of a line"
    assert ran(joined(), "cat", stdin=data) == (data, b"", CommandEnd(0))
    assert ran(joined(), "tee", stdin=data) == (data, data, CommandEnd(0))
    assert ran(joined(), "firehose", "--count", "500")[0].count(b"\n") == 500


def test_a_board_stays_itself_after_many_commands() -> None:
    rig = joined(conversations=1)
    for _ in range(30):
        assert ran(rig, "echo", "x")[0] == b"x\n"
    assert rig.lines() == ["hello from sim-0"]


def test_what_cannot_be_run_is_said() -> None:
    rig = joined()
    with pytest.raises(DeviceError, match=r"no command 'ls'; there are: args, cat"):
        begun(rig, "ls")
    with pytest.raises(DeviceError, match="is not there"):
        begun(rig, "echo", run=(1, 2))
    rig.request(StopWorkload(1, 1, 0))
    rig.exit_of()
    with pytest.raises(DeviceError, match="has ended"):
        begun(rig, "echo")


def test_a_command_ends_with_its_run() -> None:
    rig = joined()
    person = Reader(begun(rig, "cat"))
    rig.request(StopWorkload(1, 1, 0))
    rig.run_until(person.look)
    assert person.end == CommandEnd(137, "KILL")


def test_a_board_with_room_for_one_refuses_the_second() -> None:
    rig = joined(conversations=1)
    first = begun(rig, "cat")
    with pytest.raises(DeviceError, match="it has room for 1 conversation, and 1 are open"):
        begun(rig, "echo")
    first.leave()
    rig.run_until(lambda: not rig.gateway.talk_channels())
    assert ran(rig, "echo", "free")[0] == b"free\n"


def test_a_board_without_conversations_is_asked_for_none() -> None:
    rig = joined(conversations=0)
    with pytest.raises(DeviceError, match="capability exec"):
        begun(rig, "echo")
    with pytest.raises(DeviceError, match="capability stdin"):
        rig.gateway.request(SendInput(1, 1, b"x"), rig.now)


def test_a_command_may_restart_the_board() -> None:
    rig = joined()
    person = Reader(begun(rig, "reboot", "0.01"))
    with pytest.raises(SessionLost, match="ended in the middle"):
        rig.run_until(person.look)
    assert person.out == b"rebooting\n"
    assert rig.board.boots == 2


# -- a terminal


def test_a_terminal_echoes_edits_and_interrupts() -> None:
    rig = joined()
    command = begun(rig, "cat", terminal=SCREEN)
    person = Reader(command)
    command.write(b"helo\x7flo\r")
    rig.run_until(lambda: person.look() or person.out.endswith(b"\r\nhello\r\n"))
    assert person.out == b"helo\b \blo\r\nhello\r\n"
    command.write(b"more\x03")
    rig.run_until(person.look)
    assert person.out.endswith(b"more^C\r\n")
    assert person.end == CommandEnd(130, "INT")


def test_the_end_key_ends_a_terminals_input() -> None:
    rig = joined()
    command = begun(rig, "cat", terminal=SCREEN)
    person = Reader(command)
    command.write(b"half\x04")
    rig.run_until(lambda: person.look() or person.out == b"halfhalf")
    command.write(b"\x04")
    rig.run_until(person.look)
    assert person.end == CommandEnd(0)


def test_a_terminal_knows_its_size() -> None:
    rig = joined()
    command = begun(rig, "size", terminal=SCREEN)
    person = Reader(command)
    rig.run_until(lambda: person.look() or person.out == b"80 columns, 24 rows\r\n")
    command.resize(TerminalSize(132, 50))
    rig.run_until(lambda: person.look() or person.out.endswith(b"132 columns, 50 rows\r\n"))


# -- a workload that reads


def typed(rig: Rig, data: bytes, *, is_end: bool = False, wid: int = 2) -> Answered:
    return rig.request(SendInput(wid, 1, data, is_end))


def test_a_workload_reads_what_typists_say_one_after_the_other() -> None:
    rig = joined()
    slot = rig.start("cat", wid=2, stdin=True).slot
    assert typed(rig, b"one\ntw").code == 0
    rig.gateway.typist_left(2, 1)
    assert typed(rig, b"o\n").code == 0
    rig.run_until(lambda: rig.lines(slot) == ["one", "two"])
    assert typed(rig, b"", is_end=True).code == 0
    assert rig.exit_of(2).exit_code == 0
    assert typed(rig, b"nobody reads this").code == 0  # the end of the log says why
    rig.gateway.typist_left(2, 1)
    late = typed(rig, b"x")
    assert (late.code, late.text) == (8, "the workload has ended")


def test_a_workloads_terminal_turns_returns_into_lines() -> None:
    rig = joined()
    slot = rig.start("cat", wid=2, stdin=True, tty=True).slot
    typed(rig, b"line\r")
    rig.run_until(lambda: rig.lines(slot) == ["line"])


@pytest.mark.parametrize(("program", "stdin", "text"), [("hello", False, "it was started without"), ("hello", True, None)])
def test_only_who_asked_for_input_gets_any(program: str, stdin: bool, text: str | None) -> None:
    rig = joined()
    rig.start(program, wid=2, stdin=stdin)
    answer = typed(rig, b"x")
    assert (answer.code, answer.text) == ((0, "") if text is None else (8, text))


def test_a_second_writer_is_refused_by_the_board_too() -> None:
    rig = joined()
    rig.start("cat", wid=2, stdin=True)
    typed(rig, b"x")
    code, body = rig.board.on_request(Method.ATTACH, Attach(2, 1, 200).to_map(), rig.now)
    assert (code, body) == (Code.BUSY, {30: "somebody else types to it"})


def test_an_input_outlives_the_session() -> None:
    rig = joined()
    slot = rig.start("cat", wid=2, stdin=True).slot
    typed(rig, b"before\n")
    rig.unplug()
    rig.run_for(1)
    rig.plug()
    rig.join()
    typed(rig, b"after\n")
    rig.run_until(lambda: rig.lines(slot) == ["before", "after"])


def test_unread_input_holds_its_buffer_until_the_run_is_removed() -> None:
    rig = joined(conversations=1)
    rig.start("hello", wid=2, stdin=True)
    typed(rig, b"nobody reads this")
    rig.gateway.typist_left(2, 1)
    with pytest.raises(DeviceError, match="room for 1"):
        begun(rig, "echo")
    rig.request(StopWorkload(2, 1, 0))
    rig.exit_of(2)
    rig.request(RemoveWorkload(2, 1))
    assert ran(rig, "echo", "x")[0] == b"x\n"
