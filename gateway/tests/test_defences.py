"""The lists of `make mutants` say where each defence stands and which test guards it: both are there, so that no change loses one."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants.mutants import HIL, UNIT, Course, Mutant, misplaced

ROOT = Path(__file__).parents[2]


def has_its_test(defence: Mutant) -> bool:
    file, _, test = defence.test_path.partition("::")
    return f"def {test.partition('[')[0]}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("course", [UNIT, HIL], ids=["unit", "hil"])
def test_a_defence_stands_where_its_list_says_and_has_its_test(course: Course) -> None:
    defences = course.mutants([])
    assert [(defence.name, reason) for defence in defences if (reason := misplaced(defence)) is not None] == []
    assert [defence.name for defence in defences if not has_its_test(defence)] == []
    assert [defence.name for defence in defences if defence.replacement == defence.text] == []
    assert len({defence.name for defence in defences}) == len(defences)
