"""Received bytes handed over by a call instead of to a waiting task, which spares a busy link a turn of the loop for each transfer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from transports.link import MAX_READ_BYTES
from transports.usb_inbox import Inbox


class Delivery:
    """From when it is made until stop(). `over` ends as True when the taker has enough, False when nothing more comes,
    or what it raised."""

    def __init__(self, inbox: Inbox, received: Callable[[bytes], float | None]) -> None:
        """See transports.link.DirectLink for received."""
        self._inbox = inbox
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self.over: asyncio.Future[bool] = self._loop.create_future()
        inbox.when_news(self._hand_over)

    def end_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._after_rest()

    def stop(self) -> None:
        self._inbox.when_news(None)
        if self._rest is not None:
            self._rest.cancel()

    def _after_rest(self) -> None:
        self._rest = None
        self._hand_over(is_silence_told=True)

    def _hand_over(self, *, is_silence_told: bool = False) -> None:
        """One transfer; others get their turn before the next."""
        if self.over.done():
            return
        data = self._inbox.take(MAX_READ_BYTES)
        if not data and self._inbox.is_over:
            self.over.set_result(False)
            return
        try:
            pause_s = self._received(data) if data or is_silence_told else 0.0
        except Exception as error:  # whatever it is, it belongs to who asked for the delivery
            self.over.set_exception(error)
            return
        if pause_s is None:
            self.over.set_result(True)
        elif pause_s:
            self._rest = self._loop.call_later(pause_s, self._after_rest)
        else:
            self._inbox.when_news(self._hand_over)
