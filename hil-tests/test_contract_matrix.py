"""The matrix that `make test` prints says what the cases came to, and lets no cell be empty without a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import contract_matrix
import pytest
from contract_matrix import DID_NOT_RUN, NO_STAND, Column, Outcome, is_explained, lines, read, with_all_cells

CONTRACT: Final = """
import pytest
from transports.testing.link_contract import LinkContract

class TestOne(LinkContract):
    driver, over = "wire", "paper"
    not_applicable = {"test_nothing_is_echoed": "paper has no echo"}

    def test_every_byte_value_passes_both_ways_unchanged(self): pass
    def test_closing_twice_is_closing_once(self): assert False

@pytest.fixture(scope="session")
def machine(): pytest.skip("needs a machine")

class TestTwo(LinkContract):
    driver, over = "wire", "machine"

    @pytest.fixture
    def stand(self, machine): return None

def test_something_else(): pass
"""
CHOSEN: Final = "every_byte or echoed or closing_twice or something_else"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "test_wire.py").write_text(CONTRACT)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "transports.testing.labels", "-k", CHOSEN]
    subprocess.run([*argv, "--junitxml=report.xml", "test_wire.py"], cwd=folder, capture_output=True, check=False)
    return folder / "report.xml"


def test_a_cell_is_what_the_case_came_to(report: Path) -> None:
    assert read([report]) == {
        Column("wire", "paper"): {
            "test_every_byte_value_passes_both_ways_unchanged": Outcome(True),
            "test_nothing_is_echoed": Outcome(True, "paper has no echo"),
            "test_closing_twice_is_closing_once": Outcome(False),
        },
        Column("wire", "machine"): {
            name: Outcome(True, "needs a machine")
            for name in (
                "test_every_byte_value_passes_both_ways_unchanged",
                "test_nothing_is_echoed",
                "test_closing_twice_is_closing_once",
            )
        },
    }


def test_a_case_that_ran_twice_is_ok_only_if_it_was_both_times(report: Path, tmp_path: Path) -> None:
    better = tmp_path / "better.xml"
    better.write_text(report.read_text().replace("<failure", "<system-out").replace("</failure", "</system-out"))
    for order in ([report, better], [better, report]):
        assert read(order)[Column("wire", "paper")]["test_closing_twice_is_closing_once"] == Outcome(False)


def test_every_empty_cell_has_its_reason() -> None:
    results = with_all_cells({Column("wire", "paper"): {"test_a": Outcome(True)}}, ["wire", "usb"], ["test_a", "test_b"])
    assert results == {
        Column("wire", "paper"): {"test_a": Outcome(True), "test_b": Outcome(False, DID_NOT_RUN)},
        Column("usb", ""): {"test_a": Outcome(False, NO_STAND), "test_b": Outcome(False, NO_STAND)},
    }
    assert not is_explained(results)
    assert not is_explained({})
    assert is_explained({Column("wire", "paper"): {"test_a": Outcome(True), "test_b": Outcome(True, "paper is dry")}})


def test_it_is_read_from_top_to_bottom() -> None:
    results = {
        Column("wire", "paper"): {"test_a_thing_is_so": Outcome(True), "test_another": Outcome(False)},
        Column("usb", ""): {"test_a_thing_is_so": Outcome(False, NO_STAND), "test_another": Outcome(True, "needs a machine")},
    }
    assert list(lines(results)) == [
        "contract case x driver  usb     wire",
        "                                paper",
        "a thing is so           1       ok",
        "another                 2       FAILED",
        "1  no test gives this driver a stand",
        "2  needs a machine",
    ]


def test_a_driver_of_ours_without_a_stand_fails_the_run(report: Path) -> None:
    argv = [sys.executable, contract_matrix.__file__]
    ran = subprocess.run(argv, env={**os.environ, "WIRELET_REPORTS": str(report.parent)}, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "serial" in ran.stdout.splitlines()[0]
    assert NO_STAND in ran.stdout
