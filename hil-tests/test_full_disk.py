"""The disk of the ledger is full under a gateway that works: nothing is started that it could not remember, and the Node says why."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

import pytest
from lab import Lab, condition, waiting_reason
from needs import OWN_MOUNTS, need
from workbench import Workbench

TMPFS_KIB: Final = 1024


@pytest.fixture
def on_small_disk(lab: Lab, workbench: Workbench) -> Lab:
    """A gateway whose state directory is a file system of its own, that only it sees."""
    need("tmpfs")
    lab.boards = workbench.boards(1, "--slots", "4")
    state = workbench.folder / "gw-1" / "state"
    state.mkdir(parents=True)
    mount = f'mount -t tmpfs -o size={TMPFS_KIB}k,mode=700 tmpfs "{state}" && exec "$@"'
    lab.gateway = workbench.gateway(
        lab.configuration(boards=1, slots=4, shared=True), wait=False, wrapper=(*OWN_MOUNTS, "sh", "-c", mount, "sh")
    )
    lab.wait_for_node(lambda node: node["status"]["allocatable"].get(lab.resource) == "4")
    return lab


def test_a_full_state_directory_starts_nothing_and_is_told_on_the_node(on_small_disk: Lab) -> None:
    lab = on_small_disk
    lab.run("early", "counter")
    lab.wait_for_ready("early")
    lab.wait_for_node(lambda node: condition(node, "LedgerProblem").get("status") == "False")
    filler = Path(f"/proc/{lab.gateway.process.pid}/root{lab.gateway.folder}/state/filler")
    with filler.open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        fill(full)

    lab.run("late", "hello")
    lab.wait_for_pod("late", lambda pod: waiting_reason(pod) == "LedgerUnavailable")
    told = condition(lab.wait_for_node(lambda node: condition(node, "LedgerProblem")["status"] == "True"), "LedgerProblem")
    assert told["reason"] == "LedgerUnavailable"
    assert told["message"].endswith("until it can be written nothing is started and no end is told")
    lab.wait_for_phase("early", "Running")

    filler.unlink()
    lab.wait_for_node(lambda node: condition(node, "LedgerProblem")["status"] == "False")
    lab.wait_for_ready("late")
    assert "Traceback" not in lab.gateway.log()


def fill(file: IO[bytes]) -> None:
    while True:
        file.write(bytes(4096))
