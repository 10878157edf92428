"""Hooks: a person's own commands that reset or power-cycle a board. argv, a deadline, no shell.

A hook is not cut off when the gateway ends: half a power cycle leaves a board without power. At its deadline it is killed, with everything
that it started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Final

import anyio
from anyio.abc import Process

_logger = logging.getLogger(__name__)

MAX_OUTPUT_BYTES: Final = 2048
"""What a message may repeat of a hook's output; the rest is read and dropped."""
LAST_WORDS_S: Final = 0.5
"""For output that is still in the pipe when the command has ended; a child that it left behind may hold the pipe open."""


class HookFailed(Exception):
    """The command could not run, ended with an error or overran its deadline; the text says which and repeats its output."""


async def run_hook(name: str, command: Sequence[str], deadline_s: float, device: str) -> None:
    """Run a hook to its end, even when the caller is cancelled. Raises HookFailed."""
    environment = {**os.environ, "WIRELET_DEVICE": device, "WIRELET_HOOK": name}
    _logger.info("hook runs", extra={"device": device, "hook": name})
    try:
        with anyio.fail_after(deadline_s, shield=True):
            code, output = await _run(command, environment)
    except TimeoutError as error:
        raise HookFailed(f"hook {name} of {device} did not end within {deadline_s:g} s: {' '.join(command)}") from error
    except OSError as error:
        raise HookFailed(f"hook {name} of {device} cannot run {command[0]}: {error.strerror}") from error
    if code != 0:
        raise HookFailed(f"hook {name} of {device} ended with {code}: {output.decode(errors='replace').strip()}")


async def _run(command: Sequence[str], environment: dict[str, str]) -> tuple[int, bytes]:
    """Exit code and the beginning of the output. When it is cancelled nothing of the hook is left."""
    process = await anyio.open_process(
        list(command), stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    output = bytearray()
    async with process:
        try:
            async with anyio.create_task_group() as reading:
                reading.start_soon(_read, process, output)
                code = await process.wait()
                reading.cancel_scope.deadline = anyio.current_time() + LAST_WORDS_S
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    return code, bytes(output)


async def _read(process: Process, output: bytearray) -> None:
    assert process.stdout is not None
    async for data in process.stdout:
        output += data[: MAX_OUTPUT_BYTES - len(output)]
