"""The gateway's side of a target, by its words: the test answers for the wrapper. The real one is in hil-tests/test_exec_wrapper.py."""

from __future__ import annotations

import random
import re
import tracemalloc
from collections.abc import Callable

import pytest

from transports.errors import LocalProtocolError, SessionLost
from transports.protocol import (
    ANOTHER_DEVICE,
    Answered,
    Checkpoint,
    Event,
    Gap,
    Joined,
    Left,
    LinkSpent,
    Listed,
    Output,
    Problem,
    Record,
    RemoveWorkload,
    Request,
    RequestId,
    RequestLost,
    StartWorkload,
    StopWorkload,
    WorkloadChanged,
    WorkloadState,
)
from transports.protocols.exec_protocol import ANSWER_DEADLINE_S, REFUSED_AGAIN_S, ExecProtocol
from transports.protocols.exec_replies import MAX_ANSWER_BYTES
from transports.wire.numbers import Code
from transports.wire.offsets import MAX_OFFSET

WRAPPER = b"a script\n#end\n"
MACHINE = b"0123456789abcdef0123456789abcdef"


class Words:
    """What is asked, and answers to it. now only moves when told."""

    def __init__(self, checkpoint: Checkpoint | None = None, refuses: Callable[[bytes], str | None] = lambda device_id: None) -> None:
        self.core = ExecProtocol(
            checkpoint, wrapper=WRAPPER, directory="/d", slots=2, spool_bytes=1 << 24, rng=random.Random(1), refuses=refuses
        )
        self.now = 0.0
        self.nonce = ""
        self.events: list[Event] = []

    def asked(self) -> bytes:
        """The next that is written."""
        data = self.core.data_to_send(self.now)
        if found := re.search(rb"serve \"\$d\" ([0-9a-f]{16})", data):
            self.nonce = found[1].decode()
        return data

    def answer(self, body: bytes = b"", code: int = 0, text: str = "ok") -> None:
        self.core.receive_data(body + f"\n. {self.nonce} {code} 100.00 {text}\n".encode(), self.now)
        self.events += self.core.events()

    def boot(self) -> None:
        self.core.link_up(self.now)
        assert self.asked().endswith(b"\n")
        self.answer(text="ready")

    def join(self, runs: bytes = b"", *, epoch: bytes = b"000000ee", boot: bytes = b"000000bb", end: str = "0") -> None:
        self.boot()
        assert self.asked().startswith(b"hello ")
        self.answer(b"%s %s 0 %s\n" % (epoch, boot, MACHINE))
        assert self.asked() == b"list\n"
        self.answer(runs, text=end)

    def until_asked(self) -> bytes:
        """Let the time of the next question come."""
        deadline = self.core.next_deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        self.core.handle_deadline(self.now)
        return self.asked()

    def request(self, request: Request) -> bytes:
        self.core.request(request, self.now)
        self.events += self.core.events()
        return self.asked()

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def test_the_wrapper_is_sent_to_whom_has_not_got_it_and_only_when_it_is_asked_for() -> None:
    words = Words()
    words.core.link_up(0.0)
    assert b"a script" not in words.asked()
    assert words.asked() == b""
    words.answer(text="send")
    assert words.asked() == WRAPPER
    words.answer(text="ready")
    assert words.asked() == b"hello 00000000 0 16777216\n"


def test_a_gateway_says_how_far_it_has_the_log_and_reads_on_there() -> None:
    words = Words(Checkpoint(0xBB, 0xEE, 500))
    words.boot()
    assert words.asked() == b"hello 000000ee 500 16777216\n"
    words.answer(b"000000ee 000000bb 0 %s\n" % MACHINE)
    words.asked()
    words.answer(text="0")
    (joined,) = words.of(Joined)
    assert isinstance(joined, Joined)
    assert (joined.device_id, joined.new_boot) == (bytes.fromhex(MACHINE.decode()), False)
    assert words.until_asked() == b"read 500 500\n"
    words.answer(b"o0 1.00 line\no0 1.00 ha")
    assert words.until_asked() == b"read 523 500\n"
    words.core.stored(Checkpoint(0xBB, 0xEE, 513), words.now)
    words.answer()
    assert words.until_asked() == b"read 523 513\n"


def test_half_a_line_of_another_connection_is_asked_for_again() -> None:
    words = Words(Checkpoint(0xBB, 0xEE, 500))
    words.join()
    words.until_asked()
    words.answer(b"o0 1.00 ha")
    words.core.link_down(words.now)
    words.join()
    assert words.until_asked() == b"read 500 500\n"


def test_another_boot_is_told() -> None:
    words = Words(Checkpoint(0xAA, 0xEE, 500))
    words.join()
    (joined,) = words.of(Joined)
    assert isinstance(joined, Joined)
    assert joined.new_boot


def test_another_log_begins_anew_and_the_old_one_ends_with_a_gap() -> None:
    words = Words(Checkpoint(0xBB, 0xDD, 500))
    words.join()
    ended, began = words.of(Output)[:2]
    assert isinstance(ended, Output)
    assert isinstance(began, Output)
    assert (ended.epoch, ended.items[0]) == (0xDD, Gap(500, None, None, 4))
    assert (ended.checkpoint.epoch, ended.checkpoint.expected, began.epoch) == (0xEE, 0, 0xEE)
    assert words.until_asked() == b"read 0 0\n"


def test_the_end_of_a_run_comes_after_its_output() -> None:
    words = Words()
    words.join(b"7 1 0 10 - 0102\n")
    (listed,) = words.of(Listed)
    assert isinstance(listed, Listed)
    assert [(status.wid, status.state, status.start_off, status.tag) for status in listed.workloads] == [
        (7, WorkloadState.RUNNING, 10, b"\x01\x02")
    ]
    words.events.clear()
    words.until_asked()
    words.answer(b"o0 1.00 last\nx0 1.00 7 1 137\n")
    output, changed = words.events
    assert isinstance(output, Output)
    assert isinstance(changed, WorkloadChanged)
    assert [item.data for item in output.items if isinstance(item, Record)] == [b"last"]
    assert (changed.status.exit_code, changed.status.signal, changed.status.end_off, changed.status.start_off) == (137, 9, 13, 10)


def test_what_ended_before_is_listed_with_the_end_of_all_logs() -> None:
    words = Words()
    words.join(b"7 1 0 10 3 -\n", end="900")
    (listed,) = words.of(Listed)
    assert isinstance(listed, Listed)
    (status,) = listed.workloads
    assert (status.state, status.exit_code, status.end_off) == (WorkloadState.EXITED, 3, 900)


def test_a_slot_is_free_again_when_its_run_is_removed() -> None:
    words = Words()
    words.join(b"7 1 0 10 0 -\n")
    assert words.request(StartWorkload(8, 1, "p", ("a",))).startswith(b"start 8 1 1 - 2\n")
    words.answer(b"8 1 1 20 - -\n", text="20")
    assert words.request(StartWorkload(9, 1, "p", ("a",))) == b""
    assert words.events[-1] == Answered(words.events[-1].request_id, Code.BUSY, None, "all 2 slots are taken")  # type: ignore[union-attr]  # an answer
    assert words.request(RemoveWorkload(7, 1)) == b"remove 7 1\n"
    words.answer()
    assert words.request(StartWorkload(9, 1, "p", ("a",))).startswith(b"start 9 1 0 ")


def test_a_start_that_was_refused_takes_no_slot() -> None:
    words = Words()
    words.join()
    for _ in range(5):
        assert words.request(StartWorkload(8, 1, "p", ("a",))).startswith(b"start 8 1 0 ")
        words.answer(code=5, text="no space")
    assert words.request(StartWorkload(9, 1, "p", ("a",))).startswith(b"start 9 1 0 ")


def test_stops_carry_signal_and_grace() -> None:
    words = Words()
    words.join()
    assert words.request(StopWorkload(7, 1, 1500)) == b"stop 7 1 15 2\n"
    assert words.request(StopWorkload(7, 1, 0)) == b"stop 7 1 KILL 0\n"


def test_with_the_link_open_requests_are_lost_and_the_next_connection_begins_anew() -> None:
    words = Words()
    with pytest.raises(SessionLost):
        words.core.request(StopWorkload(7, 1, 0), 0.0)
    words.join()
    words.request(StopWorkload(7, 1, 0))
    words.core.link_down(words.now)
    events = words.core.events()
    assert [type(event) for event in events] == [RequestLost, Left]
    assert words.core.next_deadline() is None
    nonce = words.nonce
    words.boot()
    assert words.nonce != nonce


def test_a_target_that_does_not_answer_is_told_and_asked_to_hang_up() -> None:
    words = Words()
    words.join()
    words.until_asked()
    words.events.clear()
    words.now += ANSWER_DEADLINE_S
    words.core.handle_deadline(words.now)
    words.events += words.core.events()
    assert [type(event) for event in words.events] == [Problem, Left, LinkSpent]
    assert words.asked() == b"exit\n"
    assert words.core.next_deadline() is None


@pytest.mark.parametrize("nonsense", [b"", b"zz 1 2 3", b"000000ee 000000bb -1 x"])
def test_a_target_that_introduces_itself_with_nonsense_is_left(nonsense: bytes) -> None:
    words = Words()
    words.boot()
    words.asked()
    words.answer(nonsense)
    assert words.of(Problem)
    assert words.asked() == b"exit\n"
    assert not words.of(Joined)


def test_a_target_that_prints_without_end_costs_no_memory_and_is_asked_once_to_hang_up() -> None:
    words = Words()
    words.boot()
    piece = b"y\n" * 32768
    for _ in range(MAX_ANSWER_BYTES // len(piece) + 1):
        words.core.receive_data(piece, words.now)
    tracemalloc.start()
    try:
        for _ in range(64):
            words.core.receive_data(piece, words.now)
        grown_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown_bytes < len(piece)
    assert b"".join(iter(words.asked, b"")).count(b"exit\n") == 1


@pytest.mark.parametrize(
    "runs",
    [
        b"7 1 0 0 - abc\n",
        b"7 1 0 0 - -\nnone\n",
        b"99999999999 1 0 0 - -\n",
    ],
)
def test_a_list_of_nonsense_is_left(runs: bytes) -> None:
    words = Words()
    words.join(runs)
    assert words.of(Left)
    assert not words.of(Listed)


@pytest.mark.parametrize("runs", [b"7 1 0 0 - -\n8 1 1 0 - -\n", b"7 1 0 0 - abc\n"])
def test_a_start_that_is_answered_with_nonsense_is_left(runs: bytes) -> None:
    words = Words()
    words.join()
    words.request(StartWorkload(7, 1, "", ("true",), (), b""))
    words.answer(runs)
    assert words.of(Left)
    assert words.of(RequestLost) == [RequestLost(RequestId(1))]


LONG_NUMBER = "9" * 5000


@pytest.mark.parametrize("end", [str(MAX_OFFSET), LONG_NUMBER])
def test_a_log_that_goes_on_beyond_any_log_is_nonsense(end: str) -> None:
    words = Words(Checkpoint(0xBB, 0xEE, 500))
    words.join()
    words.until_asked()
    words.answer(text=f"gap {end}")
    assert words.of(Left)
    assert max(event.checkpoint.expected for event in words.events if isinstance(event, Output)) == 500


@pytest.mark.parametrize("end", [str(MAX_OFFSET), LONG_NUMBER])
def test_a_run_that_ended_beyond_any_log_is_nonsense(end: str) -> None:
    words = Words()
    words.join(b"7 1 0 0 3 -\n", end=end)
    assert words.of(Left)
    assert not words.of(Listed)


def test_a_log_that_goes_back_is_nonsense() -> None:
    words = Words(Checkpoint(0xBB, 0xEE, 500))
    words.join()
    words.until_asked()
    words.answer(text="gap 400")
    assert words.of(Left)


def test_a_gap_in_the_log_is_told_with_its_size() -> None:
    words = Words(Checkpoint(0xBB, 0xEE, 500))
    words.join()
    words.until_asked()
    words.answer(text="gap 900")
    output = words.events[-1]
    assert isinstance(output, Output)
    assert output.items == (Gap(500, 900, None, 1),)
    assert words.until_asked() == b"read 900 500\n"


def test_a_stranger_gets_no_session_and_is_looked_at_again() -> None:
    answers = ["not this one", None]
    words = Words(refuses=lambda device_id: answers.pop(0))
    words.boot()
    words.asked()
    words.answer(b"000000ee 000000bb 0 %s\n" % MACHINE)
    assert [event.reason for event in words.events if isinstance(event, Problem)] == [ANOTHER_DEVICE]
    assert words.asked() == b""
    before = words.now
    assert words.until_asked().startswith(b"hello ")
    assert words.now == before + REFUSED_AGAIN_S
    words.answer(b"000000ee 000000bb 0 %s\n" % MACHINE)
    assert words.of(Joined)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (StartWorkload(1, 1, "p", ("a\0b",)), "has a NUL character"),
        (StartWorkload(1, 1, "p", ("a",), ("=x",)), "has no name of a variable"),
        (StartWorkload(1, 1, "p", ("x" * 200_000,)), "of 200000 bytes exceeds 131071"),
        (StartWorkload(1, 1, "p", ("x" * 100_000,) * 12), "exceed 1048576"),
    ],
)
def test_what_no_machine_could_start_is_refused_here(request_: StartWorkload, why: str) -> None:
    words = Words()
    words.join()
    with pytest.raises(LocalProtocolError, match=why):
        words.core.request(request_, words.now)
    assert words.asked() == b""
