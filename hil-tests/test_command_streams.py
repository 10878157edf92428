"""Where a command's output goes and how it is interrupted: a full disk, a reader that left, closed streams, Ctrl-C, no terminal."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from gateways import CLI_TIMEOUT_S, WIRELET, Gateway
from one_board import gateway
from own_terminal import OwnTerminal

__all__ = ["gateway"]  # a fixture

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
