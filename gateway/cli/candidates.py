"""What the word under the cursor may become: taken from the commands' own parsers, so that it never says what they do not know.

An argument's metavar says what it is: DEVICE is the name of a device, FILE one of the shell's files. Names come from the gateway.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

FILES: Final = ":files"
DIRECTORIES: Final = ":directories"
COMMAND: Final = ":command"
"""In place of candidates: the shell knows better. No word of ours begins with a colon."""
_BY_SHELL: Final = {"FILE": FILES, "PATH": FILES, "DIR": DIRECTORIES, "-- PROGRAM": COMMAND}
_EQUALS: Final = "="
"""A word of its own in bash."""
Rows = Callable[[str], list[dict[str, Any]]]
"""pods or devices -> its rows; none when the gateway does not answer."""


@dataclass(slots=True)
class Typed:
    """A command line as far as it was understood, up to the word under the cursor."""

    positionals: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    """dest -> value, also those without any."""
    waiting: argparse.Action | None = None
    """The option whose value comes next."""
    has_ended_options: bool = False


def candidates(words: Sequence[str], commands: Sequence[str], parser_of: Callable[[str], argparse.ArgumentParser], rows: Rows) -> list[str]:
    """words are those behind `wirelet`, the last being the one to complete. FILES, DIRECTORIES or COMMAND alone: left to the shell."""
    *before, last = _without_equals(words)
    if not before:
        return _beginning([*commands, "--help", "--version"] if last.startswith("-") else commands, last)
    if before[0] not in commands:
        return []
    parser = parser_of(before[0])
    typed = read(parser, before[1:])
    name, equals, value = last.partition(_EQUALS)
    if typed.waiting is not None:
        return _beginning(values(typed.waiting, typed, rows), last)
    if typed.has_ended_options or not last.startswith("-"):
        action = _positional(parser, len(typed.positionals))
        return [] if action is None else _beginning(values(action, typed, rows), last)
    if equals and (option := _options(parser).get(name)) is not None:
        return [word if word.startswith(":") else f"{name}={word}" for word in _beginning(values(option, typed, rows), value)]
    return _beginning([word for word, action in _options(parser).items() if action.dest not in typed.options], last)


def read(parser: argparse.ArgumentParser, words: Sequence[str]) -> Typed:
    """The words of one command, however wrong they are."""
    typed, options = Typed(), _options(parser)
    for word in words:
        name, equals, value = word.partition(_EQUALS)
        if typed.waiting is not None:
            typed.options[typed.waiting.dest] = word
            typed.waiting = None
        elif word == "--":
            typed.has_ended_options = True
        elif typed.has_ended_options or not word.startswith("-"):
            typed.positionals.append(word)
        elif (option := options.get(name)) is not None:
            typed.options[option.dest] = value
            typed.waiting = option if option.nargs != 0 and not equals else None
        action = _positional(parser, len(typed.positionals))
        if typed.positionals and action is not None and action.nargs == argparse.REMAINDER:
            typed.has_ended_options = True
    return typed


def values(action: argparse.Action, typed: Typed, rows: Rows) -> list[str]:
    """All that may stand for action."""
    metavar = str(action.metavar)
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    if metavar in _BY_SHELL:
        return [FILES] if metavar == "-- PROGRAM" and len(typed.positionals) > 1 else [_BY_SHELL[metavar]]
    match metavar, action.dest:
        case "DEVICE", _:
            return _names(rows("devices"))
        case "POD", _:
            return _names(_pods(typed, rows))
        case "POD | device/NAME", _:
            return [*_names(_pods(typed, rows)), *(f"device/{name}" for name in _names(rows("devices")))]
        case _, "namespace":
            return sorted({str(row["namespace"]) for row in rows("pods")})
        case _, "container":
            return [name for row in _pods(typed, rows) if row["name"] in typed.positionals for name in row["containers"]]
        case "NAME", "name":
            return _names(rows("devices") if typed.positionals[0].startswith("dev") else _pods(typed, rows))
        case _:
            return metavar.split("|") if "|" in metavar else []


def _pods(typed: Typed, rows: Rows) -> list[dict[str, Any]]:
    here = typed.options.get("namespace", "default")
    return [row for row in rows("pods") if "all_namespaces" in typed.options or row["namespace"] == here]


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return [str(row["name"]) for row in rows]


def _beginning(words: Sequence[str], start: str) -> list[str]:
    return [word for word in words if word.startswith((start, ":"))]


def _without_equals(words: Sequence[str]) -> list[str]:
    """bash splits `--output=js` in three."""
    joined: list[str] = []
    for number, word in enumerate(words):
        is_joint = word == _EQUALS and number > 0 and words[number - 1].startswith("--")
        if not is_joint:
            joined.append(word)
        elif number == len(words) - 1:
            joined.append("")
    return joined


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {word: action for action in parser._actions for word in action.option_strings}


def _positional(parser: argparse.ArgumentParser, number: int) -> argparse.Action | None:
    there = [action for action in parser._actions if not action.option_strings]
    if number < len(there):
        return there[number]
    return there[-1] if there and there[-1].nargs == argparse.REMAINDER else None
