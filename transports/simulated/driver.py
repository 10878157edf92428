"""`link: {simulated: ...}`: a board in the gateway's process as a driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from transports.driver import BadOption, DeviceFacts, SizeBytes
from transports.link import LinkOpener
from transports.simulated.board import DEFAULT_CONVERSATIONS, MAX_CONVERSATIONS, MAX_RING_BYTES, MIN_RING_BYTES
from transports.simulated.link import SimulatedLinkOpener

DEFAULT_RING: Final = SizeBytes(16384)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedOptions:
    seed: int = 0
    accept: Literal["any"] | None = None
    """any: an unknown image prints its arguments and stays up."""
    ring: SizeBytes = DEFAULT_RING
    conversations: int = DEFAULT_CONVERSATIONS
    """0: a board that neither runs commands nor reads input."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadOption("seed", f"must be 0 or more, not {self.seed}")
        if not 0 <= self.conversations <= MAX_CONVERSATIONS:
            raise BadOption("conversations", f"must be 0 to {MAX_CONVERSATIONS}, not {self.conversations}")
        if not MIN_RING_BYTES <= self.ring <= MAX_RING_BYTES:
            raise BadOption("ring", f"must be {MIN_RING_BYTES // 1024}Ki to {MAX_RING_BYTES // 1024**2}Mi, not {self.ring}")


class SimulatedDriver:
    """See transports.driver.LinkDriver."""

    options = SimulatedOptions

    def opener(self, options: SimulatedOptions, device: DeviceFacts) -> LinkOpener:
        return SimulatedLinkOpener(
            device_id=device.name,
            seed=options.seed,
            slots=device.slots,
            ring_bytes=options.ring,
            accept_any=options.accept == "any",
            conversations=options.conversations,
        )

    def bytes_per_s(self, options: SimulatedOptions) -> float | None:
        return None

    def port(self, options: SimulatedOptions) -> str | None:
        return None
