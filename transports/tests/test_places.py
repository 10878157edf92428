"""Where a port is: what an opener is told, and when it hears that looking again may help."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from transports.discovery.cadence import POLL_S, RECONCILE_S, Cadence
from transports.discovery.entries import EntryWatch, follow
from transports.discovery.facts import Kind, PortFacts
from transports.discovery.match import MatchRule
from transports.discovery.places import STUBBORN_S, MatchedPlace, PathPlace
from transports.discovery.ports import PortTable, Snapshot
from transports.discovery.sysfs import port_of_device, ttys_of, usb_devices_of
from transports.errors import LinkNotFound
from transports.tests.port_examples import adapter

BOARD = adapter("ttyUSB0", "1-1.3")
MOVED = adapter("ttyUSB4", "1-1.1", usec=7)
OTHER = adapter("ttyUSB1", "1-1.2", serial="B77")
RULE = MatchRule(usb_serial="A5069RR4")
DEADLINE_S = 5.0


class Shelf:
    """HostPorts that a test fills."""

    def __init__(self, *ports: PortFacts) -> None:
        self._table = PortTable()
        self._version = 0
        self._changed = anyio.Event()
        self.now(*ports)

    def now(self, *ports: PortFacts) -> None:
        self._table.scanned(ports)
        self._version += 1
        self._changed.set()
        self._changed = anyio.Event()

    async def ports(self) -> Snapshot:
        return Snapshot(self._version, tuple(self._table.ports.values()))

    async def changed(self, version: int) -> None:
        while self._version <= version:
            await self._changed.wait()


@asynccontextmanager
async def waiting_for(awaitable: Awaitable[object]) -> AsyncIterator[anyio.Event]:
    """The event is set when what is awaited has returned."""
    done = anyio.Event()

    async def wait() -> None:
        await awaitable
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        yield done
        tasks.cancel_scope.cancel()


async def watched() -> None:
    """A watch of some path is made, in its thread."""
    with anyio.fail_after(DEADLINE_S):
        while not any(is_watch(number) for number in os.listdir("/proc/self/fdinfo")):  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.002)


def is_watch(number: str) -> bool:
    try:
        return "inotify wd:" in Path(f"/proc/self/fdinfo/{number}").read_text()
    except OSError:
        return False  # that of the listing itself


async def heard(done: anyio.Event) -> None:
    with anyio.fail_after(DEADLINE_S):
        await done.wait()


# -- by a rule


async def test_a_rule_gives_the_node_that_the_port_has_now() -> None:
    shelf = Shelf(BOARD, OTHER)
    place = MatchedPlace(RULE, shelf)
    assert place.name == "usbSerial A5069RR4"
    assert await place.node() == "/dev/ttyUSB0"
    assert place.port == BOARD
    shelf.now(MOVED, OTHER)
    assert await place.node() == "/dev/ttyUSB4"


async def test_an_absent_port_is_told_and_its_plug_is_heard() -> None:
    shelf = Shelf(OTHER)
    place = MatchedPlace(RULE, shelf)
    with pytest.raises(LinkNotFound, match=r"^no port with usbSerial A5069RR4; there are: 0403:6001"):
        await place.node()
    async with waiting_for(place.appeared()) as done:
        shelf.now()
        await anyio.wait_all_tasks_blocked()
        assert not done.is_set(), "another port's unplug is none of its business"
        shelf.now(BOARD)
        await heard(done)


async def test_a_port_that_cannot_be_opened_though_it_is_there_is_tried_now_and_then() -> None:
    place = MatchedPlace(RULE, Shelf(BOARD))
    await place.node()
    started = anyio.current_time()
    with anyio.fail_after(DEADLINE_S):
        await place.appeared()
    assert anyio.current_time() - started >= STUBBORN_S * 0.9


async def test_a_port_that_could_not_be_opened_because_it_goes_is_told_as_gone() -> None:
    shelf = Shelf(BOARD)
    place = MatchedPlace(RULE, shelf)
    await place.node()
    async with waiting_for(place.appeared()) as done:
        shelf.now()
        await heard(done)
    with pytest.raises(LinkNotFound, match="no port with"):
        await place.node()


@pytest.mark.parametrize(
    ("ports", "why"),
    [((), "unplugged"), ((MOVED,), "unplugged, and plugged in again"), ((BOARD, adapter("ttyUSB9", "1-9")), "2 ports have")],
    ids=["gone", "elsewhere", "two of them"],
)
async def test_the_end_of_a_port_is_heard_with_its_reason(ports: tuple[PortFacts, ...], why: str) -> None:
    shelf = Shelf(BOARD)
    place = MatchedPlace(RULE, shelf)
    await place.node()
    reasons: list[str] = []

    async def listen() -> None:
        reasons.append(await place.vanished())

    async with waiting_for(listen()) as done:
        shelf.now(BOARD, OTHER)
        await anyio.wait_all_tasks_blocked()
        assert not done.is_set()
        shelf.now(*ports)
        await heard(done)
    assert reasons[0].startswith(why)


# -- by a path


async def test_a_path_is_heard_when_it_comes_though_its_folders_are_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "serial" / "by-id" / "usb-board"
    place = PathPlace(str(path))
    assert await place.node() == str(path)
    steps: list[tuple[Callable[[], None], bool]] = [
        (lambda: (tmp_path / "other").touch(), False),
        (lambda: path.parent.parent.mkdir(), True),
        (lambda: (path.parent.parent / "by-path").mkdir(), False),
        (lambda: path.parent.mkdir(), True),
        (lambda: (path.parent / "usb-other").touch(), False),
        (lambda: path.symlink_to("/dev/null"), True),
    ]
    for step, is_news in steps:
        async with waiting_for(place.appeared()) as done:
            await watched()
            step()
            if is_news:
                await heard(done)
            else:
                await anyio.sleep(0.05)  # long enough for what must not come
                assert not done.is_set()


async def test_a_path_that_came_since_the_attempt_is_tried_once_and_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "port"
    path.touch()  # there, and no port: every attempt says LinkNotFound
    place = PathPlace(str(path))
    with anyio.fail_after(DEADLINE_S):
        await place.appeared()
    async with waiting_for(place.appeared()) as done:
        await watched()
        await anyio.wait_all_tasks_blocked()
        assert not done.is_set()
        path.chmod(0o600)  # somebody mended it
        await heard(done)


async def test_a_folder_that_is_replaced_is_followed_again(tmp_path: Path) -> None:
    folder = tmp_path / "by-id"
    folder.mkdir()
    place = PathPlace(str(folder / "usb-board"))
    async with waiting_for(place.appeared()) as done:
        await watched()
        folder.rmdir()
        await heard(done)


def test_the_steps_of_a_path_that_matter_are_links_the_end_and_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    (tmp_path / "real" / "port").symlink_to("node")
    trail = follow(str(tmp_path / "alias" / "port"))
    real = str(tmp_path / "real")
    assert trail.steps == {(str(tmp_path), "alias"), (real, "port"), (real, "node")}
    assert trail.end is None
    (tmp_path / "real" / "node").touch()
    assert follow(str(tmp_path / "alias" / "port")).end is not None


def test_a_circle_of_links_is_followed_to_no_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert follow(str(tmp_path / "a")).end is None
    watch = EntryWatch(str(tmp_path / "a"))
    assert not watch.is_news()
    watch.close()


# -- without udev


def test_the_kernels_files_tell_a_port_as_udev_does(tmp_path: Path) -> None:
    device = tmp_path / "devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1.3"
    holder = device / "1-1.3:1.0" / "ttyUSB0"
    (holder / "tty" / "ttyUSB0").mkdir(parents=True)
    for name, text in (("idVendor", "0403"), ("idProduct", "6001"), ("serial", "A5069RR4"), ("product", "FT232R USB UART")):
        (device / name).write_text(f"{text}\n")
    (device / "1-1.3:1.0" / "bInterfaceNumber").write_text("00\n")
    (device / "1-1.3:1.0" / "driver").symlink_to("../../../../../../../bus/usb/drivers/ftdi_sio")
    (holder / "port_number").write_text("0\n")
    (tmp_path / "class/tty").mkdir(parents=True)
    (tmp_path / "class/tty/ttyUSB0").symlink_to(holder / "tty/ttyUSB0")
    (tmp_path / "class/tty/tty1").symlink_to(tmp_path / "devices/virtual/tty/tty1")
    (tmp_path / "dev/char").mkdir(parents=True)
    (tmp_path / "dev/char/188:0").symlink_to(holder / "tty/ttyUSB0")
    (port,) = ttys_of(tmp_path)
    assert port == port_of_device(os.makedev(188, 0), tmp_path)
    names = ("key", "node", "vid_pid", "serial", "hub_port", "interface", "port_number", "driver", "product")
    assert [getattr(port, name) for name in names] == [getattr(BOARD, name) for name in names]
    assert port_of_device(os.makedev(188, 1), tmp_path) is None


def test_the_kernels_files_tell_a_usb_device_but_no_hub_and_no_interface(tmp_path: Path) -> None:
    root = tmp_path / "devices/pci0000:00/0000:00:14.0/usb1"
    folders = {"usb1": root, "1-1": root / "1-1", "1-1.3": root / "1-1/1-1.3", "1-1.3:1.0": root / "1-1/1-1.3/1-1.3:1.0"}
    files = {"busnum": "1", "idVendor": "303a", "idProduct": "4001"}
    texts = {
        "usb1": {**files, "devnum": "1", "bDeviceClass": "09"},
        "1-1": {**files, "devnum": "2", "bDeviceClass": "09"},
        "1-1.3": {**files, "devnum": "14", "bDeviceClass": "00", "serial": "240ac4123456"},
        "1-1.3:1.0": {"bInterfaceNumber": "00"},
    }
    (tmp_path / "bus/usb/devices").mkdir(parents=True)
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bus/usb/devices" / name).symlink_to(folder)
        for file, text in texts[name].items():
            (folder / file).write_text(f"{text}\n")
    (port,) = usb_devices_of(tmp_path)
    assert (port.kind, port.node, port.hub_port) == (Kind.USB, "/dev/bus/usb/001/014", "1-1.3")
    assert (port.vid_pid, port.serial, port.interface) == ("303a:4001", "240ac4123456", None)
    assert usb_devices_of(tmp_path / "nowhere") == []


# -- how often to look


def test_while_events_come_a_look_is_a_second_pair_of_eyes() -> None:
    cadence = Cadence(has_events=True)
    assert cadence.interval_s == RECONCILE_S
    assert not cadence.looked(found_news=False)
    assert cadence.interval_s == RECONCILE_S


def test_news_that_nobody_told_are_a_suspicion_and_then_a_fact() -> None:
    cadence = Cadence(has_events=True)
    assert not cadence.looked(found_news=True)  # the event may be on its way
    assert cadence.interval_s == POLL_S
    assert cadence.looked(found_news=False)
    assert (cadence.is_deaf, cadence.interval_s) == (True, POLL_S)
    assert not cadence.looked(found_news=True), "told once"
    cadence.told()
    assert (cadence.is_deaf, cadence.interval_s) == (False, RECONCILE_S)


def test_an_event_that_was_only_late_is_no_reason_to_poll() -> None:
    cadence = Cadence(has_events=True)
    cadence.looked(found_news=True)
    cadence.told()
    assert cadence.interval_s == RECONCILE_S


def test_without_a_sender_there_is_only_looking() -> None:
    assert Cadence(has_events=False).interval_s == POLL_S
