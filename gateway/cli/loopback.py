"""`wirelet doctor --loopback PORT`: what does not come back of a port whose TX and RX are joined."""

from __future__ import annotations

import itertools
import sys
from typing import Final

import anyio

from gateway.devices.loopback import PortUnusable, Trial, trials

LENT: Final = "if the gateway has it: wirelet lend DEVICE -- wirelet doctor --loopback {port}"


def run(path: str) -> int:
    """Exit code: 0 when every byte came back at every rate that the port has."""
    try:
        tried = anyio.run(_tried, path)
    except PortUnusable as error:
        print(f"wirelet doctor: {error}; {LENT}", file=sys.stderr)
        return 1
    problems = [trial for trial in tried if trial.problem]
    for (problem, cause), same in itertools.groupby(problems, lambda trial: (trial.problem, trial.cause)):
        rates = [trial.baud for trial in same]
        print(f"{path}: at {_rates(rates)} baud {problem}; {cause}", file=sys.stderr)
    if problems:
        return 1
    print("ok")
    return 0


async def _tried(path: str) -> list[Trial]:
    """Told as they come: a sweep takes seconds."""
    tried = []
    print("BAUD      CAME BACK")
    async for trial in trials(path):
        print(f"{trial.baud:<9} {trial.refusal or trial.problem or 'every byte value'}", flush=True)
        tried.append(trial)
    return tried


def _rates(rates: list[int]) -> str:
    return str(rates[0]) if len(rates) == 1 else f"{rates[0]} to {rates[-1]}"
