"""Whatever goes wrong with a command: one line says what and what to do, the exit code is that of the table, and there is no traceback."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
import yaml
from gateways import CLI_TIMEOUT_S, WIRELET, Gateway, device
from own_terminal import OwnTerminal
from processes import Process
from workbench import Workbench

from gateway.cli import COMMANDS

POD: Final = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "hello"},
    "spec": {"containers": [{"name": "main", "image": "counter", "stdin": True}]},
}
WITHOUT_RIGHTS: Final = """
import contextlib, os, sys
from gateway.cli import COMMANDS, command_parser, main
for name in COMMANDS:
    command_parser(name)
with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
    main(["check-config", "/nowhere"]), main(["exec", "hello", "--", "true"])  # all that is imported may be nobody else's to read
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""
AT_THE_GATEWAY: Final[Mapping[str, list[str]]] = {
    "get": ["get", "devices"],
    "logs": ["logs", "hello"],
    "attach": ["attach", "hello"],
    "exec": ["exec", "hello", "--", "true"],
    "lend": ["lend", "board", "--", "true"],
    "reset": ["reset", "board"],
    "power": ["power", "board", "cycle"],
}
"""Each command that asks one."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One board with a pod on it."""
    folder = tmp_path_factory.mktemp("desk")
    started: list[Process] = []
    table = Workbench(folder, started)
    try:
        (folder / "pods").mkdir()
        (folder / "pods" / "hello.yaml").write_text(yaml.safe_dump(POD))
        configuration = {
            "node": {"name": "desk"},
            "classes": [{"name": "sim", "shared": True}],
            "devices": [device("board", "sim", table.boards().links[0])],
        }
        gateway = table.gateway(configuration, "--standalone", "--manifests", str(folder / "pods"))
        gateway.process.wait_for(lambda: "1/1" in gateway.cli("get", "pods"), "the pod")
        yield gateway
    finally:
        table.clear()


Ran = subprocess.CompletedProcess[str]


def ran(*words: str, path: Path = Path("/nowhere"), program: Sequence[str] = WIRELET) -> Ran:
    """path is the gateway's socket."""
    return subprocess.run(
        [*program, *words],
        env={**os.environ, "WIRELET_SOCKET": str(path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLI_TIMEOUT_S,
        check=False,
    )


def as_nobody(*words: str, path: Path = Path("/nowhere")) -> Ran:
    return ran(*words, path=path, program=[sys.executable, "-c", WITHOUT_RIGHTS])


def assert_one_line(found: Ran, code: int, told: str) -> None:
    assert (found.returncode, found.stdout) == (code, ""), found
    assert found.stderr.count("\n") == 1, found.stderr
    assert re.fullmatch(told, found.stderr.rstrip("\n")), found.stderr


# -- a wrong line

WRONG_LINES: Final = [
    ([], "wirelet: .*COMMAND.*; see wirelet --help"),
    (["frobnicate"], "wirelet: .*'frobnicate'.*; see wirelet --help"),
    (["get"], "wirelet get: .*; see wirelet get --help"),
    (["get", "nodes"], "wirelet get: .*'nodes'; there are: pods, devices, events; see wirelet get --help"),
    (["get", "pods", "-o", "xml"], "wirelet get: .*'xml'.*; see wirelet get --help"),
    (["get", "pods", "--colour"], "wirelet get: .*--colour; see wirelet get --help"),
    (["get", "pods", "--all"], "wirelet get: --all is for devices, without a name"),
    (["logs", "hello", "--tail", "some"], "wirelet logs: .*'some'; see wirelet logs --help"),
    (["power", "board", "up"], "wirelet power: .*'up'.*; see wirelet power --help"),
    (["exec", "hello"], "wirelet exec: say what to run: wirelet exec hello -- uptime; options stand before the name"),
    (["exec", "hello", "-it", "--", "sh"], "wirelet exec: say what to run: .*; options stand before the name"),
    (["lend", "board", "--link", "debug", "--", "sh"], "wirelet lend: say what to run: .*; options stand before the name"),
    (["run", "--standalone"], "wirelet run: --standalone and --manifests DIR come together; .*"),
    (["simulate", "--link", "x", "--slots", "900"], "wirelet simulate: .*'900' is not a number from 1 to 31; see wirelet simulate --help"),
    (["udev", "install", "-o", "json"], "wirelet udev: --output is for check; leave it out: wirelet udev install"),
    (["completion", "tcsh"], "wirelet completion: .*'tcsh'.*; see wirelet completion --help"),
]


@pytest.mark.parametrize(("words", "told"), WRONG_LINES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_line_is_exit_code_2_and_names_the_word(words: Sequence[str], told: str) -> None:
    assert_one_line(ran(*words), 2, told)


# -- a configuration

READS: Final = {"run": ["run", "--config"], "doctor": ["doctor", "--config"], "check-config": ["check-config"]}
FILES: Final[Mapping[str, tuple[Callable[[Path], object], str]]] = {
    "missing": (lambda path: None, "cannot read {path}: No such file or directory; write it, or name the one that you have"),
    "a folder": (Path.mkdir, "cannot read {path}: Is a directory; name the file in it"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe"), "{path} is not UTF-8 text; save it as that"),
    "no YAML": (lambda path: path.write_text("a: ["), "{path}: not YAML in line 1: .*"),
    "a list": (lambda path: path.write_text("[]"), "{path}: must be a mapping with apiVersion: .*"),
    "a wrong value": (
        lambda path: path.write_text("node: {name: pi}\nserver: {port: many}"),
        "server.port: must be a whole number, not 'many'",
    ),
}


@pytest.mark.parametrize("command", READS)
@pytest.mark.parametrize("kind", FILES)
def test_a_configuration_that_cannot_be_used_is_named(kind: str, command: str, tmp_path: Path) -> None:
    make, told = FILES[kind]
    make(tmp_path / "gateway.yaml")
    prefix = "" if command == "check-config" else f"wirelet {command}: "
    assert_one_line(ran(*READS[command], str(tmp_path / "gateway.yaml")), 1, prefix + told.format(path=tmp_path / "gateway.yaml"))


def test_a_configuration_that_is_somebody_elses_is_named(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("root")
    file = tmp_path / "gateway.yaml"
    file.write_text("node: {name: pi}\n")
    file.chmod(0o600)
    told = f"cannot read {file}: Permission denied; run this as the user the gateway runs as"
    assert_one_line(as_nobody("check-config", str(file)), 1, told)


# -- the gateway

SOCKETS: Final[Mapping[str, tuple[Callable[[Path], object], str]]] = {
    "missing": (
        lambda path: None,
        "no gateway at {path}; start one with `wirelet run`, or name its socket with --socket or WIRELET_SOCKET",
    ),
    "a file": (Path.touch, "{path} is no socket; name that of the gateway with --socket or WIRELET_SOCKET"),
    "left over": (lambda path: _left_over(path), "the gateway of {path} is not running; start it with `wirelet run`, or name another .*"),
}


def _left_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("command", AT_THE_GATEWAY)
@pytest.mark.parametrize("kind", SOCKETS)
def test_a_gateway_that_is_not_there_is_told_with_its_socket(kind: str, command: str, tmp_path: Path) -> None:
    make, told = SOCKETS[kind]
    path = tmp_path / "s"
    make(path)
    found = ran(*AT_THE_GATEWAY[command], path=path)
    assert_one_line(found, 1, f"wirelet {command}: {told.format(path=path)}")


@pytest.mark.parametrize("command", AT_THE_GATEWAY)
def test_a_socket_that_is_somebody_elses_is_told(gateway: Gateway, command: str, need: Callable[[str], None]) -> None:
    need("root")
    found = as_nobody(*AT_THE_GATEWAY[command], path=gateway.socket)
    assert_one_line(found, 1, f"wirelet {command}: you may not use {gateway.socket}; run this as the user the gateway runs as")


ANSWERS: Final[Mapping[str, tuple[bytes, str]]] = {
    "none": (b"", "cannot talk to the gateway at {path}: .*; is --socket its socket\\?"),
    "half": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{",
        "(the gateway left in the middle of|what answers at {path} is no gateway).*",
    ),
    "a list": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "what answers at {path} is no gateway; is --socket its socket\\?"),
}


LOOKED_AT: Final = [
    (command, kind) for command in AT_THE_GATEWAY for kind in ANSWERS if command not in ("reset", "power") or kind != "a list"
]
"""Those two ask for nothing but the 200."""


@pytest.mark.parametrize(("command", "kind"), LOOKED_AT)
def test_what_is_no_gateway_or_leaves_in_the_middle_is_told(command: str, kind: str, tmp_path: Path) -> None:
    answer, told = ANSWERS[kind]
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        found = ran(*AT_THE_GATEWAY[command], path=path)
        thread.join(CLI_TIMEOUT_S)
    assert_one_line(found, 1, f"wirelet {command}: {told.format(path=path)}")


UNKNOWN: Final = [
    (["get", "devices", "board-z"], 'wirelet get: no device "board-z"; there are: board'),
    (["get", "pods", "gone"], 'wirelet get: no pod "gone" in namespace default; there are: hello'),
    (["logs", "gone"], 'wirelet logs: no pod "gone" in namespace default; there are: hello'),
    (["logs", "hello", "-c", "x"], 'wirelet logs: container "x" not found in pod "hello"; see what there is: .*'),
    (["logs", "hello", "-p"], 'wirelet logs: previous terminated container "main" in pod "hello" not found; see what there is: .*'),
    (["logs", "device/board-z"], 'wirelet logs: there is no device "board-z"; there are: board; see what there is: .*'),
    (["attach", "gone"], 'wirelet attach: no pod "gone" in namespace default; there are: hello'),
    (["attach", "hello", "-c", "x"], 'wirelet attach: container "x" not found in pod "hello".*'),
    (["exec", "gone", "--", "true"], 'wirelet exec: no pod "gone" in namespace default; there are: hello'),
    (["exec", "-c", "x", "hello", "--", "true"], 'wirelet exec: container "x" not found in pod "hello".*'),
    (["lend", "board-z", "--", "true"], 'wirelet lend: there is no device "board-z"; there are: board'),
    (["lend", "--link", "debug", "board", "--", "true"], "wirelet lend: board has no link debug; there are besides its own: none"),
    (["reset", "board-z"], 'wirelet reset: there is no device "board-z"; there are: board'),
    (["reset", "board"], "wirelet reset: board has nothing for it: class sim needs hooks.reset, .*"),
    (["power", "board", "off"], "wirelet power: board has nothing for it: class sim needs hooks.power.off, .*"),
]


@pytest.mark.parametrize(("words", "told"), UNKNOWN, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_the_gateway_does_not_have_is_named_beside_what_it_has(gateway: Gateway, words: Sequence[str], told: str) -> None:
    assert_one_line(gateway.run_cli(*words), 1, told)


# -- standard output, and Ctrl-C

ENDLESS: Final = {
    "get": ["get", "devices", "-w"],
    "logs": ["logs", "-f", "hello"],
    "attach": ["attach", "hello"],
}
WRITES: Final = {
    **ENDLESS,
    "--help": ["--help"],
    "--version": ["--version"],
    "get -o yaml": ["get", "devices", "-o", "yaml"],
    "agent": ["agent", "--print"],
    "completion": ["completion", "zsh"],
    "check-config": ["check-config", "{config}"],
    "simulate": ["simulate", "--link", "{folder}/other"],
}


def filled(words: Sequence[str], gateway: Gateway) -> list[str]:
    return [*WIRELET, *(word.format(config=gateway.config_file, folder=gateway.folder) for word in words)]


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", WRITES)
def test_a_full_disk_is_told(gateway: Gateway, command: str, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            filled(WRITES[command], gateway),
            env={**gateway.cli_env, "PYTHONUNBUFFERED": unbuffered},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=CLI_TIMEOUT_S,
            check=False,
        )
    assert (found.returncode, found.stderr) == (
        1,
        "wirelet: cannot write the output: No space left on device; make room, or write it elsewhere\n",
    )


@pytest.mark.parametrize("command", sorted(WRITES.keys() - {"simulate"}))  # its boards live on, whoever reads
def test_a_reader_that_has_enough_ends_it_quietly(gateway: Gateway, command: str) -> None:
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        filled(WRITES[command], gateway), env=gateway.cli_env, stdin=subprocess.DEVNULL, stdout=write_end, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(write_end)
        os.close(read_end)
        _, told = process.communicate(timeout=CLI_TIMEOUT_S)
    assert (process.returncode, told) == (0, "")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_closed_standard_stream_is_as_good_as_dev_null(gateway: Gateway, closed: str) -> None:
    for words in ("get pods", "logs --tail 1 hello", "exec hello -- true", f"check-config {gateway.config_file}"):
        line = f"{' '.join(WIRELET)} {words} {closed}"
        found = subprocess.run(["sh", "-c", line], env=gateway.cli_env, capture_output=True, text=True, timeout=CLI_TIMEOUT_S, check=False)
        assert found.returncode == int(words.startswith("exec")), (words, found)  # this board runs no second program
        assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", ENDLESS)
def test_ctrl_c_ends_what_goes_on_for_ever_with_130_and_not_a_word(gateway: Gateway, command: str) -> None:
    with OwnTerminal(filled(ENDLESS[command], gateway), gateway.cli_env) as terminal:
        terminal.wait_for("\n")
        terminal.type("\x03")
        shown = terminal.read_to_end()
    assert terminal.process.returncode == 130
    assert "Traceback" not in shown


@pytest.mark.parametrize("command", ["run", "simulate"])
def test_ctrl_c_is_how_a_gateway_and_a_board_are_ended(command: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(f"node: {{name: desk}}\nruntimeDirectory: {tmp_path}/run\nstateDirectory: {tmp_path}/state\n")
    words = {
        "run": ["run", "--standalone", "--config", str(tmp_path / "gateway.yaml"), "--manifests", str(tmp_path)],
        "simulate": ["simulate", "--link", str(tmp_path / "board")],
    }
    with OwnTerminal([*WIRELET, *words[command]], os.environ) as terminal:
        terminal.wait_for({"run": "INFO gateway runs", "simulate": "ready "}[command])
        terminal.type("\x03")
        shown = terminal.read_to_end()
    assert terminal.process.returncode == 0
    assert "Traceback" not in shown


def test_a_terminal_is_not_made_of_a_pipe(gateway: Gateway) -> None:
    """-t goes on without one, as kubectl's does."""
    argv = [*WIRELET, "attach", "-it", "hello"]
    with subprocess.Popen(argv, env=gateway.cli_env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as attached:
        assert attached.stderr is not None
        assert attached.stdout is not None
        assert attached.stderr.readline() == b"wirelet attach: standard input is no terminal; going on without -t\n"
        assert attached.stdout.readline().endswith(b"\n")
        attached.send_signal(signal.SIGINT)
        _, rest = attached.communicate(timeout=CLI_TIMEOUT_S)
    assert (attached.returncode, rest) == (130, b"")


def test_every_command_is_somewhere_in_these_tables() -> None:
    tried = {words[0] for words, _ in (*WRONG_LINES, *UNKNOWN) if words} | set(READS) | {words[0] for words in WRITES.values()}
    assert set(COMMANDS) - tried == set()
