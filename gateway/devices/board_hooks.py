"""Runs what a class has for its boards' reset and power, and says so in the device's log."""

from __future__ import annotations

from typing import assert_never

from gateway.devices.board import Board, Hook, LineReset
from gateway.devices.hooks import HookFailed, run_hook
from gateway.devices.ladder import Rung
from transports.errors import LinkError


async def run_board_hook(board: Board, rung: Rung) -> None:
    """Of the board's hooks the one for rung. Raises HookFailed."""
    hook = board.hooks[rung]
    try:
        match hook:
            case Hook():
                await run_hook(rung.value, hook.command, hook.deadline_s, board.name)
            case LineReset():
                await hook.run()
            case _:
                assert_never(hook)
    except (HookFailed, LinkError) as error:
        board.output.text(f"wirelet: {error}\n".encode())
        raise HookFailed(str(error)) from error
    board.output.text(f"wirelet: hook {rung.value} has run\n".encode())
