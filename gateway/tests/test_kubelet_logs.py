"""Our reader against the kubelet's: the same bytes for the same lines and options.

golden/kubelet_logs.json holds what the kubelet's own code (ReadLogs, pkg/logs/logs.go:286 of k8s.io/cri-client v0.36.3) shows of drawn
logs; hil-tests/kubelet-logs makes it. One difference is meant and not in there: of a line that was printed in pieces the kubelet's tail
counts the pieces, ours the line.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.logs.reader import LogOptions, read
from gateway.logs.record import Entry, Stream
from gateway.logs.store import AttemptKey, LogStore

GOLDEN: Final = json.loads((Path(__file__).parent / "golden" / "kubelet_logs.json").read_text())
KEY: Final = AttemptKey("uid", "main", 1)
NOW_NS: Final = int(GOLDEN["now"])
BOOTED_NS: Final = NOW_NS - 1000 * 10**9
STREAMS: Final = {"stdout": Stream.STDOUT, "stderr": Stream.STDERR}


class GoldenClock:
    def boot_ns(self) -> int:
        return NOW_NS - BOOTED_NS

    def offset_ns(self) -> int:
        return BOOTED_NS


def options_of(written: dict[str, Any]) -> LogOptions:
    since_ns = written.get("sinceTime")
    return LogOptions(
        tail_lines=written.get("tailLines"),
        limit_bytes=written.get("limitBytes"),
        since_seconds=written.get("sinceSeconds"),
        since_time=None if since_ns is None else datetime.fromtimestamp(since_ns // 10**9, UTC),
        timestamps=written.get("timestamps", False),
    )


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path, budget_bytes=1 << 20)


@pytest.mark.parametrize("number", range(len(GOLDEN["cases"])))
async def test_the_kubelet_shows_the_same(store: LogStore, number: int) -> None:
    lines, options, shown = GOLDEN["cases"][number]
    store.append(KEY, [Entry(stamp - BOOTED_NS, STREAMS[stream], base64.b64decode(data)) for stamp, stream, data in lines])
    store.close_attempt(KEY)
    pieces = [piece async for piece in read(store, KEY, options_of(options), clock=GoldenClock())]
    assert b"".join(pieces) == base64.b64decode(shown), options
