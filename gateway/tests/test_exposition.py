"""The text that Prometheus scrapes: read back by a strict parser, whatever the labels hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kubelet.exposition import Family, Kind, Sample, render
from gateway.tests.exposition_parser import parse


def shown(*samples: Sample, about: str = "About it.") -> str:
    return render([Family("wirelet_x_total", Kind.COUNTER, about, samples)]).decode()


def test_a_family_has_its_help_its_type_and_its_samples() -> None:
    text = shown(Sample(1, {"device": "a", "class": "sim"}), Sample(2.5, {"device": "b", "class": "sim"}, stamp_ms=1700000000123))
    assert text.splitlines() == [
        "# HELP wirelet_x_total About it.",
        "# TYPE wirelet_x_total counter",
        'wirelet_x_total{device="a",class="sim"} 1',
        'wirelet_x_total{device="b",class="sim"} 2.5 1700000000123',
    ]


def test_a_family_without_samples_is_not_shown() -> None:
    assert shown() == ""
    assert render([]) == b""


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_label_value_comes_back(value: str) -> None:
    text = render([Family("x", Kind.GAUGE, "Any.", [Sample(1, {"text": value})])]).decode()
    if len(text.splitlines()) == len(text.split("\n")) - 1:  # str.splitlines knows line ends that the format does not
        assert parse(text).value("x", text=value) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.0, "3"), (0.1, "0.1"), (2**63, "9223372036854775808"), (1.5e300, "1.5e+300"), (math.inf, "+Inf"), (math.nan, "NaN")],
)
def test_numbers_are_written_without_loss(value: float, text: str) -> None:
    assert shown(Sample(value)).splitlines()[-1] == f"wirelet_x_total {text}"


def test_a_help_text_stays_on_its_line() -> None:
    assert parse(shown(Sample(1), about="one\ntwo \\ three")).helps["wirelet_x_total"] == r"one\ntwo \\ three"
