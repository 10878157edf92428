"""A device that is played by hand, in session with a gateway; and what the gateway told of it."""

from __future__ import annotations

from transports.protocol import Joined, Left, RecordKind
from transports.tests.wire_peer import DevicePeer
from transports.tests.wire_rig import Gateway
from transports.wire.messages import Answer, ListAnswer
from transports.wire.numbers import CH_CTRL
from transports.wire.records import encode_record

LINE = encode_record(1000, 0, RecordKind.STDOUT, b"twelve bytes")


def joined(device: DevicePeer) -> list[Joined]:
    return [event for event in device.gateway.events if isinstance(event, Joined)]


def left(device: DevicePeer) -> list[str]:
    return [event.why for event in device.gateway.events if isinstance(event, Left)]


def listed_device(gateway: Gateway | None = None) -> DevicePeer:
    """A device that joined and answered LIST and INVENTORY."""
    device = DevicePeer(gateway)
    device.join()
    for rid, end in ((1, 5), (2, 10)):
        body = ListAnswer().to_map() if rid == 1 else {1: [], 3: 1}
        device.say_ack(device.sid, CH_CTRL, end)
        device.control(Answer(rid, 0, body))
    device.take()
    return device
