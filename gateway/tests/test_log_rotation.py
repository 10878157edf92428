"""Logs of a container that restarts and restarts: those that can still be asked for are there, older ones give their memory back."""

from __future__ import annotations

from pathlib import Path

from gateway.devices.runs import KEPT_ATTEMPTS
from gateway.logs.store import AttemptKey
from gateway.pods.seams import AttemptState
from gateway.tests.test_fleet import POD, bench


async def test_the_newest_attempts_keep_their_logs_and_older_ones_give_them_back(tmp_path: Path) -> None:
    attempts = KEPT_ATTEMPTS + 4
    async with bench(tmp_path) as desk:
        for gen in range(1, attempts + 1):
            await desk.start(f"this is attempt {gen}", image="echo", gen=gen)
            await desk.until(lambda: desk.state() is AttemptState.EXITED)
        kept = sorted(info.key.gen for info in desk.logs.rings() if isinstance(info.key, AttemptKey))
        assert kept == list(range(attempts - KEPT_ATTEMPTS + 1, attempts + 1))
        assert [await desk.log(gen) for gen in (attempts - 1, attempts)] == [f"this is attempt {gen}\n" for gen in (attempts - 1, attempts)]
        await desk.fleet.workloads.release(POD.uid)
        assert [info.key for info in desk.logs.rings() if isinstance(info.key, AttemptKey)] == []
        assert len(list((tmp_path / "logs").iterdir())) == len(desk.logs.rings())
