"""Which port a rule means: exactly one, or a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.discovery.facts import PortFacts
from transports.discovery.match import MAX_TOLD, MatchRule, NotOne, find, rule_for
from transports.tests.port_examples import adapter, uart

FTDI = adapter("ttyUSB0", "1-1.3")
CH340_A = adapter("ttyUSB1", "1-1.1", vid_pid="1a86:7523", serial=None, product="USB_Serial", driver="ch341")
CH340_B = adapter("ttyUSB2", "1-1.2", vid_pid="1a86:7523", serial=None, product="USB_Serial", driver="ch341")
QUAD = [adapter(f"ttyUSB{4 + n}", "1-1.4", vid_pid="0403:6011", serial="FT5XYZ", interface=n, product="Quad") for n in range(4)]
UART = uart()
DESK = [FTDI, CH340_A, CH340_B, *QUAD, UART]


def found(rule: MatchRule, ports: list[PortFacts] = DESK) -> PortFacts:
    port = find(rule, ports)
    assert isinstance(port, PortFacts), port
    return port


def refused(rule: MatchRule, ports: list[PortFacts] = DESK) -> NotOne:
    answer = find(rule, ports)
    assert isinstance(answer, NotOne), answer
    return answer


@pytest.mark.parametrize(
    ("rule", "port"),
    [
        (MatchRule(usb_serial="A5069RR4"), FTDI),
        (MatchRule(vid_pids=("0403:6001",)), FTDI),
        (MatchRule(port="1-1.1"), CH340_A),
        (MatchRule(port="pci-0000:00:14.0-usb-0:1.2", vid_pids=("1a86:7523",)), CH340_B),
        (MatchRule(port="pci-0000:00:14.0-usb-0:1.4:1.2"), QUAD[2]),
        (MatchRule(usb_serial="FT5XYZ", interface=3), QUAD[3]),
        (MatchRule(platform="fe201000.serial"), UART),
        (MatchRule(platform="platform/soc/fe201000.serial"), UART),
    ],
    ids=str,
)
def test_a_rule_finds_its_port(rule: MatchRule, port: PortFacts) -> None:
    assert found(rule) is port


def test_two_equal_adapters_without_serials_are_told_apart_by_their_ports() -> None:
    refusal = refused(MatchRule(vid_pids=("1a86:7523",)))
    assert refusal.are_several
    assert refusal.why.startswith("2 ports have vidPids 1a86:7523; tell them apart by port; ")
    assert found(MatchRule(vid_pids=("1a86:7523",), port="1-1.1")) is CH340_A
    assert found(MatchRule(vid_pids=("1a86:7523",), port="1-1.2")) is CH340_B


def test_the_ports_of_one_chip_are_told_apart_by_their_interfaces() -> None:
    assert "4 ports have usbSerial FT5XYZ; tell them apart by interface; " in refused(MatchRule(usb_serial="FT5XYZ")).why


def test_what_was_looked_for_and_what_is_there_is_told() -> None:
    refusal = refused(MatchRule(usb_serial="GONE"), [FTDI, CH340_A, UART])
    assert not refusal.are_several
    assert refusal.why == (
        "no port with usbSerial GONE; there are: 0403:6001 FT232R USB UART with serial A5069RR4 at port 1-1.3 port 0; "
        "1a86:7523 USB Serial without a serial number at port 1-1.1 port 0; UART platform/soc/fe201000.serial"
    )
    assert refused(MatchRule(usb_serial="GONE"), []).why == "no port with usbSerial GONE; there is none at all"
    many = [adapter(f"ttyUSB{n}", f"1-{n + 1}", serial=f"S{n}A") for n in range(MAX_TOLD + 3)]
    assert refused(MatchRule(usb_serial="GONE"), many).why.endswith("; and 3 more")


def test_a_serial_number_that_every_unit_says_finds_nothing() -> None:
    fake = adapter(serial="0001")
    assert not refused(MatchRule(usb_serial="0001"), [fake]).are_several
    assert found(MatchRule(port="1-1.3"), [fake]) is fake


def test_a_serial_number_may_be_written_as_the_chip_or_as_udev_does() -> None:
    told_by_udev = adapter(serial="AB_12_3")
    assert found(MatchRule(usb_serial="AB 12/3"), [told_by_udev]) is told_by_udev
    told_by_kernel = adapter(serial="AB 12/3")
    assert found(MatchRule(usb_serial="AB_12_3"), [told_by_kernel]) is told_by_kernel


def test_a_board_is_known_in_its_boot_modes() -> None:
    rule = MatchRule(usb_serial="34:85:18:AB:CD:EF", vid_pids=("303a:4001",), boot_modes=("303a:1001",))
    app = adapter("ttyACM0", "1-1.2", vid_pid="303a:4001", serial="34:85:18:AB:CD:EF", driver="cdc_acm")
    same_serial = adapter("ttyACM1", "1-1.4", vid_pid="303a:1001", serial="34:85:18:AB:CD:EF", driver="cdc_acm")
    at_its_plug = adapter("ttyACM1", "1-1.2", vid_pid="303a:1001", serial=None, driver="cdc_acm")
    elsewhere = adapter("ttyACM1", "1-1.3", vid_pid="303a:1001", serial=None, driver="cdc_acm")
    other_board = adapter("ttyACM1", "1-1.2", vid_pid="303a:4001", serial="34:85:18:00:00:01", driver="cdc_acm")
    assert find(rule, [app], "1-1.2") is app
    assert find(rule, [same_serial], "1-1.2") is same_serial
    assert find(rule, [at_its_plug], "1-1.2") is at_its_plug
    assert find(rule, [app, elsewhere], "1-1.2") is app
    assert isinstance(find(rule, [elsewhere], "1-1.2"), NotOne)
    assert isinstance(find(rule, [at_its_plug], None), NotOne)
    assert isinstance(find(rule, [other_board], "1-1.2"), NotOne)
    by_port = MatchRule(port="1-1.2", vid_pids=("303a:4001",), boot_modes=("303a:1001",))
    assert find(by_port, [at_its_plug]) is at_its_plug


# -- laws

serials = st.one_of(st.none(), st.sampled_from(["0001", "A5069RR4", "B7"]))
desks = st.lists(
    st.builds(
        adapter,
        name=st.integers(0, 99).map(lambda number: f"ttyUSB{number}"),
        hub_port=st.sampled_from(["1-1", "1-2", "1-1.3"]),
        serial=serials,
        interface=st.integers(0, 1),
        port_number=st.integers(0, 1),
        vid_pid=st.sampled_from(["0403:6001", "1a86:7523"]),
    ),
    max_size=8,
    unique_by=lambda port: (port.key, port.node),
)


@given(desks)
def test_the_rule_that_is_offered_for_a_port_means_it_and_no_other(desk: list[PortFacts]) -> None:
    for port in desk:
        rule = rule_for(port, desk)
        places = [(other.hub_port, other.interface, other.port_number) for other in desk]
        if rule is None:
            assert places.count((port.hub_port, port.interface, port.port_number)) > 1
        else:
            assert find(rule, desk) is port


rules = st.builds(
    MatchRule,
    usb_serial=serials,
    vid_pids=st.sampled_from([(), ("0403:6001",), ("1a86:7523", "0403:6001")]),
    port=st.sampled_from([None, "1-1", "1-1.3"]),
    interface=st.sampled_from([None, 0, 1]),
    port_number=st.sampled_from([None, 0]),
)


@given(rules, desks, st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_of_the_ports(rule: MatchRule, desk: list[PortFacts], lot: object) -> None:
    shuffled = list(desk)
    lot.shuffle(shuffled)  # type: ignore[attr-defined]  # random.Random
    one, other = find(rule, desk), find(rule, shuffled)
    if isinstance(one, PortFacts):
        assert one is other
    else:
        assert isinstance(other, NotOne)
        assert one.are_several is other.are_several


@given(rules, desks)
def test_no_reason_holds_the_name_of_a_node(rule: MatchRule, desk: list[PortFacts]) -> None:
    answer = find(rule, desk)
    if isinstance(answer, NotOne):
        assert "tty" not in answer.why
        assert "/dev" not in answer.why
