"""Hooks are real processes: argv without a shell, a deadline, and one clear message when they fail."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from gateway.devices.hooks import MAX_OUTPUT_BYTES, HookFailed, run_hook


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


async def test_what_a_hook_started_does_not_outlive_its_deadline(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(HookFailed, match="did not end within"):
        await run_hook("reset", ["sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait"], 1.0, "board-a")
    child = int(pid_file.read_text())
    with anyio.fail_after(5):
        while _is_alive(child):  # noqa: ASYNC110 - another process has no event
            await anyio.sleep(0.01)


async def test_a_hook_is_not_cut_off_when_the_gateway_ends(tmp_path: Path) -> None:
    begun, done = tmp_path / "begun", tmp_path / "done"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_hook, "power.cycle", ["sh", "-c", f"touch {begun}; sleep 0.3; touch {done}"], 10.0, "board-a")
        while not begun.exists():  # noqa: ASYNC110 - another process has no event
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert done.exists()


async def test_a_child_that_stays_does_not_hold_the_hook(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    await run_hook("reset", ["sh", "-c", f"sleep 600 & echo $! > {pid_file}"], 10.0, "board-a")
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


async def test_a_hook_that_talks_without_end_costs_no_memory() -> None:
    with pytest.raises(HookFailed, match="ended with 1") as caught:
        await run_hook("reset", ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exit 1"], 10.0, "board-a")
    assert len(str(caught.value)) < 2 * MAX_OUTPUT_BYTES


def _is_alive(pid: int) -> bool:
    """A zombie, which its new parent has not waited for yet, is dead."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
