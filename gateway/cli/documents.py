"""What a command found, as a table for a person, or with `-o json|yaml` as one document whose `items` are the rows of that table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.cli.colours import painter
from gateway.cli.table import aligned
from gateway.doctor.finding import Finding

Row = Mapping[str, Any]
FORMATS: Final = ("table", "json", "yaml")


def add_output_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=FORMATS, default="table", help="json, yaml: all that it says in one document on stdout")


def document(content: Row, output: str) -> str:
    """In a format of FORMATS that is no table."""
    if output == "json":
        return f"{json.dumps(content, indent=2)}\n"
    import yaml  # slow to import, and rarely asked for

    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def table(rows: Sequence[Row]) -> str:
    """Rows with the same keys, which are the titles. Nothing without a row."""
    if not rows:
        return ""
    return aligned(
        [key.upper() for key in rows[0]], [[_cell(value) for value in row.values()] for row in rows], painter(sys.stdout, os.environ)
    )


def tell(rows: Sequence[Row], findings: Sequence[Finding], output: str) -> int:
    """Rows on stdout and a line for each finding on stderr; or one document. Exit code: 1 when a finding needs somebody to act."""
    needs_hand = any(not finding.is_note for finding in findings)
    if output != "table":
        sys.stdout.write(document({"items": list(rows), "findings": [_row(finding) for finding in findings]}, output))
        return int(needs_hand)
    sys.stdout.write(table(rows))
    sys.stdout.flush()
    for finding in findings:
        print(finding, file=sys.stderr)
    if not needs_hand:
        print("ok")
    return int(needs_hand)


def _cell(value: object) -> str:
    return ", ".join(value) or "-" if isinstance(value, list) else str(value) or "-"


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "subject": finding.subject,
        "problem": finding.problem,
        "fix": finding.fix,
        "reason": finding.reason,
        "isNote": finding.is_note,
    }
