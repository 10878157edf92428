"""Hooks: a person's own commands that reset or power-cycle a board. argv, a deadline, no shell."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Sequence
from typing import Final

import anyio

_logger = logging.getLogger(__name__)

MAX_OUTPUT_BYTES: Final = 2048
"""What a message may repeat of a hook's output."""


class HookFailed(Exception):
    """The command could not run, ended with an error or overran its deadline; the text says which and repeats its output."""


async def run_hook(name: str, command: Sequence[str], deadline_s: float, device: str) -> None:
    """Run a hook to its end. The process is killed at the deadline. Raises HookFailed."""
    environment = {**os.environ, "WIRELET_DEVICE": device, "WIRELET_HOOK": name}
    _logger.info("hook runs", extra={"device": device, "hook": name})
    try:
        with anyio.fail_after(deadline_s):
            done = await anyio.run_process(list(command), check=False, env=environment, stderr=subprocess.STDOUT)
    except TimeoutError as error:
        raise HookFailed(f"hook {name} of {device} did not end within {deadline_s:g} s: {' '.join(command)}") from error
    except OSError as error:
        raise HookFailed(f"hook {name} of {device} cannot run {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        output = done.stdout[:MAX_OUTPUT_BYTES].decode(errors="replace").strip()
        raise HookFailed(f"hook {name} of {device} ended with {done.returncode}: {output}")
