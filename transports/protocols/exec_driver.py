"""`protocol: exec`: machines without an agent, whose shell is at the other end of the link, as a driver."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

from transports.driver import BadOption, DeviceFacts, SessionFacts, SizeBytes
from transports.protocol import Checkpoint, DeviceProtocol
from transports.protocols.exec_command import quoted
from transports.protocols.exec_protocol import ExecProtocol

DEFAULT_LOG: Final = SizeBytes(16 << 20)
MIN_LOG_BYTES: Final = 4 << 20
"""A file of it has up to 1 MiB, and what is being read must not be the one that goes."""
MAX_LOG_BYTES: Final = 64 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    directory: str | None = None
    """On the target, for each device one below it. Default: .local/state/wirelet in the home directory, or XDG_STATE_HOME."""
    log: SizeBytes = DEFAULT_LOG
    """The most that the log of all jobs takes there while no gateway fetches it; then its oldest part goes."""

    def __post_init__(self) -> None:
        if self.directory is not None and (not self.directory.startswith("/") or "\0" in self.directory or "\n" in self.directory):
            raise BadOption("directory", f"must be an absolute path on the target, not {self.directory!r}")
        if not MIN_LOG_BYTES <= self.log <= MAX_LOG_BYTES:
            raise BadOption("log", f"must be {MIN_LOG_BYTES >> 20}Mi to {MAX_LOG_BYTES >> 30}Gi")


class ExecDriver:
    """See transports.driver.ProtocolDriver."""

    options = ExecOptions

    def __init__(self) -> None:
        self._wrapper = resources.files("transports.protocols").joinpath("exec_wrapper.sh").read_bytes()

    def protocol(self, options: ExecOptions, checkpoint: Checkpoint | None, device: DeviceFacts, session: SessionFacts) -> DeviceProtocol:
        usual = '"${XDG_STATE_HOME:-$HOME/.local/state}/wirelet"'
        return ExecProtocol(
            checkpoint,
            wrapper=self._wrapper,
            directory=f"{usual if options.directory is None else quoted(options.directory)}/{quoted(device.name)}",
            slots=device.slots,
            spool_bytes=options.log,
            rng=session.rng,
            refuses=session.refuses,
        )
