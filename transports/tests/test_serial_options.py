"""What may stand below `link: {serial: ...}`: refused with the reason before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest

from transports.driver import BadOption, DurationS
from transports.modem_lines import ModemLines
from transports.rs485 import Rs485
from transports.serial_options import PortSettings, SerialOptions


def test_a_path_is_enough() -> None:
    options = SerialOptions(path="/dev/ttyUSB0")
    assert (options.baud, options.lines, options.is_rtscts, options.latency_ms) == (115200, ModemLines.LEAVE, False, 0)
    assert options.low_latency is None


@pytest.mark.parametrize(
    ("settings", "option", "message"),
    [
        ({"baud": 0}, "baud", "must be 50 to 12000000, not 0"),
        ({"baud": 12_000_001}, "baud", "must be 50 to 12000000, not 12000001"),
        ({"flow_control": "xonxoff"}, "flow_control", "must be none or rtscts: frames hold every byte value, also those that XON/XOFF"),
        ({"latency_timer": DurationS(0)}, "latency_timer", "must be 1ms to 255ms in whole milliseconds, not 0ms"),
        ({"latency_timer": DurationS(0.256)}, "latency_timer", "must be 1ms to 255ms in whole milliseconds, not 256ms"),
        ({"latency_timer": DurationS(0.0015)}, "latency_timer", "must be 1ms to 255ms in whole milliseconds, not 1.5ms"),
        ({"latency_timer": DurationS(0.002), "low_latency": True}, "latency_timer", "must be left out with lowLatency: true"),
        ({"path": "rfc2217://pi2.lab:3001"}, "path", "must be a tty of this machine; that of another one is `link: {rfc2217:"),
        ({"path": "nul\0"}, "path", "must not be empty or hold a zero byte"),
    ],
)
def test_what_could_only_fail_later_is_refused_now(settings: dict[str, Any], option: str, message: str) -> None:
    with pytest.raises(BadOption) as refused:
        SerialOptions(**{"path": "/dev/ttyUSB0", **settings})
    assert refused.value.option == option
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "claims"),
    [
        ({"flow_control": "rtscts", "rs485": Rs485()}, "flowControl: rtscts and rs485"),
        ({"flow_control": "rtscts", "modem_lines": "esp-autoreset"}, "flowControl: rtscts and modemLines: esp-autoreset"),
        ({"rs485": Rs485(), "modem_lines": "esp-autoreset"}, "rs485 and modemLines: esp-autoreset"),
    ],
)
def test_only_one_can_drive_rts(settings: dict[str, Any], claims: str) -> None:
    with pytest.raises(ValueError, match=f"{claims} cannot be together: each drives RTS"):
        PortSettings(**settings)


@pytest.mark.parametrize("latency_ms", [1, 2, 16, 255])
def test_a_latency_in_whole_milliseconds_is_taken_exactly(latency_ms: int) -> None:
    assert PortSettings(latency_timer=DurationS(latency_ms / 1000)).latency_ms == latency_ms
