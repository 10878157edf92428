"""Fixtures of the tests that use processes, ttys and a cluster: what a test needs, and the control plane it shares with the others."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

# Before the modules beside this file are imported: importlib mode puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

import control_plane as control_planes
import lab as labs
import needs
from processes import Process
from workbench import Workbench

collect_ignore = ["third_party_link"]
"""A package with tests of its own, for an environment of its own: test_third_party_link.py runs them."""

TIMEOUT_S: Final = 120
"""Whole processes and clusters are slower than what the unit tests do."""
_STARTED: Final = pytest.StashKey[list[Process]]()
_namespaces = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    needs.required()  # an unknown name is said before the first test
    # A shell that starts this in the background, or nohup, has some signals ignored; what tests start would inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the last lines of the processes that it started."""
    report = yield
    if report.failed:
        report.sections += [(f"last lines of {process.name}", process.log_tail(40)) for process in item.stash.get(_STARTED, [])]
    return report


@pytest.fixture(scope="session")
def need() -> Callable[[str], None]:
    """need("socat") skips the test with a reason when there is none, or fails it where WIRELET_REQUIRE names it."""
    return needs.need


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[control_planes.ControlPlane]:
    """One control plane for the whole run. A test makes its own nodes and namespaces in it and leaves it running."""
    needs.need("cluster")
    folder = tmp_path_factory.mktemp("control-plane") / "run"
    with control_planes.running(folder) as running:
        yield running
    if request.session.testsfailed:
        print(f"\nthe control plane's logs are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)


@pytest.fixture
def namespace(control_plane: control_planes.ControlPlane) -> Iterator[str]:
    """A namespace of the test's own that is ready for pods; removed afterwards."""
    name = f"test-{os.getpid()}-{next(_namespaces)}"
    control_plane.create_namespace(name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def started(request: pytest.FixtureRequest) -> list[Process]:
    """Put into it what the test starts: its last lines are shown when the test fails."""
    processes: list[Process] = request.node.stash.setdefault(_STARTED, [])
    return processes


@pytest.fixture
def workbench(tmp_path: Path, started: list[Process]) -> Iterator[Workbench]:
    """Boards and gateways for one test: workbench.boards(10, "--slots", "4"), workbench.gateway({...})."""
    table = Workbench(tmp_path, started)
    yield table
    table.clear()


@pytest.fixture
def lab(control_plane: control_planes.ControlPlane, workbench: Workbench, namespace: str) -> Iterator[labs.Lab]:
    """A node of the test's own: lab.set_up(boards=2) starts it. The API server has refused it nothing in the end."""
    made = labs.Lab(control_plane, workbench, namespace)
    yield made
    made.close()
    assert made.refused_requests() == []
