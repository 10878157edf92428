"""What `make test` says in its last lines is what happened."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

STAGES = Path(__file__).resolve().parent.parent / "scripts" / "stages"
TESTS = """
import pytest

def test_passes(): pass

def test_fails(): assert False

@pytest.fixture
def broken(): raise RuntimeError

def test_has_a_broken_fixture(broken): pass

@pytest.mark.parametrize("n", range(3))
def test_needs_something(n): pytest.skip("needs socat: socat is not installed")

@pytest.mark.xfail
def test_fails_as_expected(): assert False
"""


@pytest.fixture(scope="module")
def stages() -> ModuleType:
    loader = SourceFileLoader("stages", str(STAGES))
    spec = spec_from_loader("stages", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["stages"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def report_of(folder: Path, tests: str) -> tuple[Path, int]:
    (folder / "test_sample.py").write_text(tests)
    report = folder / "report.xml"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_sample.py"]
    return report, subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode


def test_failures_errors_and_skips_are_counted(stages: ModuleType, tmp_path: Path) -> None:
    report, status = report_of(tmp_path, TESTS)
    counts = stages.read_report(report, is_ok=status == 0)
    assert str(counts) == "2 passed, 2 failed, 3 skipped"
    assert counts.skipped == {"needs socat: socat is not installed": 3}
    assert counts.failures == [
        "test_sample::test_fails: assert False",
        'test_sample::test_has_a_broken_fixture: failed on setup with "RuntimeError"',
    ]


def test_a_run_that_cannot_collect_is_a_failure(stages: ModuleType, tmp_path: Path) -> None:
    report, status = report_of(tmp_path, "import no_such_module")
    assert stages.read_report(report, is_ok=status == 0).failures == ["test_sample: collection failure"]


def test_a_run_that_died_is_a_failure(stages: ModuleType, tmp_path: Path) -> None:
    assert stages.read_report(tmp_path / "never-written.xml", is_ok=False).failures == [
        "never-written: the run itself failed; see its output above"
    ]


def test_the_last_line_is_the_sum(stages: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    unit, hil = stages.Counts(passed=5), stages.Counts(passed=2, failures=["test_board::test_stops: AssertionError\n  it runs"])
    hil.skipped["needs cluster: not built yet"] = 4
    results = [stages.Result("lint", True, 0.1, None), stages.Result("unit", True, 2.0, unit), stages.Result("hil", False, 3.0, hil)]
    stages.print_summary(results, 6.0)
    lines = capsys.readouterr().out.splitlines()
    assert "failed: test_board::test_stops: AssertionError it runs" in lines
    assert lines[-1] == "7 passed, 1 failed, 4 skipped"
    assert "skipped 4: needs cluster: not built yet" in lines
    assert any(line.startswith("hil") and "FAILED" in line for line in lines)


def test_a_stage_that_runs_beside_another_is_shown_after_it(
    stages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    monkeypatch.setitem(stages.STAGES, "hil", ("sh", "-c", f"until [ -e {mark} ]; do sleep 0.05; done; echo waited"))
    monkeypatch.setitem(stages.STAGES, "devices", ("sh", "-c", f"touch {mark}; echo quiet; echo oops >&2; exit 3"))
    results = stages.run_plan(("hil", "devices"), tmp_path)
    assert [(result.name, result.is_ok) for result in results] == [("hil", True), ("devices", False)]
    said = capfd.readouterr().out
    assert said.index("waited") < said.index("== devices: sh") < said.index("quiet\noops") < said.index("== devices: FAILED")
