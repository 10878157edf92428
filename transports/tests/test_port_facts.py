"""What is read of a port, and what it is called across unplug and reset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.discovery.facts import MAX_TEXT, Kind, PortFacts, UdevRecord, facts_of
from transports.discovery.identity import Rung, describe, identity_of, place_of
from transports.tests.port_examples import adapter, uart, usb_serial_record


def test_an_adapter_is_read_from_udevs_properties_and_its_place_in_sysfs() -> None:
    port = adapter("ttyUSB3", "1-1.3", interface=1, port_number=2)
    assert (port.kind, port.node, port.vid_pid, port.serial) == (Kind.TTY, "/dev/ttyUSB3", "0403:6001", "A5069RR4")
    assert (port.hub_port, port.interface, port.port_number) == ("1-1.3", 1, 2)
    assert (port.id_path, place_of(port)) == ("pci-0000:00:14.0-usb-0:1.3:1.1", "pci-0000:00:14.0-usb-0:1.3")
    assert (port.product, port.driver, port.instance) == ("FT232R USB UART", "ftdi_sio", 1000)


def test_without_udevs_rules_the_kernels_files_say_the_same() -> None:
    told = usb_serial_record()
    attributes = {
        "vid": "0403",
        "pid": "6001",
        "serial": "A5069RR4",
        "product": "FT232R USB UART",
        "driver": "ftdi_sio",
        "port_number": "0",
    }
    bare = facts_of(UdevRecord(told.path, "tty", told.node, {}, attributes))
    assert bare is not None
    known = adapter()
    names = ("vid", "pid", "serial", "hub_port", "interface", "port_number", "product", "driver")
    assert [getattr(bare, name) for name in names] == [getattr(known, name) for name in names]


def test_the_vendor_of_a_pci_card_is_not_taken_for_that_of_the_adapter_behind_it() -> None:
    told = usb_serial_record()
    properties = {**told.properties, "ID_BUS": "pci", "ID_VENDOR_ID": "0x8086", "ID_MODEL_ID": "0xa36d"}
    port = facts_of(UdevRecord(told.path, "tty", told.node, properties, {"vid": "0403", "pid": "6001"}))
    assert port is not None
    assert port.vid_pid == "0403:6001"


@pytest.mark.parametrize(
    ("path", "platform", "number"),
    [
        ("/devices/platform/soc/fe201000.serial/tty/ttyAMA0", "platform/soc/fe201000.serial", None),
        ("/devices/pnp0/00:00/00:00:0/00:00:0.0/tty/ttyS0", "pnp0/00:00", 0),
        ("/devices/platform/serial8250/serial8250:0/serial8250:0.2/tty/ttyS2", "platform/serial8250", 2),
        ("/devices/platform/axi/1000120000.pcie/1f00030000.serial/tty/ttyAMA0", "platform/axi/1000120000.pcie/1f00030000.serial", None),
    ],
)
def test_an_on_board_uart_is_its_hardware(path: str, platform: str, number: int | None) -> None:
    port = facts_of(UdevRecord(path, "tty", "/dev/" + path.rpartition("/")[2], {}, {"type": "4"}))
    assert port is not None
    assert (port.platform, port.port_number, port.hub_port, identity_of(port).rung) == (platform, number, None, Rung.PLATFORM)


def test_the_kernels_console_is_said_to_be_it() -> None:
    port = facts_of(UdevRecord("/devices/pnp0/00:04/tty/ttyS0", "tty", "/dev/ttyS0", {}, {"type": "4", "console": "Y"}))
    assert port is not None
    assert describe(port) == "UART pnp0/00:04, the kernel's console"


@pytest.mark.parametrize(
    "record",
    [
        UdevRecord("/devices/virtual/tty/tty1", "tty", "/dev/tty1"),
        UdevRecord("/devices/platform/serial8250/tty/ttyS3", "tty", "/dev/ttyS3", {}, {"type": "0"}),
        UdevRecord("/devices/pci0000:00/0000:00:14.0/usb1/1-0:1.0/ttyUSB0/tty/ttyUSB0", "tty", ""),
        UdevRecord("/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0", "usb", "", {"DEVTYPE": "usb_interface"}),
        UdevRecord("/devices/pci0000:00/0000:00:14.0/usb1/1-1", "usb", "/dev/bus/usb/001/002", {"DEVTYPE": "usb_device", "TYPE": "9/0/1"}),
        UdevRecord("/devices/pci0000:00/0000:00:14.0/usb1", "usb", "/dev/bus/usb/001/001", {"DEVTYPE": "usb_device"}),
        UdevRecord("/devices/pci0000:00/0000:00:1f.2/ata1/host0/block/sda", "block", "/dev/sda"),
    ],
    ids=["console", "absent uart", "no node", "interface", "hub", "root hub", "disk"],
)
def test_what_is_no_port_is_none(record: UdevRecord) -> None:
    assert facts_of(record) is None


def test_a_whole_usb_device_is_a_port_of_its_own() -> None:
    properties = {"DEVTYPE": "usb_device", "ID_VENDOR_ID": "2E8A", "ID_MODEL_ID": "0003", "ID_SERIAL_SHORT": "E0C9125B0D9B"}
    port = facts_of(UdevRecord("/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1.2", "usb", "/dev/bus/usb/001/007", properties))
    assert port is not None
    assert (port.kind, port.vid_pid, port.serial, port.hub_port, port.interface) == (Kind.USB, "2e8a:0003", "E0C9125B0D9B", "1-1.2", None)


def test_a_chip_may_say_anything() -> None:
    port = adapter(serial="A\n\x1b[31m" + "9" * 500, product="x" * 500)
    assert port.serial is not None
    assert "\n" not in port.serial
    assert "\x1b" not in port.serial
    assert len(port.serial) <= MAX_TEXT
    assert "\n" not in describe(port)


# -- names


@pytest.mark.parametrize("serial", [None, "", "0001", "00000000", "0123456789ABCDEF", " 0001 "])
def test_what_every_unit_says_is_no_serial_number(serial: str | None) -> None:
    assert adapter(serial=serial).real_serial is None


@pytest.mark.parametrize("serial", ["A5069RR4", "34:85:18:AB:CD:EF", "0001A"])
def test_what_one_unit_says_is(serial: str) -> None:
    assert adapter(serial=serial).real_serial == serial


def test_a_serial_number_goes_with_the_adapter_and_a_place_stays() -> None:
    here, there = adapter("ttyUSB0", "1-1.3"), adapter("ttyUSB1", "1-1.4")
    assert identity_of(here) == identity_of(there)
    assert identity_of(here).rung is Rung.SERIAL
    mute_here, mute_there = adapter(hub_port="1-1.3", serial=None), adapter(hub_port="1-1.4", serial="0001")
    assert identity_of(mute_here).rung is identity_of(mute_there).rung is Rung.PLACE
    assert identity_of(mute_here) != identity_of(mute_there)
    assert identity_of(mute_here) == identity_of(adapter("ttyUSB7", "1-1.3", serial="0000", usec=5))


def test_the_ports_of_one_chip_have_different_names() -> None:
    chip = [adapter(f"ttyUSB{number}", interface=number // 2, port_number=number % 2) for number in range(4)]
    assert len({identity_of(port).text for port in chip}) == 4
    mute = [adapter(f"ttyUSB{number}", serial=None, interface=number // 2, port_number=number % 2) for number in range(4)]
    assert len({identity_of(port).text for port in mute}) == 4


ports = st.builds(
    adapter,
    name=st.sampled_from(["ttyUSB0", "ttyUSB1", "ttyACM0"]),
    hub_port=st.sampled_from(["1-1", "1-1.3", "2-1.4.2"]),
    serial=st.one_of(st.none(), st.sampled_from(["0001", "A1", "B2"]), st.text(max_size=20)),
    interface=st.integers(0, 3),
    port_number=st.integers(0, 3),
) | st.builds(uart, path=st.sampled_from(["platform/soc/fe201000.serial", "pnp0/00:00"]))


@given(ports)
def test_no_text_for_others_holds_the_name_of_a_node(port: PortFacts) -> None:
    for text in (identity_of(port).text, describe(port)):
        told = text.replace(port.serial or "\0", "")  # a chip may call itself what it likes
        assert "tty" not in told
        assert "/dev" not in told
