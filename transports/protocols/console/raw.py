"""`profile: raw`: a console that is only listened to. A run is a time in which somebody listens; patterns say how it ends. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from transports.protocol import ExitReason, StartWorkload
from transports.protocols.console.profile import Act, Begin, End, Log, Refuse
from transports.wire.numbers import Code


class RawProfile:
    """See transports.protocols.console.profile.Profile."""

    name = "raw"
    state = ""

    def feed(self, data: bytes, now: float) -> Sequence[Act]:
        return (Log(data),)

    def start(self, request: StartWorkload, now: float) -> Sequence[Act]:
        if request.args or request.env:
            told = "command or args" if request.args else "env"
            return (Refuse(Code.INVALID, f"a console with profile raw is only listened to: the container must have no {told}"),)
        return (Begin(is_new_line=False),)

    def takes_input(self) -> bool:
        return True

    def input_end(self) -> bytes:
        return b""

    def stop(self, grace_s: float, now: float) -> Sequence[Act]:
        return (End(0, ExitReason.STOPPED),)

    def resume(self, now: float) -> Sequence[Act]:
        return ()

    def forget(self) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def handle_deadline(self, now: float) -> Sequence[Act]:
        return ()
