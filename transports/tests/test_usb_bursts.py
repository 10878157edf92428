"""How bursts are cut into transfers, and where an empty packet ends one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.usb_bursts import TRANSFER_BYTES, transfers


@pytest.mark.parametrize(
    ("burst_bytes", "packet_bytes", "lengths"),
    [
        (0, 512, []),
        (1, 512, [1]),
        (511, 512, [511]),
        (512, 512, [512, 0]),
        (513, 512, [513]),
        (64, 64, [64, 0]),
        (64, 512, [64]),
        (1024, 1024, [1024, 0]),
        (TRANSFER_BYTES, 512, [TRANSFER_BYTES, 0]),
        (TRANSFER_BYTES + 1, 512, [TRANSFER_BYTES, 1]),
        (2 * TRANSFER_BYTES + 512, 512, [TRANSFER_BYTES, TRANSFER_BYTES, 512, 0]),
    ],
)
def test_a_burst_that_ends_on_a_full_packet_is_followed_by_an_empty_one(burst_bytes: int, packet_bytes: int, lengths: list[int]) -> None:
    assert [len(each) for each in transfers(bytes(burst_bytes), packet_bytes)] == lengths


@given(burst=st.binary(max_size=3 * TRANSFER_BYTES), packet_bytes=st.sampled_from([8, 16, 32, 64, 512, 1024]))
def test_nothing_is_lost_and_only_the_last_packet_is_short(burst: bytes, packet_bytes: int) -> None:
    cut = list(transfers(burst, packet_bytes))
    assert b"".join(cut) == burst
    assert all(len(each) % packet_bytes == 0 for each in cut[:-1])
    assert not cut or len(cut[-1]) % packet_bytes or not cut[-1]
