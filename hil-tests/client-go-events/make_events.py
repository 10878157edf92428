#!/usr/bin/env python3
"""Draw series of events, let client-go correlate them, and keep what it makes of them for gateway/tests/test_client_go_events.py.

By hand, when Kubernetes is updated; with the modules that the control plane is pinned to:

    cp hil-tests/control-plane/go.* hil-tests/client-go-events/main.go DIR && (cd DIR && go build -mod=mod -o correlate .)
    .venv/bin/python hil-tests/client-go-events/make_events.py DIR/correlate
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

GOLDEN: Final = Path(__file__).resolve().parents[2] / "gateway" / "tests" / "golden" / "client_go_events.json"
CASES: Final = 10
EVENTS: Final = 100
STARTED_S: Final = 1_772_366_500.0
PAUSES_S: Final = (0.001, 0.25, 0.5, 1, 7, 30, 299, 301, 599, 601, 700)
REASONS: Final = ("Started", "BackOff", "Unhealthy")
DIFFERS: Final = "Unhealthy"
"""Each of its messages is another one. Those of the others are few: of ten and more, client-go drops any one by lot."""


def draw(rng: random.Random) -> list[dict[str, Any]]:
    now_s, events = STARTED_S, []
    is_busy = rng.random() < 0.7
    for number in range(EVENTS):
        now_s += rng.choice(PAUSES_S[:4] if is_busy and rng.random() < 0.9 else PAUSES_S)
        pod, reason = rng.choice(["a", "b"]), rng.choice(REASONS)
        events.append(
            {
                "at": now_s,
                "namespace": "lab",
                "name": pod,
                "uid": f"uid-{pod}",
                "path": rng.choice(["", "spec.containers{x}", "spec.containers{y}"]),
                "kind": rng.choice(["Normal", "Warning"]),
                "reason": reason,
                "message": f"voltage is {number} mV" if reason == DIFFERS else rng.choice(["one", "two"]),
            }
        )
    return events


def main(correlate: str) -> None:
    rng = random.Random(1)
    cases = [draw(rng) for _ in range(CASES)]
    ran = subprocess.run([correlate], input=json.dumps(cases), capture_output=True, text=True, check=True)
    rows = []
    for events, line in zip(cases, ran.stdout.splitlines(), strict=True):
        compact = [[e["at"] - STARTED_S, e["name"], e["path"], e["kind"], e["reason"], e["message"]] for e in events]
        rows.append(json.dumps([compact, in_order_of_appearance(json.loads(line))], separators=(",", ":")))
    GOLDEN.write_text(f'{{"started": {STARTED_S}, "cases": [\n' + ",\n".join(rows) + "\n]}\n")


def in_order_of_appearance(answers: list[Any]) -> list[Any]:
    """Names are made by lot; which events share one is not."""
    numbers: dict[str, int] = {}
    return [None if answer is None else [numbers.setdefault(answer[0], len(numbers)), *answer[1:]] for answer in answers]


if __name__ == "__main__":
    main(sys.argv[1])
