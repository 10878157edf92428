"""`wirelet doctor --loopback PORT`: what does not come back of a port whose TX and RX are joined."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Final

import anyio

from gateway.cli.documents import tell
from gateway.devices.loopback import PortUnusable, Trial, trials
from gateway.doctor.finding import Finding

LENT: Final = "if the gateway has it: wirelet lend DEVICE -- wirelet doctor --loopback {port}"


def run(path: str, output: str) -> int:
    """Exit code: 0 when every byte came back at every rate that the port has."""
    try:
        tried = anyio.run(_tried, path, output == "table")
    except PortUnusable as error:
        print(f"wirelet doctor: {error}; {LENT}", file=sys.stderr)
        return 1
    rows = [] if output == "table" else [{"baud": trial.baud, "cameBack": _came_back(trial)} for trial in tried]
    return tell(rows, _findings(path, tried), output)


def _findings(path: str, tried: Sequence[Trial]) -> list[Finding]:
    problems = [trial for trial in tried if trial.problem]
    return [
        Finding(path, f"at {_rates([trial.baud for trial in same])} baud {problem}", cause, reason="Loopback")
        for (problem, cause), same in itertools.groupby(problems, lambda trial: (trial.problem, trial.cause))
    ]


async def _tried(path: str, is_shown: bool) -> list[Trial]:
    """Told as they come: a sweep takes seconds."""
    tried: list[Trial] = []
    async for trial in trials(path):
        if is_shown:
            print("BAUD      CAME BACK\n" * (not tried) + f"{trial.baud:<9} {_came_back(trial)}", flush=True)
        tried.append(trial)
    return tried


def _came_back(trial: Trial) -> str:
    return trial.refusal or trial.problem or "every byte value"


def _rates(rates: Sequence[int]) -> str:
    return str(rates[0]) if len(rates) == 1 else f"{rates[0]} to {rates[-1]}"
