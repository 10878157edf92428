"""`protocol: agent`: machines with Python whose shell is at the other end of the link, as a driver. The gateway brings the agent."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

from transports.driver import BadOption, DeviceFacts, SessionFacts, SizeBytes
from transports.protocol import Checkpoint, DeviceProtocol
from transports.protocols.agent_protocol import AgentProtocol
from transports.protocols.framed import FramedProtocol
from transports.wire.numbers import MAX_MTU

DEFAULT_LOG: Final = SizeBytes(4 << 20)
MIN_LOG_BYTES: Final = 1 << 16
MAX_LOG_BYTES: Final = 1 << 30
"""It is memory of the target. Both are those of the agent's own --log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    install: bool = True
    """False: the link's command starts an agent that somebody has put there."""
    python: str = "python3"
    directory: str | None = None
    """On the target, for each device one below it. Default: .local/state/wirelet in the home directory, or XDG_STATE_HOME."""
    log: SizeBytes = DEFAULT_LOG
    """The memory that the log of all workloads takes there; while no gateway fetches it its oldest part goes."""

    def __post_init__(self) -> None:
        if not self.python or "\0" in self.python or "\n" in self.python:
            raise BadOption("python", f"must be the name or path of a program, not {self.python!r}")
        if self.directory is not None and (not self.directory.startswith("/") or "\0" in self.directory or "\n" in self.directory):
            raise BadOption("directory", f"must be an absolute path on the target, not {self.directory!r}")
        if not MIN_LOG_BYTES <= self.log <= MAX_LOG_BYTES:
            raise BadOption("log", f"must be {MIN_LOG_BYTES >> 10}Ki to {MAX_LOG_BYTES >> 30}Gi")
        if not self.install and (self.python, self.directory, self.log) != ("python3", None, DEFAULT_LOG):
            raise BadOption("install", "must be true where python, directory or log is said: an agent that is there has options of its own")


class AgentDriver:
    """See transports.driver.ProtocolDriver."""

    options = AgentOptions

    def __init__(self) -> None:
        files = resources.files("transports.agent")
        self._agent = files.joinpath("wirelet_agent.py").read_bytes()
        self._put = files.joinpath("put.py").read_text(encoding="utf-8")

    def protocol(self, options: AgentOptions, checkpoint: Checkpoint | None, device: DeviceFacts, session: SessionFacts) -> DeviceProtocol:
        framed = FramedProtocol(
            checkpoint,
            gateway_id=session.gateway_id,
            keepalive_s=session.keepalive_s,
            line_bytes_per_s=session.line_bytes_per_s,
            mtu=MAX_MTU,
            rng=session.rng,
            refuses=session.refuses,
            has_directories=True,
        )
        if not options.install:
            return framed
        return AgentProtocol(
            framed,
            agent=self._agent,
            put=self._put,
            python=options.python,
            arguments=(options.directory or "", device.name, str(device.slots), str(options.log)),
            rng=session.rng,
        )
