"""Each accident of docs/explanation/what-happens-when.md is shown by a test that exists and that runs on the real control plane."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "what-happens-when.md"
HEADERS: Final = {"accident", "---"}
REAL: Final = {"lab", "on_tmpfs", "on_small_disk", "control_plane"}
"""Fixtures of hil-tests that bring the control plane along."""
_LINK: Final = re.compile(r"\[(test_\w+)\]\(([^)]+)\)")


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[0] not in HEADERS:
            yield cells


@cache
def functions_of(path: Path) -> dict[str, set[str]]:
    """Test -> the fixtures it asks for."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: {argument.arg for argument in node.args.args} for node in functions}


ROWS: Final = list(rows())


def test_there_are_accidents() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_rule_is_shown_on_the_real_control_plane(row: list[str]) -> None:
    _accident, rule, shown_by = row
    assert rule
    links = _LINK.findall(shown_by)
    found = [(functions_of((PAGE.parent / file).resolve()), file, name) for name, file in links]
    assert [name for tests, _, name in found if name not in tests] == []
    assert any(file.startswith("../../hil-tests/") and REAL & tests[name] for tests, file, name in found)
