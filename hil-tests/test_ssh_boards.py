"""A board on a serial port of a machine with sshd: the framed protocol through the ssh link, whose connection breaks and comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from counted import account
from gateways import Gateway
from sshd import Sshd, running
from workbench import Workbench

DEADLINE_S = 60.0


@pytest.fixture
def sshd(tmp_path: Path, need: Callable[[str], None]) -> Iterator[Sshd]:
    need("sshd")
    need("socat")
    with running(tmp_path / "sshd") as server:
        yield server


def numbers(gateway: Gateway) -> list[str]:
    return gateway.run_cli("logs", "counter").stdout.splitlines()


def wait_for(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_board_behind_sshd_loses_no_line_when_the_connection_is_killed(workbench: Workbench, sshd: Sshd, tmp_path: Path) -> None:
    boards = workbench.boards(1)
    manifests = tmp_path / "pods"
    manifests.mkdir()
    counter = {"name": "main", "image": "counter", "args": ["--rate", "100"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "counter"}, "spec": {"containers": [counter]}}
    (manifests / "counter.json").write_text(json.dumps(pod))
    gateway = workbench.gateway(
        {
            "node": {"name": "x"},
            "classes": [{"name": "sim", "shared": True}],
            "devices": [{"name": "far", "class": "sim", "link": sshd.link(command=f"exec socat STDIO FILE:{boards.links[0]},raw,echo=0")}],
        },
        "--standalone",
        "--manifests",
        str(manifests),
    )
    wait_for(lambda: len(numbers(gateway)) > 50, "the counter counts")
    seen = len(numbers(gateway))
    sshd.drop_connections()
    wait_for(lambda: len(numbers(gateway)) > seen + 200, "it goes on after the connection was killed")
    told = account(numbers(gateway))
    assert told.missing == 0
    assert told.last == told.delivered
