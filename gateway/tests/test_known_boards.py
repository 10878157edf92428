"""Another board on a device's link: refused where the link names one board, told where it names a place; and what a restart looks like."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.board import BLINK_S, RESTART_S
from gateway.devices.events import SWAPPED
from gateway.devices.known_boards import KnownBoards, refusal
from gateway.devices.ledger import KnownBoard, Ledger
from gateway.devices.node_names import without_nodes
from gateway.pods.seams import StartRefused
from gateway.tests.desk import OTHER, UID, WID, Desk, desk
from gateway.tests.fake_device import FakeDevice
from gateway.tests.warped_time import WarpedLoop
from transports.discovery.facts import PortFacts
from transports.protocol import ANOTHER_DEVICE, Problem
from transports.tests.port_examples import adapter, bulk_board

KNOWN = KnownBoard("dev", b"fake".hex(), "0403:6001 A5069RR4 interface 0 port 0", "1-1.3")
NATIVE = adapter("ttyACM0", vid_pid="303a:1001", serial="F4:12:FA:E3:1B:08", driver="cdc_acm")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


# -- who may answer


@pytest.mark.parametrize(
    ("told", "wanted", "known", "names_a_board", "is_refused"),
    [
        (b"fake", None, None, True, False),
        (b"fake", None, KNOWN, True, False),
        (b"else", None, KNOWN, True, True),
        (b"else", None, KNOWN, False, False),
        (b"else", "any", KNOWN, True, False),
        (b"else", b"else".hex(), KNOWN, True, False),
        (b"fake", b"else".hex(), KNOWN, False, True),
    ],
    ids=["first", "same", "other by serial", "other by port", "any", "new one is wanted", "old one is not wanted"],
)
def test_who_may_answer(told: bytes, wanted: str | None, known: KnownBoard | None, names_a_board: bool, is_refused: bool) -> None:
    why = refusal(told, wanted, known, names_a_board=names_a_board)
    assert (why is not None) is is_refused
    if why is not None:
        assert told.hex() in why
        assert "deviceId" in why


async def test_a_board_is_remembered_with_its_port_over_a_restart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    boards = KnownBoards(ledger)
    first = await boards.meet("dev", b"fake", adapter())
    assert (first.is_swap, first.has_moved) == (False, False)
    again = KnownBoards(Ledger(tmp_path / "ledger.sqlite"))
    assert again.boards["dev"] == KNOWN
    assert not (await again.meet("dev", b"fake", None)).has_moved, "on a pty nobody can say where"
    assert (await again.meet("dev", b"fake", adapter(serial=None))).has_moved
    swap = await again.meet("dev", b"else", adapter())
    assert (swap.is_swap, swap.has_moved) == (True, False)


async def test_another_board_where_the_link_names_one_gets_no_session_and_takes_nothing_over(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device, names_a_board=True) as table:
        device.join()
        await table.handled()
        await table.start()
        told = faults(table)
        device.lose()
        await table.handled()
        why = table.events.refuses("dev", b"else")  # as the protocol core asks at its HELLO
        assert why is not None
        await table.events.happened("dev", Problem(ANOTHER_DEVICE, why))
        board = table.boards["dev"]
        assert (board.state, board.problem) == ("Swapped", why)
        assert told == [("dev", SWAPPED, why)]
        assert not table.workloads.observe(UID).connected
        assert table.attempt().finished_at is None, "what runs on the board that is elsewhere has not ended"
        with pytest.raises(StartRefused, match="answers instead of"):
            await table.start(pod=OTHER)
        assert table.events.refuses("dev", b"fake") is None
        device.join()
        await table.handled()
        assert board.state == "Ready"
        assert device.runs[WID].gen == 1


async def test_another_board_in_a_place_is_taken_and_told_and_its_runs_are_its_own(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        device.join()
        await table.handled()
        await table.start()
        told = faults(table)
        device.lose()
        device.reset()
        device.device_id = b"else"
        assert table.events.refuses("dev", b"else") is None
        device.join()
        ended = await table.exited()
        assert ended.reason == "ContainerStatusUnknown"
        assert ended.message == f"another board, {b'else'.hex()}, answers on the device now"
        assert told == [("dev", SWAPPED, f"board {b'else'.hex()} answers instead of {b'fake'.hex()}")]
        assert table.boards["dev"].state == "Ready"
        device.reset()
        device.join()
        await table.handled()
        assert len(told) == 1, "the same board restarted"


def faults(table: Desk) -> list[tuple[str, str, str]]:
    told: list[tuple[str, str, str]] = []
    table.events.fault_told = lambda *fault: told.append(fault)
    return told


# -- a restart, or a pulled cable


@pytest.mark.parametrize("port", [NATIVE, bulk_board()], ids=["cdc-acm", "bulk"])
async def test_a_board_that_is_usb_itself_has_a_moment_to_come_back(tmp_path: Path, port: PortFacts) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device, port=lambda: port) as table:
        device.join()
        await table.handled()
        await table.start()
        device.lose("the link was lost")
        await table.handled()
        left_at = anyio.current_time()
        seen = table.workloads.observe(UID)
        assert (seen.connected, seen.restarting) == (True, False)
        assert seen.connection_changes_at == pytest.approx(left_at + BLINK_S, abs=0.5)
        await anyio.sleep(BLINK_S)
        seen = table.workloads.observe(UID)
        assert (seen.connected, seen.restarting) == (False, True)
        assert seen.connection_changes_at == pytest.approx(left_at + RESTART_S, abs=0.5)
        with pytest.raises(StartRefused) as refused:
            await table.start(pod=OTHER)
        assert refused.value.reason == "DeviceRestarting"
        await anyio.sleep(RESTART_S - BLINK_S)
        seen = table.workloads.observe(UID)
        assert (seen.connected, seen.restarting, seen.connection_changes_at) == (False, False, None)


async def test_a_board_that_is_back_with_a_new_boot_was_reset(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device, port=lambda: NATIVE) as table:
        device.join()
        await table.handled()
        await table.start()
        device.lose("the link was lost")
        device.reset(cause=4)
        await anyio.sleep(2)
        device.join()
        ended = await table.exited()
        assert (ended.reason, ended.message) == ("DeviceRebooted", "the device restarted: watchdog")


async def test_behind_an_adapter_a_lost_link_is_a_pulled_cable_at_once(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device, port=adapter) as table:
        device.join()
        await table.handled()
        await table.start()
        device.lose("the link was lost")
        await table.handled()
        seen = table.workloads.observe(UID)
        assert (seen.connected, seen.restarting, seen.connection_changes_at) == (False, False, None)


async def test_the_grace_of_the_class_rules_a_restart_too(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device, port=lambda: NATIVE, grace_s=1.0) as table:
        device.join()
        await table.handled()
        device.lose("the link was lost")
        await table.handled()
        await anyio.sleep(1.5)
        assert not table.boards["dev"].is_allocatable(anyio.current_time())


# -- texts for others


@pytest.mark.parametrize(
    ("text", "link", "told"),
    [
        ("/dev/ttyUSB0: no such port", "/dev/ttyUSB0", "no such port"),
        ("/run/user/1000/board: no such port", "/run/user/1000/board", "no such port"),
        ("/dev/ttyUSB7: no permission; mode 600", "usbSerial A5", "the port: no permission; mode 600"),
        ("usbSerial A5: unplugged", "usbSerial A5", "usbSerial A5: unplugged"),
        (
            "BaudMismatch: framing errors on /dev/serial/by-id/x-port0, ttyACM3",
            "usbSerial A5",
            "BaudMismatch: framing errors on the port, the port",
        ),
        ("no answer from the device yet", "/dev/ttyUSB0", "no answer from the device yet"),
    ],
)
def test_what_leaves_the_machine_has_no_name_of_a_node(text: str, link: str, told: str) -> None:
    assert without_nodes(text, link) == told


@given(st.text(), st.sampled_from(["/dev/ttyUSB0", "/dev/serial/by-id/usb-x", "/tmp/board", "usbSerial A5"]))
def test_whatever_the_text_no_node_is_left_in_it(text: str, link: str) -> None:
    told = without_nodes(f"{text} /dev/ttyUSB0 {link}: {text}", link)
    assert "/dev/ttyUSB0" not in told
    assert link not in told or not link.startswith("/")
