"""A device with nothing to say is back as soon as its port is, and a port that never spoke is left in peace."""

from __future__ import annotations

from transports.protocol import Listed
from transports.tests.wire_rig import Rig


def listed(rig: Rig) -> int:
    return len(rig.gateway.of(Listed))


def test_quiet_device_is_back_at_once_after_a_replug() -> None:
    rig = Rig()
    rig.until(lambda: listed(rig) == 1)
    rig.run(0.5)
    rig.cut()
    rig.run(0.2)
    rig.plug()
    assert rig.until(lambda: listed(rig) == 2) < 0.1


def test_quiet_device_is_back_at_once_after_the_gateway_was_killed() -> None:
    rig = Rig()
    rig.until(lambda: listed(rig) == 1)
    rig.firmware.log(b"so that there is a checkpoint", rig.now)
    rig.run(0.5)
    rig.kill_gateway()
    assert rig.until(lambda: listed(rig) == 1) < 0.1


def test_a_new_port_hears_nothing_before_the_device_speaks() -> None:
    rig = Rig()
    assert rig.gateway.core.data_to_send(rig.now) == b""
