"""Our correlation of events against client-go's own: of the same events the same are written, combined, counted and held back.

golden/client_go_events.json holds what record.EventCorrelator of k8s.io/client-go v0.36.3 makes of drawn events; hil-tests/client-go-events
makes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.kube.correlation import Correlator, Event, InvolvedObject

GOLDEN: Final = json.loads((Path(__file__).parent / "golden" / "client_go_events.json").read_text())


@pytest.mark.parametrize("number", range(len(GOLDEN["cases"])))
def test_client_go_writes_the_same(number: int) -> None:
    events, expected = GOLDEN["cases"][number]
    correlator, names = Correlator(), dict[str, int]()
    made: list[Any] = []
    for after_s, pod, path, kind, reason, message in events:
        involved = InvolvedObject("v1", "Pod", "lab", pod, f"uid-{pod}", path)
        write = correlator.correlate(Event(involved, kind, reason, message), GOLDEN["started"] + after_s)
        made.append(None if write is None else [names.setdefault(write.name, len(names)), write.count, write.event.message])
    assert made == expected


def test_the_golden_series_show_every_rule() -> None:
    answers = [answer for _, expected in GOLDEN["cases"] for answer in expected]
    assert None in answers
    assert any(answer and answer[2].startswith("(combined from similar events): ") for answer in answers)
    assert max(answer[1] for answer in answers if answer) > 5
