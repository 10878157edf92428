"""The gateway's side of a target with an agent: the test answers for the target's shell, and then a real session of the agent does."""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Mapping

import pytest

from transports.agent import wirelet_agent as agent
from transports.driver import BadOption, DeviceFacts, SessionFacts, SizeBytes
from transports.errors import SessionLost
from transports.protocol import GARBAGE, Event, Joined, Left, LinkSpent, Listed, Problem, RemoveWorkload, RequestLost, StartWorkload
from transports.protocols.agent_driver import AgentDriver, AgentOptions
from transports.protocols.agent_protocol import BOOT_DEADLINE_S, MAX_NOISE_BYTES, PUT_DEADLINE_S, TARGET_PROBLEM, AgentProtocol
from transports.protocols.framed import FramedProtocol

SOURCE = b"print('an agent')\n" * 1000
DIRECTORY = '/it\'s/a "$directory"'


class Target:
    """A target by its words. now only moves when told."""

    def __init__(self) -> None:
        framed = FramedProtocol(None, gateway_id=1, rng=random.Random(1), has_directories=True)
        self.core = AgentProtocol(
            framed, agent=SOURCE, put="put\nthis", python="python3", arguments=(DIRECTORY, "rack", "4", "65536"), rng=random.Random(2)
        )
        self.now = 100.0
        self.events: list[Event] = []
        self.started: list[Mapping[int, object]] = []

    def up(self) -> list[str]:
        """The words of the command that the shell is given."""
        self.core.link_up(self.now)
        words = shlex.split(self.written().decode())
        self.nonce = words[5]
        return words

    def written(self) -> bytes:
        data = b""
        while piece := self.core.data_to_send(self.now):
            data += piece
        assert self.core.is_drained
        return data

    def say(self, data: bytes) -> None:
        self.core.receive_data(data, self.now)
        self.events += self.core.events()

    def answer(self, word: str) -> None:
        self.say(f"\n. {self.nonce} {word}\n".encode())

    def speak_frames(self) -> None:
        """The agent's session until nothing more is said."""
        session = agent.Session(agent.DeviceConfig(b"\1\2\3\4", 65536), self, self.now)
        session.link_up(self.now)
        while True:
            data = session.data_to_send(self.now)
            self.say(data)
            answer = self.written()
            session.receive_data(answer, self.now)
            if not data and not answer:
                return

    def on_request(self, method: int, body: Mapping[int, object], now: float) -> tuple[int, agent.Body]:
        if method == agent.START:
            self.started.append(body)
        return agent.OK, {1: []} if method in (agent.LIST, agent.INVENTORY) else {}

    def on_joined(self, now: float) -> None: ...

    def on_link_loss(self, now: float) -> None: ...

    def on_gone(self, now: float) -> None: ...

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def test_the_shell_is_given_one_command_whatever_is_in_its_words() -> None:
    words = Target().up()
    assert words[:5] == ["exec", "python3", "-I", "-c", "put\nthis"]
    assert words[7:] == [str(len(SOURCE)), DIRECTORY, "rack", "4", "65536"]


def test_frames_follow_the_answer_at_once_and_what_a_login_prints_is_no_frame() -> None:
    target = Target()
    target.up()
    target.say(b"Welcome to rack\n. you have mail\n")
    assert target.written() == b""
    target.answer("ok")
    target.speak_frames()
    assert [type(event) for event in target.events if isinstance(event, Joined | Listed)] == [Joined, Listed]


def test_the_agent_is_sent_whole_to_a_target_that_wants_it_and_nothing_before() -> None:
    target = Target()
    target.up()
    assert target.written() == b""
    target.answer("send")
    assert target.written() == SOURCE
    target.answer("ok")
    target.speak_frames()
    assert target.of(Listed)


def test_an_answer_may_be_cut_anywhere_and_no_other_nonce_counts() -> None:
    target = Target()
    target.up()
    target.say(b"\n. 0123456789abcdef send\n")
    for byte in f"\n. {target.nonce} send\n".encode():
        assert target.written() == b""
        target.say(bytes([byte]))
    assert target.written() == SOURCE


def test_a_target_that_says_nothing_is_given_up() -> None:
    target = Target()
    target.up()
    deadline = target.core.next_deadline()
    assert deadline == target.now + BOOT_DEADLINE_S
    target.now = deadline
    target.core.handle_deadline(target.now)
    problem, spent = target.core.events()
    assert isinstance(problem, Problem)
    assert problem.reason == TARGET_PROBLEM
    assert spent == LinkSpent(problem.message)
    assert target.written() == b"\nexit\n"
    assert target.core.next_deadline() is None


def test_a_slow_line_has_more_time_for_the_file_than_for_a_word() -> None:
    target = Target()
    target.up()
    target.now += BOOT_DEADLINE_S - 1
    target.answer("send")
    target.written()
    deadline = target.core.next_deadline()
    assert deadline == target.now + PUT_DEADLINE_S
    target.now = deadline
    target.core.handle_deadline(target.now)
    assert target.core.events()[-1] == LinkSpent("the target does not answer within 120 s")


@pytest.mark.parametrize("said", [b"x" * (MAX_NOISE_BYTES + 1), b"\n. NONCE what\n"])
def test_a_target_that_says_anything_else_is_given_up(said: bytes) -> None:
    target = Target()
    target.up()
    target.say(said.replace(b"NONCE", target.nonce.encode()))
    (problem,) = target.of(Problem)
    assert isinstance(problem, Problem)
    assert problem.reason == GARBAGE
    assert target.written() == b"\nexit\n"


def test_a_lost_link_ends_the_session_and_the_next_one_begins_with_the_command() -> None:
    target = Target()
    target.up()
    target.core.link_down(target.now)
    assert target.core.events() == []
    target.up()
    target.answer("ok")
    target.speak_frames()
    target.core.request(RemoveWorkload(1, 1), target.now)
    target.core.link_down(target.now)
    target.events = target.core.events()
    assert [type(event) for event in target.events] == [RequestLost, Left]
    with pytest.raises(SessionLost):
        target.core.request(RemoveWorkload(1, 1), target.now)
    assert target.up()[0] == "exec"


def test_a_program_is_started_in_its_directory() -> None:
    target = Target()
    target.up()
    target.answer("ok")
    session = agent.Session(agent.DeviceConfig(b"\1\2\3\4", 65536), target, target.now)
    session.link_up(target.now)
    asked = False
    for _ in range(20):
        target.say(session.data_to_send(target.now))
        if target.of(Listed) and not asked:
            asked = True
            target.core.request(StartWorkload(1, 1, "host", ("pwd",), working_dir="/tmp"), target.now)
        session.receive_data(target.written(), target.now)
    assert [start[7] for start in target.started] == ["/tmp"]


# -- options


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: AgentOptions(python=""), "python"),
        (lambda: AgentOptions(directory="relative"), "directory"),
        (lambda: AgentOptions(log=SizeBytes(1000)), "log"),
        (lambda: AgentOptions(log=SizeBytes(1 << 40)), "log"),
        (lambda: AgentOptions(install=False, log=SizeBytes(1 << 20)), "install"),
    ],
)
def test_what_no_agent_can_have_is_refused(make: Callable[[], AgentOptions], option: str) -> None:
    with pytest.raises(BadOption) as refused:
        make()
    assert refused.value.option == option


def test_without_install_the_link_s_command_is_the_agent() -> None:
    facts = SessionFacts(gateway_id=1, keepalive_s=1.0, line_bytes_per_s=None, rng=random.Random(1))
    device = DeviceFacts(name="rack", class_name="sbc", slots=4)
    driver = AgentDriver()
    assert isinstance(driver.protocol(AgentOptions(install=False), None, device, facts), FramedProtocol)
    core = driver.protocol(AgentOptions(directory="/var/lib/wirelet", log=SizeBytes(1 << 20)), None, device, facts)
    core.link_up(0.0)
    command = b""
    while piece := core.data_to_send(0.0):
        command += piece
    assert shlex.split(command.decode())[8:] == ["/var/lib/wirelet", "rack", "4", str(1 << 20)]


def test_the_bounds_of_the_gateway_are_those_of_the_agent() -> None:
    from transports.protocols import agent_driver

    assert (agent_driver.MIN_LOG_BYTES, agent_driver.MAX_LOG_BYTES) == (agent.MIN_RING_BYTES, agent.MAX_RING_BYTES)
