"""Where an answer of the wrapper ends: only where the nonce says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import RemoteProtocolError
from transports.protocols.exec_replies import MAX_ANSWER_BYTES, Reply, ReplyReader

NONCE = "00112233445566aa"
BODIES = st.binary(max_size=60) | st.sampled_from([b"\n. ", b". 0 1.00 ok\n", b"\n. 00112233445566ab 0 1.00 ok\n", b"\n"])


def answer(body: bytes, code: int = 0, text: str = "ok") -> bytes:
    return body + f"\n. {NONCE} {code} 12.34 {text}\n".encode()


@given(st.lists(BODIES, max_size=4), st.integers(1, 7))
def test_bodies_of_any_bytes_come_out_as_they_were(bodies: list[bytes], step: int) -> None:
    reader = ReplyReader(NONCE)
    stream = answer(b"") + b"".join(answer(body, 3, "why not") for body in bodies)
    got = [reply for at in range(0, len(stream), step) for reply in reader.feed(stream[at : at + step])]
    assert [reply.body for reply in got[1:]] == bodies
    assert all(reply == Reply(3, 12340, "why not", reply.body) for reply in got[1:])


def test_what_a_login_shell_says_is_part_of_the_first_answer_only() -> None:
    reader = ReplyReader(NONCE)
    first, second = reader.feed(b"Welcome!\n. 0 0 0\n" + answer(b"") + answer(b"x"))
    assert b"Welcome" in first.body
    assert second.body == b"x"


@pytest.mark.parametrize(
    "stream",
    [
        b"x" * (MAX_ANSWER_BYTES + 1),
        f"\n. {NONCE} no code\n".encode(),
        f"\n. {NONCE} ".encode() + b"9" * 2000,
    ],
)
def test_what_cannot_be_an_answer_is_refused(stream: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        ReplyReader(NONCE).feed(stream)
