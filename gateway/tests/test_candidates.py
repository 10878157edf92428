"""What a half-typed command line may become."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import cli
from gateway.cli.candidates import COMMAND, DIRECTORIES, FILES, candidates

ROWS: dict[str, list[dict[str, Any]]] = {
    "pods": [
        {"namespace": "default", "name": "one", "containers": ["main", "side"]},
        {"namespace": "lab", "name": "two", "containers": ["only"]},
    ],
    "devices": [{"name": "board-a"}, {"name": "rig"}],
}


def found(*words: str) -> list[str]:
    return candidates(words, list(cli.COMMANDS), cli.command_parser, ROWS.__getitem__)


@pytest.mark.parametrize(
    ("line", "may_be"),
    [
        ("lo", ["logs"]),
        ("--v", ["--version"]),
        ("power b", ["board-a"]),
        ("get pods ", ["one"]),
        ("get pods -A ", ["one", "two"]),
        ("get -n lab pods ", ["two"]),
        ("get dev ", ["board-a", "rig"]),
        ("get pods -n ", ["default", "lab"]),
        ("get pods --namespace=l", ["--namespace=lab"]),
        ("get pods --output = j", ["json"]),
        ("get pods --output =", ["table", "wide", "json", "yaml"]),
        ("get pods --al", ["--all", "--all-namespaces"]),
        ("get pods -A --all-n", []),
        ("logs one -c ", ["main", "side"]),
        ("logs device/r", ["device/rig"]),
        ("logs --tail ", []),
        ("attach -n lab ", ["two"]),
        ("exec one -- up", []),
        ("lend ", ["board-a", "rig"]),
        ("lend rig -- es", [COMMAND]),
        ("lend rig -- esptool firm", [FILES]),
        ("lend rig -- esptool -", [FILES]),
        ("check-config ", [FILES]),
        ("run --manifests ", [DIRECTORIES]),
        ("get pods --socket /run/w", [FILES]),
        ("reset rig ", []),
        ("nothing ", []),
        ("udev ch", ["check"]),
    ],
)
def test_a_word_becomes_what_its_command_understands(line: str, may_be: list[str]) -> None:
    assert found(*line.split(" ")) == may_be


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_option_of_every_command_is_offered(command: str) -> None:
    options = [word for action in cli.command_parser(command)._actions for word in action.option_strings]
    assert found(command, "-") == options
