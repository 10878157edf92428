"""Which link passed which case of the contract, from the junit reports of a run: the last thing that `make test` prints before its table.

Rows are the cases of transports.testing.link_contract, columns the drivers and what joined each to its far end. A cell is `ok`, `FAILED` or
the number of the reason why it is empty. A cell that is empty without a reason is a failure of its own: a case that did not run, or a
driver of Wirelet's that no test gave a stand.
"""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gateway import drivers
from transports.testing.link_contract import LinkContract

CASES: Final = tuple(name for name in vars(LinkContract) if name.startswith("test_"))
HEADER: Final = "contract case x driver"
DID_NOT_RUN: Final = "it did not run"
NO_STAND: Final = "no test gives this driver a stand"


class Column(NamedTuple):
    driver: str
    over: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one case. why: the reason of an empty cell, None for a case that ran."""

    is_ok: bool
    why: str | None = None


Results = dict[Column, dict[str, Outcome]]


def read(reports: Iterable[Path]) -> Results:
    """What the labelled cases of some junit files came to. A case that ran twice is ok only if it was both times."""
    results: Results = {}
    for report in reports:
        for case in ET.parse(report).getroot().iter("testcase"):
            labels = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
            if labels.get("contract") != "link":
                continue
            cells = results.setdefault(Column(labels["driver"], labels["over"]), {})
            before, now = cells.get(labels["case"]), _outcome(case)
            cells[labels["case"]] = now if before is None or before.is_ok else before
    return results


def _outcome(case: ET.Element) -> Outcome:
    if case.find("failure") is not None or case.find("error") is not None:
        return Outcome(is_ok=False)
    skipped = case.find("skipped")
    return Outcome(is_ok=True, why=None if skipped is None else skipped.get("message") or "no reason given")


def with_all_cells(results: Results, own_drivers: Sequence[str], cases: Sequence[str] = CASES) -> Results:
    """The same with a cell for every case of every column, and a column for every driver of ours."""
    whole = {column: {case: cells.get(case, Outcome(False, DID_NOT_RUN)) for case in cases} for column, cells in results.items()}
    for driver in own_drivers:
        if driver not in {column.driver for column in results}:
            whole[Column(driver, "")] = dict.fromkeys(cases, Outcome(False, NO_STAND))
    return whole


def is_explained(results: Results) -> bool:
    """Every case passed or says why it is not for this link."""
    return bool(results) and all(outcome.is_ok for cells in results.values() for outcome in cells.values())


def lines(results: Results) -> Iterator[str]:
    """The matrix as text."""
    columns = sorted(results)
    cases = list(dict.fromkeys(case for column in columns for case in results[column]))
    reasons: dict[str, int] = {}
    label = max(map(len, (HEADER, *map(_words, cases))))
    widths = [max(6, *map(len, column)) for column in columns]

    def row(name: str, cells: Iterable[str]) -> str:
        return "  ".join([name.ljust(label), *(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))]).rstrip()

    yield row(HEADER, [column.driver for column in columns])
    yield row("", [column.over for column in columns])
    for case in cases:
        yield row(_words(case), [_cell(results[column][case], reasons) for column in columns])
    for why, number in reasons.items():
        yield f"{number}  {why}"


def _cell(outcome: Outcome, reasons: dict[str, int]) -> str:
    if outcome.why is None:
        return "ok" if outcome.is_ok else "FAILED"
    return str(reasons.setdefault(outcome.why, len(reasons) + 1))


def _words(case: str) -> str:
    return case.removeprefix("test_").replace("_", " ")


def main() -> int:
    folder = os.environ.get("WIRELET_REPORTS")
    if folder is None:
        print("WIRELET_REPORTS names no folder with junit reports", file=sys.stderr)
        return 2
    own = [offer.name for offer in drivers.links() if offer.package.startswith("wirelet ")]
    results = with_all_cells(read(sorted(Path(folder).glob("*.xml"))), own)
    print("\n".join(lines(results)))
    return 0 if is_explained(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
