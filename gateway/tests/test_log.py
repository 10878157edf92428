"""The gateway's own log is one line a record, whatever a device says."""

from __future__ import annotations

import logging

import pytest

from gateway.log import KeyValueFormatter


def line(message: str, *args: object, **extra: object) -> str:
    record = logging.getLogger("test").makeRecord("test", logging.WARNING, "file.py", 1, message, args, None, extra=extra)
    return KeyValueFormatter().format(record)


def test_fields_follow_the_message_in_their_order() -> None:
    assert line("link is down", device="board-a", why="no such port") == 'WARNING link is down device=board-a why="no such port"'


def test_every_field_is_shown_and_none_that_is_not_there() -> None:
    assert line("seen", uid="u-1", directory="/x", count=3, pod=None) == "WARNING seen uid=u-1 directory=/x count=3"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("two\nlines", "two\\nlines"),
        ("\x1b[2J", "\\x1b[2J"),
        ('x" device=board-b', '"x\\" device=board-b"'),
        ("a=b", '"a=b"'),
        ("back\\slash", '"back\\\\slash"'),
        ("grün", "grün"),
    ],
)
def test_what_a_device_says_stays_in_its_field(said: str, shown: str) -> None:
    assert line("said", why=said) == f"WARNING said why={shown}"


def test_a_message_cannot_begin_another_line() -> None:
    assert line("refused: %s", "bad\nERROR all is lost") == "WARNING refused: bad\\nERROR all is lost"


def test_a_traceback_follows_its_line() -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        record = logging.makeLogRecord({"msg": "broken", "levelname": "ERROR", "exc_info": (ValueError, error, error.__traceback__)})
    first, *rest = KeyValueFormatter().format(record).splitlines()
    assert first == "ERROR broken"
    assert rest[-1] == "ValueError: x"
