"""Whatever goes wrong with a command: one line says what and what to do, the exit code is that of the table, and there is no traceback."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from gateways import CLI_TIMEOUT_S, WIRELET, Gateway
from needs import OWN_MOUNTS
from one_board import gateway

__all__ = ["gateway"]  # a fixture

WITHOUT_RIGHTS: Final = """
import anyio, contextlib, os, sys
from gateway.cli import COMMANDS, command_parser, main
for name in COMMANDS:
    command_parser(name)
with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
    main(["check-config", "/nowhere"]), main(["exec", "hello", "--", "true"]), main(["run", "--standalone", "--manifests", "/"])
    anyio.run(anyio.sleep, 0)  # all that is imported may be nobody else's to read
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


# -- a configuration and folders


def test_a_gateway_without_its_folders_or_a_configuration_says_which(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(f"node: {{name: desk}}\nruntimeDirectory: /proc/none\nstateDirectory: {tmp_path}/state\n")
    for words, told in (
        (["--manifests", f"{tmp_path}/none"], f"there is no folder {tmp_path}/none; make it, or name another with --manifests"),
        (["--manifests", str(tmp_path)], "node: is required; a configuration is named with --config"),
        (
            ["--manifests", str(tmp_path), "--config", f"{tmp_path}/gateway.yaml"],
            "runtimeDirectory: cannot use /proc/none: No such file or directory; choose another directory",
        ),
    ):
        assert_one_line(ran("run", "--standalone", *words), 1, f"wirelet run: {told}")


@pytest.mark.parametrize("key", ["runtimeDirectory", "stateDirectory"])
def test_a_directory_that_is_somebody_elses_is_named(key: str, tmp_path: Path, need: Callable[[str], None]) -> None:
    need("root")
    with tempfile.TemporaryDirectory() as place:  # not below tmp_path, which is nobody else's
        folder = Path(place)
        folder.chmod(0o755)
        for name, mode in (("pods", 0o755), ("open", 0o777), ("shut", 0o700)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        directories = {"runtimeDirectory": f"{folder}/open/run", "stateDirectory": f"{folder}/open/state", key: f"{folder}/shut"}
        (folder / "gateway.yaml").write_text(json.dumps({"node": {"name": "pi"}, **directories}))
        found = as_nobody("run", "--standalone", "--config", f"{folder}/gateway.yaml", "--manifests", f"{folder}/pods")
    assert_one_line(found, 1, f"wirelet run: {key}: cannot use {folder}/shut: Permission denied; choose another directory")


def test_a_state_directory_without_room_is_told_as_that(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("tmpfs")
    for name in ("state", "pods"):
        (tmp_path / name).mkdir()
    (tmp_path / "gateway.yaml").write_text("node: {name: pi}\nruntimeDirectory: run\nstateDirectory: state\n")
    mounted = [*OWN_MOUNTS, "sh", "-c", f'mount -t tmpfs -o size=32k tmpfs {tmp_path}/state && cd {tmp_path} && exec "$@"', "sh", *WIRELET]
    found = ran("run", "--standalone", "--config", "gateway.yaml", "--manifests", "pods", program=mounted)
    told = "wirelet run: stateDirectory: state/ledger.sqlite: there is no room on that file system; make some, or choose another directory"
    assert_one_line(found, 1, told)


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
    (["attach", "hello", "-c", "x"], 'wirelet attach: container "x" not found in pod "hello"; see what there is: .*'),
    (["exec", "gone", "--", "true"], 'wirelet exec: no pod "gone" in namespace default; there are: hello'),
    (["exec", "-c", "x", "hello", "--", "true"], 'wirelet exec: container "x" not found in pod "hello"; see what there is: .*'),
    (["lend", "board-z", "--", "true"], 'wirelet lend: there is no device "board-z"; there are: board'),
    (["lend", "--link", "debug", "board", "--", "true"], "wirelet lend: board has no link debug; there are besides its own: none"),
    (["reset", "board-z"], 'wirelet reset: there is no device "board-z"; there are: board'),
    (["reset", "board"], "wirelet reset: board has nothing for it: class sim needs hooks.reset, .*"),
    (["power", "board", "off"], "wirelet power: board has nothing for it: class sim needs hooks.power.off, .*"),
]


@pytest.mark.parametrize(("words", "told"), UNKNOWN, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_the_gateway_does_not_have_is_named_beside_what_it_has(gateway: Gateway, words: Sequence[str], told: str) -> None:
    assert_one_line(gateway.run_cli(*words), 1, told)
