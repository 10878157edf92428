"""What the watch of ports sees while boards are plugged in, pulled and moved: each story is a process of its own below mock devices.

    python hil-tests/hotplug_stories.py NAME      in umockdev.environment()

The watch is the real one on real libudev; the devices and their events are umockdev's, and nobody's rules have run for them. A story
asserts, prints `ok` and ends.
"""

from __future__ import annotations

import os
import random
import sys
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import anyio
from adapters import CH340, ESP32_S3, FT232R, OTHER_CH340, UART, USB_DEVICES
from udev_events import UdevEvents
from umockdev import Testbed
from usb_tree import host, text

from transports.device import Device
from transports.discovery.facts import Kind, PortFacts
from transports.discovery.match import MatchRule, NotOne, find
from transports.discovery.monitor import PortMonitor
from transports.discovery.places import MatchedPlace, PathPlace
from transports.errors import LinkNotFound
from transports.protocol import Event, Output
from transports.serial import SerialLinkOpener
from transports.tests.line_protocol import LineProtocol

DEADLINE_S: Final = 20.0
"""Of one step on a busy machine."""
SOON_S: Final = 2.0
"""Much less than the look that would find it without an event; much more than an event takes."""
RECONCILE_S: Final = 5.0
BURSTS: Final = 40

Story = Callable[[Testbed, PortMonitor], Awaitable[None]]
STORIES: Final[dict[str, Story]] = {}


def story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


async def until(monitor: PortMonitor, holds: Callable[[tuple[PortFacts, ...]], bool], within_s: float = DEADLINE_S) -> None:
    """Wait until what is there is as it should be."""
    with anyio.fail_after(within_s):
        while True:
            there = await monitor.ports()
            if holds(there.ports):
                return
            await monitor.changed(there.version)


async def until_found(monitor: PortMonitor, rule: MatchRule, within_s: float = DEADLINE_S) -> PortFacts:
    found: list[PortFacts | NotOne] = []

    def is_found(ports: tuple[PortFacts, ...]) -> bool:
        found[:] = [find(rule, ports)]
        return isinstance(found[0], PortFacts)

    await until(monitor, is_found, within_s)
    assert isinstance(found[0], PortFacts)
    return found[0]


def ttys(ports: tuple[PortFacts, ...]) -> set[str]:
    return {port.node.removeprefix("/dev/") for port in ports if port.kind is Kind.TTY}


# -- what is read


@story
async def every_board_of_the_lab_is_read_as_it_is(bed: Testbed, monitor: PortMonitor) -> None:
    for device in USB_DEVICES:
        bed.plug(device)
    bed.add_from_string(text(UART.records()))
    expected = {(name, number) for device in USB_DEVICES for number, each in enumerate(device.interfaces) for name in each.ttys}
    await until(monitor, lambda ports: ttys(ports) == {name for name, _ in expected} | {"ttyAMA0"})
    ports = (await monitor.ports()).ports
    assert {(port.node.removeprefix("/dev/"), port.interface) for port in ports if port.kind is Kind.TTY and port.hub_port} == expected
    whole = {(port.hub_port, port.vid_pid, port.serial) for port in ports if port.kind is Kind.USB}
    assert whole == {(f"1-{each.port}", f"{each.vendor:04x}:{each.product:04x}", each.serial) for each in USB_DEVICES}
    ftdi = await until_found(monitor, MatchRule(usb_serial="A5069RR4"))
    assert (ftdi.product, ftdi.driver, ftdi.hub_port) == ("FT232R USB UART", "ftdi_sio", "1-2")
    assert (await until_found(monitor, MatchRule(usb_serial="F4:12:FA:E3:1B:08"))).driver == "cdc_acm"
    assert (await until_found(monitor, MatchRule(platform="fe201000.serial"))).node == "/dev/ttyAMA0"
    assert (await until_found(monitor, MatchRule(usb_serial="FT4UVS0X", interface=2))).node == "/dev/ttyUSB6"
    assert (await until_found(monitor, MatchRule(port="1-4.3", port_number=3))).node == "/dev/ttyUSB11"
    assert isinstance(find(MatchRule(usb_serial="0001"), ports), NotOne)
    assert isinstance(find(MatchRule(port="1-4.3"), ports), NotOne)


@story
async def what_udevs_rules_say_wins(bed: Testbed, monitor: PortMonitor) -> None:
    told = {
        "ID_BUS": "usb",
        "ID_VENDOR_ID": "0403",
        "ID_MODEL_ID": "6001",
        "ID_SERIAL_SHORT": "LAB-7",
        "ID_PATH": "pci-0000:00:14.0-usb-0:2:1.0",
    }
    bed.plug(FT232R, {FT232R.paths[-1]: told})
    port = await until_found(monitor, MatchRule(usb_serial="LAB-7"))
    assert port.id_path == "pci-0000:00:14.0-usb-0:2:1.0"
    assert await until_found(monitor, MatchRule(port="pci-0000:00:14.0-usb-0:2")) == port


@story
async def a_property_that_is_no_text_hides_nothing_else(bed: Testbed, monitor: PortMonitor) -> None:
    bed.plug(CH340)
    bed.plug(FT232R, {FT232R.paths[-1]: {"ROOM": "Buero"}})
    told = next(path for path in bed.root.glob("sys/devices/**/uevent") if b"ROOM=" in path.read_bytes())
    told.write_bytes(told.read_bytes().replace(b"Bue", b"B\xfc"))  # as somebody's rule in Latin-1 writes it
    await until_found(monitor, MatchRule(usb_serial="A5069RR4"))
    assert ttys((await monitor.ports()).ports) == {"ttyUSB1", "ttyUSB2"}


# -- plugs


@story
async def a_plug_and_an_unplug_are_heard_and_not_looked_for(bed: Testbed, monitor: PortMonitor) -> None:
    await monitor.ports()
    bed.plug(CH340)
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB2"}, SOON_S)
    # Only now are events known to come: nobody's udevd is here, so until then it looked often.
    bed.plug(FT232R)
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB1", "ttyUSB2"}, SOON_S)
    bed.unplug(FT232R)
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB2"}, SOON_S)
    bed.plug(FT232R.moved(devnum=9))
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB1", "ttyUSB2"}, SOON_S)


@story
async def a_board_is_the_same_in_another_port_by_its_serial(bed: Testbed, monitor: PortMonitor) -> None:
    rule = MatchRule(usb_serial="A5069RR4")
    bed.plug(FT232R)
    here = await until_found(monitor, rule)
    bed.unplug(FT232R)
    bed.plug(FT232R.moved(port="6", devnum=20, ttys=["ttyUSB9"]))
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB9"})
    there = await until_found(monitor, rule)
    assert (here.hub_port, here.node) == ("1-2", "/dev/ttyUSB1")
    assert (there.hub_port, there.node) == ("1-6", "/dev/ttyUSB9")


@story
async def two_equal_adapters_without_serials_are_told_apart_by_their_ports(bed: Testbed, monitor: PortMonitor) -> None:
    left, right = MatchRule(port="1-3", vid_pids=("1a86:7523",)), MatchRule(port="1-4.1", vid_pids=("1a86:7523",))
    bed.plug(CH340)
    bed.plug(OTHER_CH340)
    assert (await until_found(monitor, left)).node == "/dev/ttyUSB2"
    assert (await until_found(monitor, right)).node == "/dev/ttyUSB3"
    for each in (CH340, OTHER_CH340):
        bed.unplug(each)
    await until(monitor, lambda ports: not ttys(ports))
    # The kernel gives the names the other way round this time.
    bed.plug(OTHER_CH340.moved(devnum=30, ttys=["ttyUSB2"]))
    bed.plug(CH340.moved(devnum=31, ttys=["ttyUSB3"]))
    assert (await until_found(monitor, left)).node == "/dev/ttyUSB3"
    assert (await until_found(monitor, right)).node == "/dev/ttyUSB2"
    either = find(MatchRule(vid_pids=("1a86:7523",)), (await monitor.ports()).ports)
    assert isinstance(either, NotOne)
    assert either.are_several


@story
async def a_board_is_known_in_its_boot_mode(bed: Testbed, monitor: PortMonitor) -> None:
    app = replace(ESP32_S3, product=0x4001, product_name="app", serial="APP-1")
    place = MatchedPlace(MatchRule(usb_serial="APP-1", boot_modes=("303a:1001",)), monitor)
    bed.plug(app)
    await until(monitor, lambda ports: ttys(ports) == {"ttyACM0"})
    assert await place.node() == "/dev/ttyACM0"
    bed.unplug(app)
    with anyio.fail_after(DEADLINE_S):
        assert await place.vanished() == "unplugged"
    bed.plug(ESP32_S3.moved(devnum=41, ttys=["ttyACM1"]))  # the ROM: other ids, another serial number, the same plug
    await until(monitor, lambda ports: ttys(ports) == {"ttyACM1"})
    assert await place.node() == "/dev/ttyACM1"


@story
async def replugs_that_come_in_one_go_end_as_the_last_of_them(bed: Testbed, monitor: PortMonitor) -> None:
    board = FT232R
    bed.plug(board)
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB1"})
    for number in range(BURSTS):
        name = f"ttyUSB{number % 7 + 2}"
        bed.unplug(board)
        board = board.moved(devnum=50 + number, ttys=[name])
        bed.plug(board)  # as many events as umockdev's queue holds; the flood is told on the real socket
        await until(monitor, lambda ports, name=name: ttys(ports) == {name})  # type: ignore[misc]  # mypy infers no default


@story
async def what_nobody_told_is_found_by_a_look(bed: Testbed, monitor: PortMonitor) -> None:
    await monitor.ports()
    bed.plug(FT232R)
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB1"})
    bed.remove_device(FT232R.syspath)  # as in a container without events
    bed.plug(CH340)  # its event says nothing of the other
    await until(monitor, lambda ports: "ttyUSB2" in ttys(ports))
    await until(monitor, lambda ports: ttys(ports) == {"ttyUSB2"}, RECONCILE_S + DEADLINE_S)


# -- links


@dataclass
class Heard:
    """A DeviceSink that knows when the link was open and when not."""

    links: list[tuple[float, Exception | None]]

    async def store(self, device: str, output: Output) -> None: ...

    async def happened(self, device: str, event: Event) -> None: ...

    async def link_changed(self, device: str, error: Exception | None) -> None:
        self.links.append((anyio.current_time(), error))

    async def until(self, count: int, *, is_open: bool) -> float:
        """When the link was open, or down, for the count-th time."""
        with anyio.fail_after(DEADLINE_S):
            while True:
                times = [at for at, error in self.links if (error is None) is is_open]
                if len(times) >= count:
                    return times[count - 1]
                await anyio.sleep(0.002)


class CountedOpener:
    """Counts the attempts of a real opener."""

    def __init__(self, inner: SerialLinkOpener) -> None:
        self._inner = inner
        self.attempts = 0
        self.name = inner.name
        self.appeared = inner.appeared
        self.vanished = inner.vanished

    async def open(self) -> object:
        self.attempts += 1
        return await self._inner.open()


@asynccontextmanager
async def supervised(opener: CountedOpener) -> AsyncIterator[Heard]:
    heard = Heard([])
    device = Device("board", opener, LineProtocol(), heard, rng=random.Random(1))  # type: ignore[arg-type]  # open() says object
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(device.run)
        yield heard
        tasks.cancel_scope.cancel()


@story
async def a_supervisor_is_woken_by_the_plug_and_by_the_unplug(bed: Testbed, monitor: PortMonitor) -> None:
    opener = CountedOpener(SerialLinkOpener(MatchedPlace(MatchRule(usb_serial="A5069RR4"), monitor)))
    async with supervised(opener) as heard:
        for node in ("ttyUSB1", "ttyUSB5"):
            bed.let_ioctls_through(node)
        await heard.until(1, is_open=False)
        error = heard.links[0][1]
        assert isinstance(error, LinkNotFound)
        assert str(error) == "no port with usbSerial A5069RR4; there is none at all"
        bed.plug(CH340)  # nobody's business
        await until(monitor, lambda ports: ttys(ports) == {"ttyUSB2"})
        await anyio.sleep(0.2)
        assert opener.attempts == 1, "an absent port is not looked for"
        plugged_at = anyio.current_time()
        bed.plug(FT232R)
        assert await heard.until(1, is_open=True) - plugged_at < SOON_S
        assert opener.attempts == 2
        unplugged_at = anyio.current_time()
        bed.unplug(FT232R)  # the pty behind it stays: reading would never tell
        assert await heard.until(2, is_open=False) - unplugged_at < SOON_S
        assert "unplugged" in str(heard.links[2][1])
        bed.plug(FT232R.moved(port="6", devnum=21, ttys=["ttyUSB5"]))
        await heard.until(2, is_open=True)


@story
async def a_second_port_that_the_rule_means_ends_the_link(bed: Testbed, monitor: PortMonitor) -> None:
    opener = CountedOpener(SerialLinkOpener(MatchedPlace(MatchRule(vid_pids=("1a86:7523",)), monitor)))
    bed.plug(CH340)
    bed.let_ioctls_through("ttyUSB2")
    async with supervised(opener) as heard:
        await heard.until(1, is_open=True)
        bed.plug(OTHER_CH340)
        await heard.until(1, is_open=False)
        assert "2 ports have vidPids 1a86:7523" in str(heard.links[-1][1])
        bed.unplug(OTHER_CH340)
        await heard.until(2, is_open=True)


@story
async def a_path_that_is_awaited_is_opened_when_it_comes(bed: Testbed, monitor: PortMonitor) -> None:
    folder = Path(os.environ["HOTPLUG_FOLDER"])
    path = folder / "by-id" / "usb-board"  # neither the folder nor the port is there
    opener = CountedOpener(SerialLinkOpener(PathPlace(str(path))))
    async with supervised(opener) as heard:
        await heard.until(1, is_open=False)
        (folder / "something-else").touch()
        path.parent.mkdir()
        (path.parent / "usb-another").touch()
        await anyio.sleep(0.2)
        assert opener.attempts <= 2
        master, slave = os.openpty()
        tty.setraw(master)
        came_at = anyio.current_time()
        path.symlink_to(os.ttyname(slave))
        assert await heard.until(1, is_open=True) - came_at < SOON_S
        assert opener.attempts <= 3


# -- the real socket, without umockdev: `unshare --net --mount`


GHOST: Final = "/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/ttyUSB7/tty/ttyUSB7"
FLOOD: Final = 3000
TINY_BYTES: Final = 2304
"""The least that Linux gives."""


async def events_that_are_lost_are_found_again_by_a_look() -> None:
    """The board's `remove` is lost in a flood. Whoever only waited for events would have it for ever."""
    monitor = PortMonitor(receive_buffer_bytes=TINY_BYTES)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(monitor.run)
        await monitor.ports()
        with UdevEvents() as udevd:
            about = {
                "DEVNAME": "/dev/ttyUSB7",
                "MAJOR": "188",
                "MINOR": "7",
                "ID_BUS": "usb",
                "ID_VENDOR_ID": "0403",
                "ID_MODEL_ID": "6001",
            }
            udevd.tell("add", GHOST, **about, ID_SERIAL_SHORT="GHOST7")
            ghost = await until_found(monitor, MatchRule(usb_serial="GHOST7"), SOON_S)
            assert ghost.node == "/dev/ttyUSB7"
            for number in range(FLOOD):  # in one go: nobody reads meanwhile
                udevd.tell("change", f"{GHOST[:-1]}{number % 5}", **about)
            udevd.tell("remove", GHOST, **about)
            await until(monitor, lambda ports: "ttyUSB7" not in ttys(ports), SOON_S)
        assert monitor.lost > 0
        tasks.cancel_scope.cancel()


async def run(name: str) -> None:
    if name == events_that_are_lost_are_found_again_by_a_look.__name__:
        await events_that_are_lost_are_found_again_by_a_look()
        return
    with Testbed() as bed:
        bed.add_from_string(text(host()))
        monitor = PortMonitor(reconcile_s=RECONCILE_S)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(monitor.run)
            await STORIES[name](bed, monitor)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(run, sys.argv[1])
    print("ok")
