"""Hooks are real processes: argv without a shell, a deadline, and one clear message when they fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gateway.devices.hooks import HookFailed, run_hook


async def test_a_hook_gets_its_device_and_no_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"import os,sys; open({str(out)!r},'w').write(os.environ['WIRELET_DEVICE'] + ' ' + sys.argv[1])"
    await run_hook("reset", [sys.executable, "-c", script, "$HOME; x"], 10.0, "board-a")
    assert out.read_text() == "board-a $HOME; x"


async def test_a_hook_that_hangs_is_killed_at_its_deadline(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"import os,time; open({str(pid_file)!r},'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(HookFailed, match="did not end within 1 s"):
        await run_hook("power.cycle", [sys.executable, "-c", script], 1.0, "board-a")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_a_hook_that_fails_repeats_its_output() -> None:
    with pytest.raises(HookFailed, match="ended with 3: no relay found"):
        await run_hook("reset", [sys.executable, "-c", "print('no relay found'); raise SystemExit(3)"], 10.0, "board-a")


async def test_a_hook_that_does_not_exist_names_itself() -> None:
    with pytest.raises(HookFailed, match="cannot run /nowhere/relay: No such file"):
        await run_hook("reset", ["/nowhere/relay"], 10.0, "board-a")
