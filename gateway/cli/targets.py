"""Which container, and which program, a command line means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Ambiguous(Exception):
    """The command line does not say it. The text is one line for the person at the terminal."""


def only_container(rows: list[dict[str, Any]], namespace: str, pod: str) -> str:
    """The name of the pod's container. rows are those of `wirelet get pods`. Raises Ambiguous when it has several, or is not there."""
    here = [row for row in rows if row["namespace"] == namespace]
    row = next((row for row in here if row["name"] == pod), None)
    if row is None:
        known = ", ".join(row["name"] for row in here) or "none"
        raise Ambiguous(f'no pod "{pod}" in namespace {namespace}; there are: {known}')
    if len(row["containers"]) != 1:
        raise Ambiguous(f'pod "{pod}" has several containers; choose one with -c: {", ".join(row["containers"])}')
    return str(row["containers"][0])


def program_of(words: Sequence[str], example: str) -> list[str]:
    """The program and its arguments, which stand behind `--`. Raises Ambiguous with the example of a right line."""
    program = list(words[1:] if words[:1] == ["--"] else words)
    if not program or (words[0] != "--" and words[0].startswith("-")):
        raise Ambiguous(f"say what to run: {example}; options stand before the name")
    return program
