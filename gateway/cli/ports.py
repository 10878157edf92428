"""Ports that no configured device uses, for `wirelet get devices --all`: as a table, and as a piece of configuration to paste. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.cli.table import one_line

Row = Mapping[str, Any]

HEADER: Final = ("UNUSED-PORT", "NODE", "MATCH")
BAUD: Final = 115200
NO_CLASS: Final = "my-board"


def cells(port: Row) -> list[str]:
    """Of the table."""
    return [port["description"], port["node"], _flow(port["match"]) if port["match"] else "nothing tells it apart"]


def snippet(ports: Sequence[Row], devices: Sequence[Row]) -> str:
    """A `devices:` list that configures every port; names are free, the class is the one that is there, or a placeholder."""
    names = _names({str(device["name"]) for device in devices})
    known = sorted({str(device["class"]) for device in devices})
    lines = [f"# choose a name and a class for each; classes in use: {', '.join(known) or 'none'}", "devices:"]
    for port in ports:
        lines.append(f"# {one_line(port['description'])}, now {one_line(port['node'])}")
        if not port["match"]:
            lines.append("#   another port looks the same; plug it in elsewhere, or use the path of /dev/serial/by-path")
            continue
        rate = f", baud: {BAUD}" if port["link"] == "serial" else ""
        link = f"{{{port['link']}: {{match: {_flow(port['match'])}{rate}}}}}"
        lines.append(f"- {{name: {next(names)}, class: {known[0] if known else NO_CLASS}, link: {link}}}")
    return "\n".join(lines) + "\n"


def _names(taken: Collection[str]) -> Iterator[str]:
    number = 1
    while True:
        if (name := f"port-{number}") not in taken:
            yield name
        number += 1


def _flow(match: Mapping[str, Any]) -> str:
    """JSON's values are YAML's too, whatever a chip calls itself."""
    return f"{{{', '.join(f'{key}: {json.dumps(value)}' for key, value in match.items())}}}"
