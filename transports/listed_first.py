"""Output waits until the device has listed its workloads: before, nobody could say whose a record is. Pure.

A gateway that lost its ledger, or the last commit of it, learns from LIST which run has which slot. Output that comes earlier in a
session is kept back here and is not stored, so it is not acknowledged either: the credit bounds how much that can be. The new session
itself is made durable at once. What ends an epoch is told before the next one begins, as ever.
"""

from __future__ import annotations

from transports.protocol import Checkpoint, Event, Joined, Left, Listed, Output


class ListedFirst:
    """order() every event of one device, for as long as it is configured; it begins with the checkpoint that the core began with."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self._told = checkpoint
        self._waiting: list[Output] = []
        self._is_listed = False
        self._is_session_told = False

    def order(self, event: Event) -> list[Event]:
        """What to handle now instead of event, in this order."""
        match event:
            case Output():
                return [*self.order_output(event)]
            case Listed():
                self._is_listed = True
                return [event, *self._release()]
            case Joined() | Left():
                self._is_listed = self._is_session_told = False
                return [event]
            case _:
                return [event]

    def order_output(self, output: Output) -> list[Output]:
        ends_epoch = output.epoch != output.checkpoint.epoch
        if self._is_listed or ends_epoch:
            released = self._release() if self._waiting else []
            self._told = output.checkpoint
            return [*released, output]
        self._waiting.append(output)
        if self._is_session_told:
            return []
        self._is_session_told = True
        return [output._replace(items=(), checkpoint=self._held(output.checkpoint))]

    def _held(self, checkpoint: Checkpoint) -> Checkpoint:
        """The new session, and no more of the log than was told before."""
        told = self._told if self._told is not None and self._told.epoch == checkpoint.epoch else None
        self._told = checkpoint._replace(expected=told.expected if told else 0, tail=told.tail if told else b"")
        return self._told

    def _release(self) -> list[Output]:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._told = waiting[-1].checkpoint
        return waiting
