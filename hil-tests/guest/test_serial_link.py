"""What the gateway's serial link makes of the real ftdi_sio: modem lines, line errors, rates, latency, and a device that takes nothing."""

from __future__ import annotations

import pytest
from guest.auto_reset import Boot
from guest.ft232 import Happening, Latency, LineError, Lines, ModemInput
from guest.ft232_adapter import Ft232Adapter
from guest.held_link import HeldLink, serial
from guest.stand import Stand

from transports.driver import DurationS
from transports.errors import LinkError
from transports.link import LineErrors
from transports.serial_options import PortSettings

UP = Lines(dtr=True, rts=True)
EN_LOW = Lines(dtr=False, rts=True)
POLICIES = ("leave", "assert", "esp-autoreset")
DIALOUT = {"user": "nobody", "groups": ("dialout",)}


def held(stand: Stand, adapter: Ft232Adapter, settings: PortSettings) -> HeldLink:
    """A link to the adapter's port, as the gateway would have it: without root."""
    adapter.await_plugged()
    return stand.calls(**DIALOUT).keep(HeldLink, serial, adapter.by_id, settings)  # type: ignore[arg-type]  # as the keywords are


def lines_of(happened: list[Happening]) -> list[Lines]:
    return [each for each in happened if isinstance(each, Lines)]


# -- modem lines


@pytest.mark.parametrize("policy", POLICIES)
def test_both_lines_rise_at_the_open_and_nothing_moves_them_after_it(stand: Stand, policy: str) -> None:
    adapter = stand.ft232("W2000")
    adapter.board("board-a", has_auto_reset=True)
    link = held(stand, adapter, PortSettings(modem_lines=policy))  # type: ignore[arg-type]  # one of them
    for _ in range(2):
        link.open()
        assert set(lines_of(adapter.happened())) == {UP}
        link.close()
        assert lines_of(adapter.happened()) == []
    assert adapter.boots() == []


def test_a_reset_by_the_lines_boots_the_program(stand: Stand) -> None:
    adapter = stand.ft232("W2001")
    adapter.board("board-a", has_auto_reset=True)
    link = held(stand, adapter, PortSettings(modem_lines="esp-autoreset"))
    link.open()
    adapter.happened()
    link.reset()
    assert lines_of(adapter.happened()) == [EN_LOW, UP]
    adapter.await_boots([Boot.PROGRAM])
    assert b"reset cause" in link.receive(200)
    link.close()


# -- errors of the line


def test_line_errors_are_those_since_the_open(stand: Stand) -> None:
    adapter = stand.ft232("W2002")
    link = held(stand, adapter, PortSettings())
    for _ in range(2):
        link.open()
        assert link.line_errors() == LineErrors()
        for error in (LineError.FRAMING, LineError.FRAMING, LineError.PARITY, LineError.OVERRUN):
            adapter.put(b"x", error)
            link.receive(1)
        adapter.put(b"\0", LineError.BREAK)
        link.receive(1)
        errors = link.line_errors()
        assert errors is not None
        assert (errors.framing, errors.parity, errors.overrun, errors.breaks) == (2, 1, 1, 1)
        link.close()


# -- rates, flow control, latency


def test_a_rate_that_the_chip_makes_nearly_is_taken(stand: Stand) -> None:
    adapter = stand.ft232("W2003")
    link = held(stand, adapter, PortSettings(baud=74880))
    link.open()
    assert round(adapter.baud()) == 74766
    link.close()


def test_a_rate_at_which_the_driver_falls_back_is_refused(stand: Stand) -> None:
    adapter = stand.ft232("W2004")
    link = held(stand, adapter, PortSettings(baud=3_500_000))
    with pytest.raises(LinkError, match="the port runs at 9600 baud, not at 3500000"):
        link.open()


def test_low_latency_needs_no_rights_and_is_a_timer_of_one_millisecond(stand: Stand) -> None:
    adapter = stand.ft232("W2005")
    link = held(stand, adapter, PortSettings(low_latency=True))
    adapter.happened()
    link.open()
    assert Latency(1) in adapter.happened()
    link.close()


def test_the_latency_timer_is_set(stand: Stand) -> None:
    adapter = stand.ft232("W2010")
    adapter.await_plugged()
    link = stand.calls().keep(HeldLink, serial, adapter.by_id, PortSettings(latency_timer=DurationS(0.004)))  # as root
    adapter.happened()
    link.open()
    assert Latency(4) in adapter.happened()
    link.close()


def test_flow_control_holds_the_output_back_and_lets_it_go(stand: Stand) -> None:
    adapter = stand.ft232("W2006")
    adapter.loop_back()
    link = held(stand, adapter, PortSettings(flow_control="rtscts"))
    link.open()
    link.send(b"before")
    assert link.receive(6) == b"before"
    adapter.set_modem(ModemInput.DSR)
    assert not link.send_for(bytes(100_000), 0.5)
    adapter.set_modem(ModemInput.DSR | ModemInput.CTS)
    link.send(b"after")
    assert link.receive(1 << 20).endswith(b"after")
    link.close()


# -- closing


def test_closing_a_port_whose_device_takes_nothing_holds_up_nobody(stand: Stand) -> None:
    """It would wait 30 s, and the hub's unplugs and plugs with it."""
    adapter, other = stand.ft232("W2007"), stand.ft232("W2008")
    other.await_plugged()
    link = held(stand, adapter, PortSettings())
    link.open()
    adapter.stick()
    link.send(bytes(64))
    link.close()
    other.unplug()
    other.await_unplugged()
    link.open()
    adapter.unstick()
    link.close()


def test_unplugging_ends_the_link(stand: Stand) -> None:
    adapter = stand.ft232("W2009")
    link = held(stand, adapter, PortSettings())
    link.open()
    adapter.unplug()
    assert "hung up" in link.receive_until_lost()
    link.close()
    adapter.plug()
    adapter.await_plugged()
    link.open()
    link.close()
