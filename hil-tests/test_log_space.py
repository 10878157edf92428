"""Memory for logs runs out under a gateway that works: oldest lines go, gaps say so, the Node says so, and nobody dies by a signal."""

from __future__ import annotations

import re
from typing import Final

import pytest
from lab import GAP, Lab, condition
from needs import OWN_MOUNTS, need
from workbench import Workbench

TMPFS_KIB: Final = 1024
LINES: Final = 30_000
"""Of firehose: 3 MB, more than the file system holds and less than the log may grow to."""
OTHERS: Final = 12
"""More rings than are left when one has taken what it could."""


@pytest.fixture
def on_tmpfs(lab: Lab, workbench: Workbench) -> Lab:
    """A gateway whose runtime directory is a file system of its own, that only it sees."""
    need("tmpfs")
    lab.boards = workbench.boards(1, "--slots", "16", "--ring", "262144")
    configuration = lab.configuration(boards=1, slots=16, shared=True, logs={"ring": "16Mi", "budget": "64Mi"})
    run = workbench.folder / "gw-1" / "run"
    run.mkdir(parents=True)
    mount = f'mount -t tmpfs -o size={TMPFS_KIB}k,mode=700 tmpfs "{run}" && exec "$@"'
    lab.gateway = workbench.gateway(configuration, wait=False, wrapper=(*OWN_MOUNTS, "sh", "-c", mount, "sh"))
    assert lab.gateway.folder == run.parent
    lab.wait_for_node(lambda node: node["status"]["allocatable"].get(lab.resource) == "16")
    return lab


def test_a_full_tmpfs_costs_the_oldest_lines_and_is_told_on_the_node(on_tmpfs: Lab) -> None:
    lab = on_tmpfs
    pid = lab.gateway.process.pid
    lab.wait_for_node(lambda node: condition(node, "LogProblem").get("status") == "False")
    lab.run("flood", "firehose", "--count", str(LINES), restartPolicy="Never")
    lab.wait_for_phase("flood", "Succeeded")
    node = lab.wait_for_node(lambda node: condition(node, "LogProblem")["status"] == "True")
    told = condition(node, "LogProblem")
    assert told["reason"] == "NoSpace"
    assert "No space left on device" in told["message"]
    assert condition(node, "Ready")["status"] == "True"
    lines = lab.kubectl("logs", "flood").splitlines()
    assert re.match(re.escape(GAP) + r" \d+ records, \d+ bytes, log full, ", lines[0])
    kept = [int(line[:10]) for line in lines[1:]]
    assert kept == list(range(LINES - len(kept) + 1, LINES + 1))
    assert int(lines[0].split()[3]) + len(kept) == LINES
    assert len(kept) * 100 < TMPFS_KIB << 10

    names = [f"small-{number}" for number in range(OTHERS)]
    for name in names:
        lab.run(name, "echo", name, restartPolicy="Never")
    for name in names:
        lab.wait_for_phase(name, "Succeeded")
    shown = [lab.kubectl("logs", name).strip() for name in names]
    assert shown[-1] == names[-1]
    assert all(name == text or "log full" in text or "no space for the log" in text for name, text in zip(names, shown, strict=True))

    lab.kubectl("delete", "pods", "--all", "--wait=false")
    lab.wait(lambda: not lab.pods(), "the pods to go")
    lab.wait_for_node(lambda node: condition(node, "LogProblem")["status"] == "False")
    lab.run("after", "firehose", "--count", "1000", restartPolicy="Never")
    lab.wait_for_phase("after", "Succeeded")
    assert [int(line[:10]) for line in lab.kubectl("logs", "after").splitlines()] == list(range(1, 1001))
    assert lab.gateway.process.pid == pid
    assert lab.gateway.process.is_running
    assert "Traceback" not in lab.gateway.log()


def test_all_logs_together_stay_within_the_budget_of_the_node(lab: Lab) -> None:
    budget = 1 << 20
    lab.set_up(slots=16, options=("--ring", "262144"), logs={"ring": "16Mi", "budget": "1Mi"})
    lab.run("flood", "firehose", restartPolicy="Never")
    lab.wait(lambda: lab.gateway.metrics().value("wirelet_log_bytes") >= budget * 3 // 4, "three quarters of the budget")
    names = [f"small-{number}" for number in range(OTHERS)]
    for name in names:
        lab.run(name, "echo", name, restartPolicy="Never")
        lab.wait_for_phase(name, "Succeeded")
        assert lab.kubectl("logs", name).strip() == name  # a flood takes no room from the next pod
        assert lab.gateway.metrics().value("wirelet_log_bytes") <= budget
    assert lab.gateway.metrics().value("wirelet_log_evicted_total") > 0
    assert "log full" in lab.kubectl("logs", names[0])
    assert condition(lab.node_object() or {}, "LogProblem")["status"] == "False"  # nobody who runs goes short
