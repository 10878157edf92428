#!/usr/bin/env python3
"""Draw logs and options, let the kubelet's own code read them, and keep what it shows for gateway/tests/test_kubelet_logs.py.

By hand, when Kubernetes is updated; with the modules that the control plane is pinned to:

    cp hil-tests/control-plane/go.* hil-tests/kubelet-logs/main.go DIR && (cd DIR && go build -mod=mod -o reader .)
    .venv/bin/python hil-tests/kubelet-logs/make.py DIR/reader
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

GOLDEN: Final = Path(__file__).resolve().parents[2] / "gateway" / "tests" / "golden" / "kubelet_logs.json"
CASES: Final = 150
S: Final = 10**9
NOW_NS: Final = 1_772_366_500 * S
BYTES: Final = b"ab \r\x00\xff\x1b\\-"


def draw_lines(rng: random.Random) -> list[tuple[int, str, bytes]]:
    """(stamp, stream, bytes) of a log of the last hundred seconds."""
    stamp_ns = NOW_NS - rng.randrange(50, 100) * S
    lines = []
    for _ in range(rng.randrange(9)):
        stamp_ns += rng.choice([0, 1, S // 3, S, 5 * S])
        lines.append((stamp_ns, rng.choice(["stdout", "stderr"]), bytes(rng.choices(BYTES, k=rng.randrange(8)))))
    return lines


def draw_options(rng: random.Random) -> dict[str, Any]:
    options = {
        "tailLines": rng.choice([None, None, 0, 1, 2, 3, 5, 100]),
        "limitBytes": rng.choice([None, None, 1, 2, 5, 20, 100]),
        "sinceSeconds": rng.choice([None, None, 1, 40, 60, 90]),
        "sinceTime": rng.choice([None, NOW_NS - rng.randrange(40, 100) * S]),
        "timestamps": rng.random() < 0.4,
    }
    if options["sinceSeconds"] is not None:
        options["sinceTime"] = None
    return {key: value for key, value in options.items() if value is not None}


def cri_line(stamp_ns: int, stream: str, data: bytes) -> bytes:
    second = datetime.fromtimestamp(stamp_ns // S, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{second}.{stamp_ns % S:09d}Z {stream} F ".encode() + data + b"\n"


def main(reader: str) -> None:
    rng = random.Random(1)
    cases = [(draw_lines(rng), draw_options(rng)) for _ in range(CASES)]
    with tempfile.TemporaryDirectory() as folder:
        asked = []
        for number, (lines, options) in enumerate(cases):
            path = Path(folder) / str(number)
            path.write_bytes(b"".join(cri_line(*line) for line in lines))
            asked.append({"path": str(path), "now": NOW_NS, **options})
        ran = subprocess.run([reader], input=json.dumps(asked), capture_output=True, text=True, check=True)
    rows = [
        json.dumps([[[stamp, stream, base64.b64encode(data).decode()] for stamp, stream, data in lines], options, shown])
        for (lines, options), shown in zip(cases, ran.stdout.splitlines(), strict=True)
    ]
    GOLDEN.write_text(f'{{"now": {NOW_NS}, "cases": [\n' + ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    main(sys.argv[1])
