"""Runs what a class has for its boards' reset and power, and says so in the device's log."""

from __future__ import annotations

from typing import assert_never

from gateway.devices.board import Board, Hook, LineReset
from gateway.devices.hooks import HookFailed, run_hook
from transports.errors import LinkError


async def run_board_hook(board: Board, name: str, hook: Hook | LineReset) -> None:
    """name is what the hook is told it is for. Raises HookFailed."""
    try:
        match hook:
            case Hook():
                await run_hook(name, hook.command, hook.deadline_s, board.name)
            case LineReset():
                await hook.run()
            case _:
                assert_never(hook)
    except (HookFailed, LinkError) as error:
        board.output.text(f"wirelet: {error}\n".encode())
        raise HookFailed(str(error)) from error
    board.output.text(f"wirelet: hook {name} has run\n".encode())
