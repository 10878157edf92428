"""Colours for the words of a table's states: on a terminal, and never where NO_COLOR is set (no-color.org). Pure but for the question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TextIO

from gateway.cli.table import Paint, plain

GREEN: Final = "\x1b[32m"
YELLOW: Final = "\x1b[33m"
RED: Final = "\x1b[31m"
END: Final = "\x1b[0m"
COLUMNS: Final = ("STATUS", "STATE", "TYPE")
_GREEN: Final = ("Ready", "Running", "Completed", "Succeeded", "Normal", "there")
_YELLOW: Final = ("Pending", "Connecting", "Lent", "Away", "Off", "Terminating", "ContainerCreating", "PodInitializing", "Warning", "Gone")
"""On their way, or away for a reason. Everything else is not as it should be."""


def painter(stream: TextIO, environment: Mapping[str, str]) -> Paint:
    """What paints the cells of a table that goes to stream."""
    return painted if wants_colours(stream, environment) else plain


def wants_colours(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """A person sees it, with a terminal that can, and did not say no."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb"


def painted(column: str, cell: str) -> str:
    """The cell, in the colour of what it says."""
    if column not in COLUMNS or not cell:
        return cell
    return f"{_colour_of(cell)}{cell}{END}"


def _colour_of(word: str) -> str:
    if word in _GREEN:
        return GREEN
    is_counting_inits = word.startswith("Init:") and word[5:6].isdigit()
    return YELLOW if word in _YELLOW or is_counting_inits else RED
