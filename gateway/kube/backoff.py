"""How long to wait before asking the API server again. Pure: it says seconds, the caller waits."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FIRST_S = 0.25
"""One gateway is one client: quicker than client-go's 0.8 s, so that a restarted API server is found soon."""
CAP_S = 30.0
"""client-go's reflector waits no longer either."""


@dataclass(slots=True)
class Backoff:
    """Doubles from first_s to cap_s; every delay is drawn from its upper half, so that gateways do not come back in step."""

    first_s: float = FIRST_S
    cap_s: float = CAP_S
    uniform: random.Random = field(default_factory=random.Random)
    _failures: int = field(default=0, init=False)

    def next_s(self) -> float:
        """The delay after one more failure."""
        ceiling = min(self.cap_s, self.first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self.uniform.uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        """It worked: start small the next time."""
        self._failures = 0
