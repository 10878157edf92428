"""What every Link must do, as one set of cases. A test module makes a subclass for each kind of link and gives it a `stand`:

    class TestTcp(LinkContract):
        driver, over = "tcp", "loopback"

        @pytest.fixture
        async def stand(self) -> AsyncIterator[Stand]: ...

A case that cannot apply to a kind of link stands in its `not_applicable` with the reason. Nothing here asserts a duration: what must not
block is checked by what else went on meanwhile, and a time-out (pytest-timeout) ends what hangs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Final, Protocol

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from blockbuster import blockbuster_ctx

from transports.errors import LinkBusy, LinkLost, LinkNotFound, LinkPermissionDenied
from transports.link import Link, LinkOpener

MORE_THAN_ANY_PIPE_HOLDS: Final = bytes(range(256)) * 4096
"""1 MiB: a pty holds some 20 KB, a pair of them with a pump between some 100 KB."""


class FarEnd(Protocol):
    """The device's side of the pipe."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes: ...

    async def hang_up(self) -> None:
        """The pipe is gone: cable pulled, process dead."""
        ...


class Stand(Protocol):
    """Everything one case needs of a kind of link."""

    @property
    def opener(self) -> LinkOpener: ...

    @property
    def far(self) -> FarEnd: ...

    def missing(self) -> LinkOpener:
        """An opener of something that is not there."""
        ...

    def forbidden(self) -> LinkOpener:
        """An opener of something this process may not open."""
        ...

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        """That many more links, open at the same time."""
        ...


async def read_exactly(far: FarEnd | Link, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await far.receive()
    return data


@asynccontextmanager
async def opened(opener: LinkOpener) -> AsyncIterator[Link]:
    link = await opener.open()
    try:
        yield link
    finally:
        await link.aclose()


async def other_work_goes_on(turns: int = 100) -> None:
    """Returns only if the event loop turns."""
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
class LinkContract:
    """Subclass as Test...; override `stand`."""

    driver: ClassVar[str] = ""
    """The name of the link's driver, and `over`, what joins it to the far end here: they name the results (transports.testing.labels)."""
    over: ClassVar[str] = ""
    not_applicable: ClassVar[Mapping[str, str]] = {}
    """Name of a case -> why this kind of link cannot have it."""
    watched: ClassVar[Sequence[str]] = ("transports",)
    """Packages in which a call that blocks the event loop fails the case: the link's own."""

    @pytest.fixture
    def stand(self) -> Stand:
        raise NotImplementedError

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The gateway runs on asyncio; there is no other."""
        return "asyncio"

    @pytest.fixture(autouse=True)
    def _applies(self, request: pytest.FixtureRequest) -> None:
        if reason := self.not_applicable.get(request.node.originalname):
            pytest.skip(reason)

    @pytest.fixture(autouse=True)
    def _no_blocking_call(self) -> Iterator[None]:
        with blockbuster_ctx(self.watched):
            yield

    # -- bytes

    async def test_every_byte_value_passes_both_ways_unchanged(self, stand: Stand) -> None:
        every_value = bytes(range(256))
        async with opened(stand.opener) as link:
            await link.send(every_value)
            assert await read_exactly(stand.far, 256) == every_value
            await stand.far.send(every_value)
            assert await read_exactly(link, 256) == every_value

    async def test_nothing_is_echoed(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            await stand.far.send(b"login: \r\n\x03")
            assert await read_exactly(link, 10) == b"login: \r\n\x03"
            await link.send(b"end")
            assert await read_exactly(stand.far, 3) == b"end"

    async def test_both_directions_carry_much_at_once(self, stand: Stand) -> None:
        data = MORE_THAN_ANY_PIPE_HOLDS
        got: dict[str, bytes] = {}

        async def collect(key: str, source: FarEnd | Link) -> None:
            got[key] = await read_exactly(source, len(data))

        async with opened(stand.opener) as link, anyio.create_task_group() as tasks:
            tasks.start_soon(collect, "near", link)
            tasks.start_soon(collect, "far", stand.far)
            tasks.start_soon(link.send, data)
            tasks.start_soon(stand.far.send, data)
        assert got["near"] == data
        assert got["far"] == data

    async def test_receive_gives_at_most_what_is_asked(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            await stand.far.send(b"abcdef")
            pieces = [await link.receive(2), await link.receive(2), await link.receive(2)]
        assert b"".join(pieces) == b"abcdef"
        assert max(map(len, pieces)) == 2

    async def test_what_the_device_said_before_the_open_is_kept(self, stand: Stand) -> None:
        await stand.far.send(b"boot rom: 1.2\n")
        async with opened(stand.opener) as link:
            assert await read_exactly(link, 14) == b"boot rom: 1.2\n"

    # -- stall

    async def test_a_device_that_stops_reading_holds_up_only_the_sender(self, stand: Stand) -> None:
        data = MORE_THAN_ANY_PIPE_HOLDS
        sent = anyio.Event()
        async with opened(stand.opener) as link, anyio.create_task_group() as tasks:

            async def send() -> None:
                await link.send(data)
                sent.set()

            tasks.start_soon(send)
            await other_work_goes_on()
            assert not sent.is_set()
            await stand.far.send(b"still talking")
            assert await read_exactly(link, 13) == b"still talking"
            assert not sent.is_set()
            assert await read_exactly(stand.far, len(data)) == data
            await sent.wait()

    async def test_cancelling_a_stalled_send_leaves_only_a_beginning(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            await self._stall(link)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.send, b"\n<next>")
                data = await read_until(stand.far, b"<next>")
        first, _, rest = data.partition(b"\n")
        assert first == b"x" * len(first)
        assert rest == b"<next>"

    async def test_closing_does_not_wait_for_a_device_that_stopped_reading(self, stand: Stand) -> None:
        link = await stand.opener.open()
        await self._stall(link)
        await link.aclose()

    async def _stall(self, link: Link) -> None:
        """Fill the pipe until nothing more goes in, and give up."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.send, b"x" * len(MORE_THAN_ANY_PIPE_HOLDS))
            await anyio.sleep(0.1)  # a stall is silence; this only has to be long enough for some bytes
            tasks.cancel_scope.cancel()

    # -- hang-up

    async def test_a_hang_up_ends_an_idle_receive(self, stand: Stand) -> None:
        async with opened(stand.opener) as link, anyio.create_task_group() as tasks:
            tasks.start_soon(self._expect_loss, link.receive())
            await other_work_goes_on()
            await stand.far.hang_up()

    async def test_a_hang_up_ends_a_stalled_send(self, stand: Stand) -> None:
        async with opened(stand.opener) as link, anyio.create_task_group() as tasks:
            tasks.start_soon(self._expect_loss, link.send(MORE_THAN_ANY_PIPE_HOLDS))
            await other_work_goes_on()
            await stand.far.hang_up()

    async def test_a_hang_up_ends_reader_and_writer_at_once(self, stand: Stand) -> None:
        async with opened(stand.opener) as link, anyio.create_task_group() as tasks:
            tasks.start_soon(self._expect_loss, link.receive())
            tasks.start_soon(self._expect_loss, link.send(MORE_THAN_ANY_PIPE_HOLDS))
            await other_work_goes_on()
            await stand.far.hang_up()

    async def test_a_loss_is_told_again_and_again(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            await stand.far.hang_up()
            for _ in range(3):
                await self._expect_loss(link.receive())
                await self._expect_loss(link.send(b"anybody?"))

    async def test_what_came_before_the_hang_up_is_delivered_before_the_loss(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            await stand.far.send(b"last words")
            assert await link.receive(1) == b"l"  # it has arrived here
            await stand.far.hang_up()
            await self._expect_loss(link.send(MORE_THAN_ANY_PIPE_HOLDS))
            assert await read_exactly(link, 9) == b"ast words"
            await self._expect_loss(link.receive())

    @staticmethod
    async def _expect_loss(attempt: Awaitable[object]) -> None:
        with pytest.raises(LinkLost):
            await attempt

    # -- cancel and close

    async def test_cancelling_a_receive_loses_nothing(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.receive)
                await other_work_goes_on()
                tasks.cancel_scope.cancel()
            await stand.far.send(b"kept")
            assert await read_exactly(link, 4) == b"kept"

    async def test_closing_twice_is_closing_once(self, stand: Stand) -> None:
        link = await stand.opener.open()
        await link.aclose()
        await link.aclose()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.aclose)
            tasks.start_soon(link.aclose)

    async def test_closing_ends_a_receive_of_another_task(self, stand: Stand) -> None:
        link = await stand.opener.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._expect_loss, link.receive())
            await other_work_goes_on()
            await link.aclose()

    async def test_a_closed_link_refuses_everything(self, stand: Stand) -> None:
        link = await stand.opener.open()
        await link.aclose()
        await self._expect_loss(link.receive())
        await self._expect_loss(link.send(b"too late"))

    async def test_closing_works_inside_a_cancelled_scope(self, stand: Stand) -> None:
        link = await stand.opener.open()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await link.aclose()
        async with opened(stand.opener) as again:
            await stand.far.send(b"free again")
            assert await read_exactly(again, 10) == b"free again"

    async def test_a_port_opens_again_after_it_was_closed(self, stand: Stand) -> None:
        for word in (b"one", b"two", b"three"):
            async with opened(stand.opener) as link:
                await stand.far.send(word)
                assert await read_exactly(link, len(word)) == word

    async def test_a_cancelled_open_leaves_the_port_free(self, stand: Stand) -> None:
        for turns in range(6):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._open_and_keep_until_cancelled, stand.opener)
                await other_work_goes_on(turns)
                tasks.cancel_scope.cancel()
        async with opened(stand.opener) as link:
            await stand.far.send(b"mine")
            assert await read_exactly(link, 4) == b"mine"

    @staticmethod
    async def _open_and_keep_until_cancelled(opener: LinkOpener) -> None:
        async with opened(opener):
            await anyio.sleep_forever()

    # -- refusals

    async def test_a_second_opener_is_told_that_the_port_is_busy(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            with pytest.raises(LinkBusy, match=stand.opener.name):
                await stand.opener.open()
            await stand.far.send(b"undisturbed")
            assert await read_exactly(link, 11) == b"undisturbed"

    async def test_a_missing_port_is_named(self, stand: Stand) -> None:
        missing = stand.missing()
        with pytest.raises(LinkNotFound, match=missing.name):
            await missing.open()

    async def test_a_forbidden_port_is_named(self, stand: Stand) -> None:
        forbidden = stand.forbidden()
        with pytest.raises(LinkPermissionDenied, match=forbidden.name):
            await forbidden.open()

    async def test_the_name_is_known_before_and_after_the_open(self, stand: Stand) -> None:
        async with opened(stand.opener) as link:
            assert link.name == stand.opener.name

    # -- many

    async def test_64_links_at_once(self, stand: Stand) -> None:
        done: list[int] = []

        async def talk(number: int, opener: LinkOpener, far: FarEnd) -> None:
            async with opened(opener) as link:
                message = f"hello from {number}".encode()
                await far.send(message)
                assert await read_exactly(link, len(message)) == message
                await link.send(message)
                assert await read_exactly(far, len(message)) == message
            done.append(number)

        async with anyio.create_task_group() as tasks:
            for number, (opener, far) in enumerate(await stand.many(64)):
                tasks.start_soon(talk, number, opener, far)
        assert sorted(done) == list(range(64))

    async def test_a_stuck_link_does_not_disturb_another(self, stand: Stand) -> None:
        ((other, other_far),) = await stand.many(1)
        async with opened(stand.opener) as stuck, opened(other) as link, anyio.create_task_group() as tasks:
            tasks.start_soon(stuck.send, MORE_THAN_ANY_PIPE_HOLDS)
            for number in range(100):
                message = b"%04d" % number
                await link.send(message)
                assert await read_exactly(other_far, 4) == message
            tasks.cancel_scope.cancel()


async def read_until(far: FarEnd, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += await far.receive()
    return data
