"""Who waits for which answer of a device."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from transports.protocol import Answered, RequestId, RequestLost


class Answers:
    """Those that somebody waits for now. One that comes later is nobody's."""

    def __init__(self) -> None:
        self._awaited: dict[RequestId, asyncio.Future[Answered | RequestLost]] = {}

    @property
    def are_awaited(self) -> bool:
        return bool(self._awaited)

    @contextmanager
    def expected(self, request_id: RequestId) -> Iterator[Awaitable[Answered | RequestLost]]:
        """Await within it what became of the request."""
        answer = self._awaited[request_id] = asyncio.get_running_loop().create_future()
        try:
            yield answer
        finally:
            del self._awaited[request_id]

    def came(self, outcome: Answered | RequestLost) -> None:
        answer = self._awaited.get(outcome.request_id)
        if answer is not None and not answer.done():
            answer.set_result(outcome)

    def lose(self) -> None:
        """Nobody will bring any more of them."""
        for request_id in self._awaited:
            self.came(RequestLost(request_id))
