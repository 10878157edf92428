"""No secret is shown, however the console's text is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transports.protocols.console.redactor import Redactor


def shown(secrets: list[bytes], pieces: list[bytes]) -> bytes:
    redactor = Redactor(secrets)
    return b"".join(map(redactor.feed, pieces)) + redactor.end()


def test_a_secret_is_replaced_and_everything_else_stays() -> None:
    assert shown([b"hunter2"], [b"Password: hun", b"ter2\r\nhunt", b"ing\r\n"]) == b"Password: *****\r\nhunting\r\n"
    assert shown([b""], [b"abc"]) == b"abc"
    assert Redactor([b"hunter2"]).feed(b"login: ") == b"login: "


@given(st.lists(st.text("ab", min_size=2, max_size=5).map(str.encode), max_size=3), st.lists(st.text("abc").map(str.encode), max_size=8))
def test_where_the_text_is_cut_does_not_matter(secrets: list[bytes], pieces: list[bytes]) -> None:
    told = shown(secrets, pieces)
    for secret in secrets:
        assert secret not in told
    if not secrets:
        assert told == b"".join(pieces)
