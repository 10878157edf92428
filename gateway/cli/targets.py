"""Which container a command line means."""

from __future__ import annotations

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
