"""Fits devices, logs and pods to what exec and attach ask of a node: gateway.kubelet.seams.Conversations. No decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from gateway.devices.talks import BoardCommand, Ended, TalkRefused, Talks, Typist
from gateway.kubelet.container_logs import choose_attempt
from gateway.kubelet.seams import ConversationRefused, LogsUnavailable, Output, TerminalWish
from gateway.logs.clock import Clock
from gateway.logs.live import look_on
from gateway.logs.record import Stream
from gateway.logs.store import AttemptKey, LogStore
from gateway.pods.seams import Program, SourceUnavailable, StartRefused
from gateway.pods.view import PodView

NO_STDIN = "container {} reads no input: its pod does not say stdin: true"


class PodConversations:
    """program_of is what a container runs, with its environment."""

    def __init__(self, store: LogStore, talks: Talks, clock: Clock, program_of: Callable[[PodView, str], Awaitable[Program]]) -> None:
        self._store = store
        self._talks = talks
        self._clock = clock
        self._program_of = program_of

    @asynccontextmanager
    async def attach(self, pod: dict[str, Any], container: str, typist: str | None, *, is_terminal: bool) -> AsyncIterator[_Attached]:
        view = PodView(pod)
        if typist is not None and not view.container(container).stdin:
            raise ConversationRefused(NO_STDIN.format(container))
        try:
            gen = choose_attempt(pod, container, previous=False).rpartition("-")[2]
        except LogsUnavailable as unavailable:
            raise ConversationRefused(unavailable.text) from unavailable
        async with AsyncExitStack() as held:
            try:
                held.enter_context(self._talks.watching(view.uid, container))
                keyboard = None if typist is None else held.enter_context(self._talks.typing(view.uid, container, typist))
            except TalkRefused as refused:
                raise ConversationRefused(str(refused)) from refused
            output = await held.enter_async_context(
                aclosing(look_on(self._store, AttemptKey(view.uid, container, int(gen)), clock=self._clock))
            )
            yield _Attached(output, keyboard, is_terminal=is_terminal)

    @asynccontextmanager
    async def exec(
        self, pod: dict[str, Any], container: str, argv: Sequence[str], terminal: TerminalWish | None
    ) -> AsyncIterator[_Executing]:
        view = PodView(pod)
        try:
            choose_attempt(pod, container, previous=False)
        except LogsUnavailable as unavailable:
            raise ConversationRefused(unavailable.text) from unavailable
        try:
            program = await self._program_of(view, container)
        except (StartRefused, SourceUnavailable) as error:
            raise ConversationRefused(f"the environment of container {container} cannot be had: {error}") from error
        try:
            async with self._talks.command(view.uid, container, program, argv, terminal) as command:
                yield _Executing(command)
        except TalkRefused as refused:
            raise ConversationRefused(str(refused)) from refused


class _Attached:
    """See gateway.kubelet.seams.Conversation. The program's own end is no exit code of a command."""

    def __init__(self, output: AsyncIterator[tuple[Stream, bytes]], keyboard: Typist | None, *, is_terminal: bool) -> None:
        self._output = output
        self._keyboard = keyboard
        self._is_terminal = is_terminal

    async def receive(self) -> Output | int | None:
        async for stream, data in self._output:
            shown = data.replace(b"\n", b"\r\n") if self._is_terminal else data  # a log has no carriage returns at the ends of its lines
            return Output(shown, stream is Stream.STDERR)
        return None

    async def send(self, data: bytes, *, is_end: bool = False) -> None:
        if self._keyboard is None:
            return
        try:
            await self._keyboard.send(data, is_end=is_end)
        except TalkRefused as refused:
            raise ConversationRefused(str(refused)) from refused

    def resize(self, columns: int, rows: int) -> None:
        """Nobody tells a console how large a screen is."""


class _Executing:
    """See gateway.kubelet.seams.Conversation."""

    def __init__(self, command: BoardCommand) -> None:
        self._command = command

    async def receive(self) -> Output | int | None:
        try:
            told = await self._command.receive()
        except TalkRefused as refused:
            raise ConversationRefused(str(refused)) from refused
        return told.exit_code if isinstance(told, Ended) else Output(*told)

    async def send(self, data: bytes, *, is_end: bool = False) -> None:
        await self._command.send(data, is_end=is_end)

    def resize(self, columns: int, rows: int) -> None:
        self._command.resize(columns, rows)
