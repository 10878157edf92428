"""Machines behind an untouched sshd: a hundred pods, beside a hundred bare `ssh host true` in the same run, and what a log carries; without
and with an agent there.

Four devices on one machine, of 25 slots each: four connections. The bare commands make a connection each, eight at a time, which is what an
untouched sshd takes (MaxStartups). Both do their work on this machine, so only the ratio says something.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import needs
from agent_lab import AgentLab
from bench._figures import Figures
from processes import Reaper
from ssh_lab import SshLab
from sshd import Sshd
from workbench import Workbench

PODS: Final = 100
DEVICES: Final = 4
AT_ONCE: Final = 8
LINES: Final = 100_000
MOST_PERCENT: Final = 100.0
"""Of the time of bare commands: a pod is more work on the target, and saves the login."""
WAIT_S: Final = 300.0


def bare(sshd: Sshd) -> float:
    """Seconds for as many commands."""
    argv = [
        *("ssh", "-F", "none", "-p", str(sshd.port), "-i", str(sshd.identity), "-o", f"UserKnownHostsFile={sshd.known_hosts}"),
        *("-o", "BatchMode=yes", f"{sshd.user}@127.0.0.1", "true"),
    ]
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in pool.map(lambda _: subprocess.run(argv, stdin=subprocess.DEVNULL, check=True, timeout=WAIT_S), range(PODS)):
            assert done.returncode == 0
    return time.monotonic() - began


def ended(lab: SshLab) -> int:
    return sum(state(pod).get("terminated", {}).get("exitCode") == 0 for pod in lab.gateway.pods())


def state(pod: dict[str, Any]) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0].get("state", {}))


def pods(lab: SshLab) -> float:
    """Seconds from the first manifest until the last pod has told its end."""
    began = time.monotonic()
    for number in range(PODS):
        lab.run(f"pod-{number}", "true")
    lab.wait(lambda: ended(lab) >= PODS, "all pods", WAIT_S)
    return time.monotonic() - began


def log(lab: SshLab) -> float:
    """Seconds from the manifest until the job's end is told: then all that it said is stored."""
    began = time.monotonic()
    lab.run("seq", "seq", str(LINES))
    lab.wait(lambda: ended(lab) > PODS, "the end of the log", WAIT_S)
    took_s = time.monotonic() - began
    assert lab.gateway.run_cli("logs", "seq", "--tail", "1").stdout.strip() == str(LINES)
    return took_s


def main() -> int:
    if why := needs.PROBES["sshd"]():
        print(f"not measured: {why}", file=sys.stderr)
        return 1
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="wb-") as name, contextlib.closing(Reaper()) as reaper:
        folder = Path(name)
        sshd = Sshd(folder / "sshd", reaper)
        try:
            sshd.start()
            bare_s = bare(sshd)
            figures.show(f"{PODS} bare commands by ssh", bare_s, "s")
            for kind, way in ((SshLab, "exec"), (AgentLab, "agent")):
                (folder / way).mkdir()
                with contextlib.ExitStack() as cleared:
                    workbench = Workbench(folder / way)
                    cleared.callback(workbench.clear)
                    measure(kind(folder / way, workbench, sshd), way, bare_s, figures)
        finally:
            sshd.stop()
    return figures.exit_code


def measure(lab: SshLab, way: str, bare_s: float, figures: Figures) -> None:
    try:
        lab.set_up(slots=PODS // DEVICES, devices=DEVICES)
        pods_s = pods(lab)
        figures.show(f"{way}: {PODS} pods on {DEVICES} connections, started, ended and told", pods_s, "s")
        figures.show(f"{way}: pods against bare commands", 100 * pods_s / bare_s, "%", MOST_PERCENT)
        figures.show(f"{way}: lines of a log, from one job into its ring", LINES / log(lab), "lines/s")
    finally:
        lab.close()


if __name__ == "__main__":
    raise SystemExit(main())
