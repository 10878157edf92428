"""What a conversation does to the session that it belongs to: the seam between one talk and the table of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from transports.wire.channels import Channel
from transports.wire.conversation_messages import Close
from transports.wire.messages import Answer
from transports.wire.numbers import Body, Method


class TalkLine(Protocol):
    def open(self, number: int, credit: int) -> Channel:
        """The device has agreed: from now on its bytes are taken. credit is what it takes at first."""
        ...

    def tell(self, close: Close) -> None: ...

    def ask(self, method: Method, body: Body, answered: Callable[[Answer], None]) -> None:
        """A request; without an answer the conversation is told that it is lost."""
        ...

    def drop(self, numbers: tuple[int, ...]) -> None:
        """Nothing is sent or taken there any more."""
        ...

    def free(self, numbers: tuple[int, ...]) -> None:
        """Both ends are done with them."""
        ...
