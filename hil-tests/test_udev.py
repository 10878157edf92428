"""The real udevadm with our rules, over the boards of a lab: who may open a port, who keeps away, and what it is called for good."""

from __future__ import annotations

import grp
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from adapters import BULK, CH340, CP2102, ESP32_S3, FT232R, FT4232, MINI_UART, MODEM, MOS7840, OTHER_CH340, PICO, UART, USB_DEVICES
from udev_rules import Outcome, UdevBed, etc_udev_with, in_own_mounts
from usb_tree import Record, Uart, UsbDevice, host

from transports.discovery.serials import FAKE_SERIALS

WIRELET: Final = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "wirelet"
PORT: Final = "pci-0000:00:14.0-usb-0"
CONSOLE: Final = Uart(tty="ttyAMA1", address="fe201400", is_console=True)
MISSING: Final = Uart(tty="ttyAMA2", address="fe201600", type="0")

Board = UsbDevice | Uart
Bench = Callable[..., UdevBed]
Lab = dict[str, Outcome]


@pytest.fixture(scope="module")
def etc_udev(need: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An /etc/udev into which Wirelet was installed, by its own command."""
    need("root")
    need("umockdev")
    folder = tmp_path_factory.mktemp("etc-udev")
    (folder / "hwdb.bin").touch()  # then the command leaves the machine's own table alone
    in_own_mounts(folder, f"{WIRELET} udev install")
    return folder


@pytest.fixture
def bench(etc_udev: Path, tmp_path: Path) -> Bench:
    """bench(board, ..., local="...") is a machine with these boards; files has more files of /etc/udev by path."""
    count = itertools.count()

    def make(*boards: Board, files: dict[str, str] | None = None) -> UdevBed:
        folder = tmp_path / f"machine-{next(count)}"
        return UdevBed(etc_udev_with(etc_udev, folder / "etc", files or {}), records_of(boards), folder / "boards.umockdev")

    return make


@pytest.fixture(scope="module")
def lab(etc_udev: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """What becomes of every board of the lab on one machine: by 1-2 for a device, by ttyUSB0 for a tty."""
    uarts = (UART, MINI_UART, CONSOLE, MISSING)
    bed = UdevBed(etc_udev, records_of([*USB_DEVICES, *uarts]), tmp_path_factory.mktemp("lab") / "boards.umockdev")
    return outcomes(bed, *USB_DEVICES, *uarts)


def records_of(boards: Iterable[Board]) -> list[Record]:
    """Each path once: UARTs share the platform's."""
    every = [*host(), *(record for board in boards for record in board.records())]
    return list({record.path: record for record in every}.values())


def outcomes(bed: UdevBed, *boards: Board, action: str = "add") -> Lab:
    devices = [board.syspath for board in boards if isinstance(board, UsbDevice)]
    told = bed.outcomes([*devices, *(path for board in boards for path in board.tty_syspaths.values())], action)
    return {path.rsplit("/", 1)[1]: outcome for path, outcome in told.items()}


def name(board: UsbDevice) -> str:
    return board.syspath.rsplit("/", 1)[1]


# -- names


@pytest.mark.parametrize(
    ("board", "names"),
    [
        pytest.param(CP2102, [{f"by-port/{PORT}:1:1.0-port0"}], id="CP2102 whose serial number is 0001"),
        pytest.param(FT232R, [{f"by-port/{PORT}:2:1.0-port0", "by-serial/A5069RR4-if00-port0"}], id="FT232R"),
        pytest.param(CH340, [{f"by-port/{PORT}:3:1.0-port0"}], id="CH340 without serial number"),
        pytest.param(OTHER_CH340, [{f"by-port/{PORT}:4.1:1.0-port0"}], id="an equal CH340 behind a hub"),
        pytest.param(
            FT4232,
            [{f"by-port/{PORT}:4.2:1.{n}-port0", f"by-serial/FT4UVS0X-if0{n}-port0"} for n in range(4)],
            id="FT4232 with four interfaces",
        ),
        pytest.param(MOS7840, [{f"by-port/{PORT}:4.3:1.0-port{n}"} for n in range(4)], id="MCS7840 with four ports on one interface"),
        pytest.param(ESP32_S3, [{f"by-port/{PORT}:5:1.0", "by-serial/F4:12:FA:E3:1B:08-if00"}], id="ESP32-S3 with colons"),
        pytest.param(PICO, [{f"by-port/{PORT}:6:1.0", "by-serial/E6605481DB484636-if00"}], id="Pico"),
        pytest.param(UART, [{"by-port/platform-fe201000.serial"}], id="PL011"),
        pytest.param(MINI_UART, [{"by-port/platform-fe215040.serial"}], id="mini UART"),
    ],
)
def test_a_tty_has_names_that_stay(lab: Lab, board: Board, names: list[set[str]]) -> None:
    assert [lab[tty].names for tty in board.tty_syspaths] == names


def test_a_bulk_device_has_names_too(lab: Lab) -> None:
    assert lab[name(BULK)].names == {f"by-port/{PORT}:7", "by-serial/W0007"}


def test_a_tty_beside_our_interface_is_a_board_of_ours_and_has_a_name_of_its_own(bench: Bench) -> None:
    both = replace(BULK, interfaces=(*PICO.interfaces[:2], *BULK.interfaces))
    told = outcomes(bench(both), both)
    assert told[name(BULK)].names == {f"by-port/{PORT}:7", "by-serial/W0007"}
    assert told["ttyACM1"].names == {f"by-port/{PORT}:7:1.0", "by-serial/W0007-if00"}
    assert told["ttyACM1"].properties["ID_MM_PORT_IGNORE"] == told[name(BULK)].properties["ID_MM_DEVICE_IGNORE"] == "1"


def test_no_two_ports_share_a_name(lab: Lab) -> None:
    names = [each for outcome in lab.values() for each in outcome.names]
    assert len(names) == len(set(names))


def test_the_names_stay_when_the_ttys_are_called_otherwise(bench: Bench) -> None:
    again = FT4232.moved(devnum=99, ttys=["ttyUSB20", "ttyUSB21", "ttyUSB22", "ttyUSB23"])
    before, after = outcomes(bench(FT4232), FT4232), outcomes(bench(again), again)
    assert [before[tty].names for tty in FT4232.tty_syspaths] == [after[tty].names for tty in again.tty_syspaths]


def test_a_board_keeps_the_name_by_its_serial_number_in_another_port(bench: Bench) -> None:
    elsewhere = FT232R.moved(port="4.4.1")
    assert outcomes(bench(elsewhere), elsewhere)["ttyUSB1"].names == {f"by-port/{PORT}:4.4.1:1.0-port0", "by-serial/A5069RR4-if00-port0"}


def test_no_fake_serial_number_becomes_a_name(bench: Bench) -> None:
    fakes = [
        replace(CP2102, serial=serial).moved(port=f"4.{number}", devnum=20 + number, ttys=[f"ttyUSB{number}"])
        for number, serial in enumerate(sorted(FAKE_SERIALS), 1)
    ]
    told = outcomes(bench(*fakes), *fakes)
    for fake in fakes:
        (tty,) = fake.tty_syspaths
        assert told[tty].properties["ID_SERIAL_SHORT"] == fake.serial
        assert told[tty].names == {f"by-port/{PORT}:{fake.port}:1.0-port0"}


def test_somebody_may_add_to_the_fake_serial_numbers(bench: Bench) -> None:
    files = {"rules.d/60-wirelet-local.rules": 'ENV{ID_SERIAL_SHORT}=="A5069RR4", ENV{WIRELET_FAKE_SERIAL}="1"\n'}
    assert outcomes(bench(FT232R, files=files), FT232R)["ttyUSB1"].names == {f"by-port/{PORT}:2:1.0-port0"}


# -- who may open it


def test_ttys_belong_to_dialout_and_to_nobody_else(lab: Lab) -> None:
    wrong = {tty: outcome for tty, outcome in lab.items() if tty.startswith("tty") and not_for_dialout(outcome)}
    assert set(wrong) <= {"ttyAMA1", "ttyAMA2"}


def test_usb_devices_of_the_table_and_with_our_interface_belong_to_dialout(lab: Lab) -> None:
    assert [name(board) for board in USB_DEVICES if not_for_dialout(lab[name(board)])] == [name(MODEM)]


def test_a_foreign_usb_device_stays_as_it_is(lab: Lab) -> None:
    assert (lab[name(MODEM)].group, lab[name(MODEM)].mode) == (None, 0o664)
    assert "wirelet" not in lab[name(MODEM)].tags


def not_for_dialout(outcome: Outcome) -> bool:
    return (outcome.group, outcome.mode) != (grp.getgrnam("dialout").gr_gid, 0o660)


def test_every_port_has_the_tag_by_which_it_is_found(lab: Lab) -> None:
    untagged = {path for path, outcome in lab.items() if "wirelet" not in outcome.tags}
    assert untagged == {name(MODEM), "ttyAMA1", "ttyAMA2"}


def test_what_lies_between_a_usb_device_and_its_tty_is_left_alone(bench: Bench) -> None:
    between = [f"/sys{record.path}" for record in FT232R.records() if not record.node]
    told = bench(FT232R).outcomes(between)
    assert [path.rsplit("/", 1)[1] for path in told] == ["1-2:1.0", "ttyUSB1"]
    for outcome in told.values():
        assert "wirelet" not in outcome.tags
        assert not [key for key in outcome.properties if key.startswith(("ID_MM", "SYSTEMD"))]


def test_a_device_that_goes_gets_nothing(bench: Bench) -> None:
    for outcome in outcomes(bench(FT232R, BULK), FT232R, BULK, action="remove").values():
        assert outcome.names == set()
        assert "wirelet" not in outcome.tags


def test_the_kernel_s_console_and_a_uart_that_is_not_there_are_left_alone(lab: Lab) -> None:
    for tty in ("ttyAMA1", "ttyAMA2"):
        assert lab[tty].names == set()
        assert not [key for key in lab[tty].properties if key.startswith("WIRELET")]


# -- who keeps away


def test_modem_manager_keeps_away_from_the_table_and_from_our_interface(lab: Lab) -> None:
    """It looks for one property on the whole device and for another on the port."""
    for board in USB_DEVICES:
        expected = None if board is MODEM else "1"
        assert lab[name(board)].properties.get("ID_MM_DEVICE_IGNORE") == expected
        assert [lab[tty].properties.get("ID_MM_PORT_IGNORE") for tty in board.tty_syspaths] == [expected] * len(board.tty_syspaths)


def test_modem_manager_has_its_modem(lab: Lab) -> None:
    assert not [key for key in {**lab[name(MODEM)].properties, **lab["ttyUSB12"].properties} if key.startswith(("ID_MM", "WIRELET"))]


def test_brltty_is_not_started_for_an_adapter(bench: Bench) -> None:
    """Its rules, as Ubuntu and Arch have them, ask systemd to start it. systemd does nothing for a device that is not ready."""
    rules = "".join(
        f'SUBSYSTEM=="usb", KERNEL!="*:*", ENV{{PRODUCT}}=="{product}/*", ENV{{BRLTTY_BRAILLE_DRIVER}}="mm", '
        'TAG+="systemd", ENV{SYSTEMD_WANTS}+="brltty-device@.service"\n'
        for product in ("10c4/ea60", "1a86/7523", "403/6001", "1209/5701")
    )
    boards = (CP2102, CH340, FT232R, BULK)
    told = outcomes(bench(*boards, files={"rules.d/85-brltty.rules": rules}), *boards)
    assert [told[name(board)].properties["SYSTEMD_WANTS"] for board in boards] == ["brltty-device@.service"] * 4
    assert [told[name(board)].properties.get("SYSTEMD_READY") for board in boards] == ["0", "0", "0", None]
    assert "SYSTEMD_READY" not in told["ttyUSB0"].properties


def test_gpsd_is_not_started_for_an_adapter(bench: Bench) -> None:
    """The line of Debian's 60-gpsd.rules, which takes every CP210x for a GPS."""
    rule = (
        'SUBSYSTEM=="tty", ATTRS{idVendor}=="10c4", ATTRS{idProduct}=="ea60", SYMLINK+="gps%n", '
        'TAG+="systemd", ENV{SYSTEMD_WANTS}="gpsdctl@%k.service"\n'
    )
    gps = replace(MODEM, vendor=0x067B, product=0xAAA0, port="4.4").moved(ttys=["ttyUSB40"])
    foreign = rule.replace("10c4", "067b").replace("ea60", "aaa0")
    told = outcomes(bench(CP2102, gps, files={"rules.d/60-gpsd.rules": rule + foreign}), CP2102, gps)
    assert "SYSTEMD_WANTS" not in told["ttyUSB0"].properties
    assert told["ttyUSB40"].properties["SYSTEMD_WANTS"] == "gpsdctl@ttyUSB40.service"


def test_somebody_may_take_one_board_out(bench: Bench) -> None:
    files = {"rules.d/60-wirelet-local.rules": 'ATTRS{serial}=="A5069RR4", ENV{WIRELET_IGNORE}="1"\n'}
    bed = bench(FT232R, FT4232, files=files)
    told = outcomes(bed, FT232R, FT4232)
    assert [path for path, outcome in told.items() if "wirelet" not in outcome.tags] == ["1-2", "ttyUSB1"]
    assert not [key for key in {**told["1-2"].properties, **told["ttyUSB1"].properties} if key.startswith("ID_MM")]
    assert latency(bed, FT232R, "bind") == [None]
    assert latency(bed, FT4232, "bind") == ["1"] * 4


def test_somebody_may_take_a_uart_out(bench: Bench) -> None:
    files = {"rules.d/60-wirelet-local.rules": 'KERNELS=="fe201000.serial", ENV{WIRELET_IGNORE}="1"\n'}
    told = outcomes(bench(UART, MINI_UART, files=files), UART, MINI_UART)
    assert [tty for tty, outcome in told.items() if "wirelet" in outcome.tags] == ["ttyS0"]


def test_somebody_may_add_a_board_to_the_table(bench: Bench) -> None:
    files = {"hwdb.d/62-local.hwdb": "usb:v12D1p1001*\n WIRELET_CHIP=mine\n"}
    told = outcomes(bench(MODEM, files=files), MODEM)
    assert told[name(MODEM)].properties["ID_MM_DEVICE_IGNORE"] == told["ttyUSB12"].properties["ID_MM_PORT_IGNORE"] == "1"


# -- line settings that only root can make


@pytest.mark.parametrize("action", ["add", "bind", "change"])
def test_ftdi_s_latency_is_a_millisecond(bench: Bench, action: str) -> None:
    """Newer kernels make the attribute only when they bind the driver; `change` is a trigger after the installation."""
    bed = bench(FT4232, CP2102)
    assert latency(bed, FT4232, action) == ["1"] * 4
    assert latency(bed, CP2102, action) == [None]


def test_somebody_may_want_another_latency(bench: Bench) -> None:
    files = {"hwdb.d/62-local.hwdb": "usb:v0403p6001*\n WIRELET_LATENCY_MS=4\n"}
    assert latency(bench(FT232R, files=files), FT232R, "bind") == ["4"]


def latency(bed: UdevBed, board: UsbDevice, action: str) -> list[str | None]:
    """What udev makes of it for each port when it handles the port's usb-serial device."""
    ports = [path.rsplit("/tty/", 1)[0] for path in board.tty_syspaths.values()]
    return [outcome.writes.get("latency_timer") for outcome in bed.outcomes(ports, action).values()]


def test_closing_is_never_waited_for_where_somebody_asks_for_it(need: Callable[[str], None], bench: Bench) -> None:
    need("setserial")
    files = {"hwdb.d/62-local.hwdb": "usb:v0403p6001*\n WIRELET_CLOSING_WAIT=none\n"}
    bed = bench(FT232R, CP2102, files=files)
    told = outcomes(bed, FT232R, CP2102)
    assert told["ttyUSB1"].runs == ("/bin/setserial /dev/ttyUSB1 closing_wait none",)
    assert told["ttyUSB0"].runs == ()
    assert outcomes(bed, FT232R, action="change")["ttyUSB1"].runs == ()


# -- the rules themselves


def objections(bed: UdevBed) -> list[str]:
    """What udev has against rules in /etc while it reads them."""
    return [line for line in bed.run(f"udevadm test {CP2102.syspath} 2>&1").splitlines() if line.startswith("/etc/udev/rules.d/")]


def test_the_rules_and_the_table_are_well_formed(bench: Bench) -> None:
    bed = bench(CP2102)
    assert objections(bed) == []
    bed.run("systemd-hwdb --strict update")
    bed.run("! udevadm verify --help >/dev/null 2>&1 || udevadm verify /etc/udev/rules.d/61-wirelet.rules >&2")


def test_a_mistake_in_the_rules_would_be_seen(bench: Bench) -> None:
    (told,) = objections(bench(CP2102, files={"rules.d/62-wrong.rules": 'SUBSYSTEM=="tty", GROPU="dialout"\n'}))
    assert "62-wrong.rules:1 Invalid key" in told


def test_asking_for_no_parent_of_a_kind_is_always_true(bench: Bench) -> None:
    """Why the rules never say SUBSYSTEMS!=: the tty of a USB adapter has parents that are not USB, itself among them."""
    bed = bench(CP2102, files={"rules.d/62-trap.rules": 'SUBSYSTEM=="tty", SUBSYSTEMS!="usb", ENV{TRAPPED}="1"\n'})
    assert outcomes(bed, CP2102)["ttyUSB0"].properties["TRAPPED"] == "1"
