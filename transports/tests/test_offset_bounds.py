"""A device that tells of more bytes than there can be is refused at the door: nothing behind it has room for such numbers."""

from __future__ import annotations

import pytest

from transports.errors import RemoteProtocolError
from transports.protocol import Joined, Problem
from transports.tests.wire_peer import DevicePeer
from transports.wire.messages import status_from_map
from transports.wire.offsets import MAX_OFFSET

LONG = (1 << 64) - 1


@pytest.mark.parametrize("key", [5, 6])
def test_a_status_beyond_any_log_is_refused(key: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"key {key}"):
        status_from_map({1: 7, 2: 1, 3: 0, 4: 4, key: MAX_OFFSET})


def test_a_log_beyond_any_log_begins_no_session() -> None:
    device = DevicePeer()
    device.join(base=LONG - 1, end=LONG)
    assert [event.reason for event in device.gateway.events if isinstance(event, Problem)] == ["MalformedMessage"]
    assert not [event for event in device.gateway.events if isinstance(event, Joined)]
    device.join(base=MAX_OFFSET - 1, end=MAX_OFFSET - 1)
    assert len([event for event in device.gateway.events if isinstance(event, Joined)]) == 1
