"""Patterns of a console: what they match, and that they take no longer than the line."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.console_options import ConsoleOptions
from transports.driver import BadOption
from transports.protocols.console.lines import MAX_LINE_BYTES
from transports.protocols.console.pattern import MAX_PATTERN_CHARACTERS, Pattern, without_colours


@pytest.mark.parametrize(
    ("written", "line", "is_match"),
    [
        ("Tests 0 Failures", "12 Tests 0 Failures 0 Ignored", True),
        ("Tests 0 Failures", "12 Tests 10 Failures 0 Ignored", False),
        ("^OK$", "OK", True),
        ("^OK$", "OK!", False),
        ("^OK", "NOK", False),
        ("OK$", "all OK", True),
        ("a*b", "xaxbx", True),
        ("a*b", "ba", False),
        ("^a*a$", "a", False),
        ("^a*a$", "aa", True),
        ("*** Booting", "*** Booting Zephyr", True),
        (r"\*\*\* Booting", "*** Booting Zephyr", True),
        (r"\*\*\* Booting", "Booting Zephyr", False),
        (r"100\$$", "costs 100$", True),
        (r"100\$", "costs 100$ now", True),
        (r"\^up", "^up", True),
        ("a^b$c", "a^b$c", True),
        ("größe", "größe", True),
    ],
)
def test_a_pattern_is_text_with_stars_and_ends(written: str, line: str, is_match: bool) -> None:
    assert Pattern(written).matches(line.encode()) is is_match


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=12))
def test_stars_mean_what_they_mean_for_files(written: str, line: str) -> None:
    if not written.strip("*"):
        return
    assert Pattern(f"^{written}$").matches(line.encode()) is fnmatch.fnmatchcase(line, written)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "would match every line"),
        ("^*$", "would match every line"),
        ("a\\", "ends in the middle of an escape"),
        ("a" * (MAX_PATTERN_CHARACTERS + 1), "at most 200 characters"),
    ],
)
def test_a_pattern_that_is_none_is_refused_with_its_key(written: str, message: str) -> None:
    with pytest.raises(BadOption, match=message.replace("^", r"\^")) as caught:
        ConsoleOptions(fail=(written,))
    assert caught.value.option == "fail"


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(BadOption, match="at most 32 patterns, not 33"):
        ConsoleOptions(ok=("a",) * 33)


def test_colours_are_taken_out() -> None:
    assert without_colours(b"\x1b[0;32mI (12)\x1b[0m ok\x1b[K") == b"I (12) ok"
    assert without_colours(b"\x1b[half") == b"alf"


def test_no_line_takes_long() -> None:
    """The worst that is known: what backtracks, takes longer than the machine lives."""
    line, pattern = b"a" * MAX_LINE_BYTES, Pattern("*".join("a" * 50) + "*b$")
    begin = time.perf_counter()
    for _ in range(1000):
        assert not pattern.matches(line)
        without_colours(b"\x1b[" * 400)
    assert time.perf_counter() - begin < 2.0
