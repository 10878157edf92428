"""The fixtures of the tests on real kernel drivers: one guest for the whole run, and what one test puts up in it."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import needs
import pytest
from guest.machine import Guest
from guest.process import GuestError
from guest.stand import Stand
from processes import Process, Reaper

PRELOAD: Final = (
    "anyio._backends._asyncio",
    "gateway.app",
    "gateway.cli.run",
    "gateway.cli.get",
    "gateway.cli.logs",
    "transports.serial_driver",
    "transports.protocols.framed_driver",
    "transports.discovery.udev",
    "gateway.cli.guard",
    "gateway.pods.manifests",
    "gateway.pods.static",
    "guest.acm_board",
    "guest.bare_usb",
    "guest.gateway",
    "guest.held_link",
    "guest.inside",
    "guest.tty",
)
"""What most tests run: a second of the machine is half a minute of the guest, which spends it while the first test is set up."""


TIMEOUT_S: Final = 300
"""The first test boots the guest."""


LOOK_AT_USB: Final = "dmesg | tail -n 40; ls -lR /dev/serial; ls -l /run/udev/data /sys/bus/usb/devices"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """One boot for the whole run. A test leaves it as it found it; `stand` does that for it."""
    needs.need("guest")
    folder = tmp_path_factory.mktemp("guest")
    reaper = Reaper()
    running = Guest(folder, reaper, PRELOAD)
    yield running
    running.close()
    reaper.close()
    if request.session.testsfailed:
        print(f"\nthe guest's console is in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)


_GUEST: Final = pytest.StashKey[Guest]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the guest's kernel and udev know of its USB devices."""
    report = yield
    if report.failed and (guest := item.stash.get(_GUEST, None)) is not None:
        with contextlib.suppress(GuestError):  # it may be what failed
            report.sections.append(("USB in the guest", guest.run("sh", "-c", LOOK_AT_USB, check=False)))
    return report


@pytest.fixture
def stand(request: pytest.FixtureRequest, guest: Guest, tmp_path: Path, started: list[Process]) -> Iterator[Stand]:
    """Adapters, boards and gateways for one test: stand.usb_serial("S1"), stand.board(...), stand.gateway({...})."""
    request.node.stash[_GUEST] = guest
    made = Stand(guest, tmp_path, started)
    yield made
    made.clear()
