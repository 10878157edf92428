"""What a person meets at a terminal: completion in real shells, colours, progress; and none of that in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml
from gateways import WIRELET, Gateway, device
from needs import need
from own_terminal import OwnTerminal
from workbench import Workbench

GREEN, END = "\x1b[32m", "\x1b[0m"
POD: Final = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "hello"},
    "spec": {"containers": [{"name": "main", "image": "counter"}]},
}


@pytest.fixture
def gateway(workbench: Workbench, tmp_path: Path) -> Gateway:
    """board-a and board-b of a class with slow hooks, and a pod."""
    boards = workbench.boards(2)
    (tmp_path / "pods").mkdir()
    (tmp_path / "pods" / "hello.yaml").write_text(yaml.safe_dump(POD))
    (tmp_path / "go").touch()
    hooks = {"reset": {"command": ["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done"], "deadline": "30s"}}
    configuration = {
        "node": {"name": "desk"},
        "classes": [{"name": "sim", "slots": 1, "shared": True, "hooks": hooks}],
        "devices": [device("board-a", "sim", boards.links[0]), device("board-b", "sim", boards.links[1])],
    }
    gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(tmp_path / "pods"))
    gateway.process.wait_for(lambda: gateway.cli("get", "devices").count("Ready") == 2, "the boards")
    gateway.process.wait_for(lambda: "1/1" in gateway.cli("get", "pods"), "the pod")
    return gateway


def at_hand(gateway: Gateway, **more: str) -> dict[str, str]:
    """The environment of somebody who has `wirelet` on the path."""
    environment = {**gateway.cli_env, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **more}
    return environment if "NO_COLOR" in more else {name: value for name, value in environment.items() if name != "NO_COLOR"}


LINES: Final[tuple[tuple[list[str], list[str]], ...]] = (
    (["wirelet", "re"], ["reset"]),
    (["wirelet", "reset", ""], ["board-a", "board-b"]),
    (["wirelet", "lend", "board-b"], ["board-b"]),
    (["wirelet", "logs", ""], ["hello", "device/board-a", "device/board-b"]),
    (["wirelet", "logs", "-n", "elsewhere", "h"], []),
    (["wirelet", "logs", "hello", "-c", ""], ["main"]),
    (["wirelet", "get", "d"], ["devices"]),
    (["wirelet", "get", "devices", "board-a"], ["board-a"]),
    (["wirelet", "get", "pods", "-o", "y"], ["yaml"]),
    (["wirelet", "get", "pods", "--output", "=", "w"], ["wide"]),
    (["wirelet", "get", "--all-n"], ["--all-namespaces"]),
    (["wirelet", "completion", "z"], ["zsh"]),
    (["wirelet", "no-such-command", ""], []),
)


def test_bash_completes_commands_options_and_names(gateway: Gateway) -> None:
    program = 'source <(wirelet completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wirelet; printf "%s\\n" "${COMPREPLY[@]}"'
    for words, found in LINES:
        shell = subprocess.run(["bash", "-c", program, "bash", *words], env=at_hand(gateway), capture_output=True, text=True, check=True)
        assert (words, shell.stdout.split(), shell.stderr) == (words, found, "")


def test_what_is_lent_completes_as_a_command_of_its_own(gateway: Gateway) -> None:
    program = (
        'source <(wirelet completion bash); COMP_WORDS=(wirelet lend board-a -- mkfif); COMP_CWORD=4; _wirelet; echo "${COMPREPLY[@]}"'
    )
    assert set(subprocess.check_output(["bash", "-c", program], env=at_hand(gateway), text=True).split()) == {"mkfifo"}


SHELLS: Final[Mapping[str, tuple[list[str], str]]] = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(wirelet completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(wirelet completion zsh)"),
    "fish": (["fish", "--private", "--no-config"], "wirelet completion fish | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tab_key_completes_a_device(gateway: Gateway, shell: str, tmp_path: Path) -> None:
    need(shell)
    argv, set_up = SHELLS[shell]
    with OwnTerminal(argv, at_hand(gateway, HOME=str(tmp_path), PS1="> ")) as terminal:
        terminal.type(f"{set_up}; echo set''up\n")
        terminal.wait_for("setup\r\n")
        terminal.type("wirelet get dev\tboard-b\t -o js\t\n")
        terminal.wait_for('"name": "board-b"')


def test_a_table_has_colours_on_a_terminal(gateway: Gateway) -> None:
    with OwnTerminal([*WIRELET, "get", "devices"], at_hand(gateway)) as terminal:
        shown = terminal.read_to_end()
    assert f" {GREEN}Ready{END} " in shown
    assert shown.replace(GREEN, "").replace(END, "").splitlines()[0] == gateway.cli("get", "devices").splitlines()[0]


@pytest.mark.parametrize("no", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_table_has_no_colours_for_who_wants_none(gateway: Gateway, no: Mapping[str, str]) -> None:
    argv = ["env", *(f"{name}={value}" for name, value in no.items()), *WIRELET, "get", "devices"]
    with OwnTerminal(argv, at_hand(gateway)) as terminal:
        assert "\x1b" not in terminal.read_to_end()


def test_a_table_has_no_colours_in_a_pipe(gateway: Gateway) -> None:
    out = subprocess.check_output([*WIRELET, "get", "devices"], env={**at_hand(gateway), "TERM": "xterm"}, text=True)
    assert "Ready" in out
    assert "\x1b" not in out


def test_a_terminal_tells_what_is_waited_for_and_takes_it_back(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "go").unlink()
    with OwnTerminal([*WIRELET, "reset", "board-b"], at_hand(gateway)) as terminal:
        terminal.wait_for("waiting: board-b is being reset (1s)")
        (tmp_path / "go").touch()
        assert terminal.read_to_end().rpartition("\x1b[K")[2] == ""
    assert terminal.process.returncode == 0


def test_nothing_is_told_of_waiting_in_a_pipe(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "go").unlink()
    argv = [*WIRELET, "reset", "board-b"]
    with subprocess.Popen(argv, env=at_hand(gateway), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as reset:
        with pytest.raises(subprocess.TimeoutExpired):
            reset.wait(1.5)  # long enough for a line on a terminal
        (tmp_path / "go").touch()
        assert reset.communicate(timeout=30)[0] == ""
    assert reset.returncode == 0


@pytest.mark.parametrize("kind", ["pods", "devices", "events"])
def test_every_list_is_a_table_wide_json_and_yaml(gateway: Gateway, kind: str) -> None:
    table, wide = (gateway.cli("get", kind, "-o", form).splitlines() for form in ("table", "wide"))
    assert len(wide[0]) > len(table[0])
    as_json, as_yaml = (yaml.safe_load(gateway.cli("get", kind, "-o", form)) for form in ("json", "yaml"))
    assert as_yaml["items"]
    assert [list(row) for row in as_yaml["items"]] == [list(row) for row in as_json["items"]]


LOOKS: Final[Mapping[str, tuple[list[str], str]]] = {
    "check-config": (["check-config", "{config}"], "problems"),
    "doctor": (["doctor", "--config", "{config}"], "findings"),
    "udev check": (["udev", "check", "--root", "{folder}"], "findings"),
}


@pytest.mark.parametrize("command", LOOKS)
def test_what_a_look_finds_is_a_document_with_the_rows_of_its_table(gateway: Gateway, command: str) -> None:
    words, found = LOOKS[command]
    argv = [word.format(config=gateway.config_file, folder=gateway.folder) for word in words]
    table, as_json, as_yaml = (gateway.run_cli(*argv, "-o", form) for form in ("table", "json", "yaml"))
    assert (as_json.stderr, as_yaml.stderr) == ("", "")
    assert table.returncode == as_json.returncode == as_yaml.returncode
    document = yaml.safe_load(as_json.stdout)
    assert document == yaml.safe_load(as_yaml.stdout)
    assert list(document) == ["items", found]
    titles = [line.split() for line in table.stdout.splitlines() if line.isupper()]
    assert titles == ([[key.upper() for key in document["items"][0]]] if document["items"] else [])
    assert len(table.stderr.splitlines()) == len(document[found])


def test_a_wrong_configuration_is_a_document_too(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("node: {name: pi}\nserver: {port: many}\n")
    ran = subprocess.run(
        [*WIRELET, "check-config", str(tmp_path / "gateway.yaml"), "-o", "json"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    problem = {"path": "server.port", "problem": "must be a whole number, not 'many'"}
    assert yaml.safe_load(ran.stdout) == {"items": [], "problems": [problem]}
