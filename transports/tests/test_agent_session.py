"""The agent's end of a session in the model's world: every fault of a cable, kills of the gateway, and restarts of the agent.

The laws are those of test_model.py: delivered and declared lost is what was produced, nothing starts twice, every request ends.
"""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from transports.agent import wirelet_agent as agent
from transports.tests.model_device import ModelDevice
from transports.tests.model_world import World
from transports.tests.test_model import BAD_CABLES, CREDITS_BYTES, FIRST_OFFSETS, RINGS_BYTES, SPANS_S, WIDS
from transports.tests.wire_peer import T0, Peer
from transports.wire.datagrams import Hello, Ready, Welcome
from transports.wire.device_session import DeviceSession, Retained
from transports.wire.framing import DATA, RST
from transports.wire.messages import Answer, Notification, Request, decode_control, encode_control
from transports.wire.numbers import CH_CTRL, Code, Method, ResetCause, RstCode

SEEDS = 30
SCHEDULES_A_SEED = 10


class AgentSession(agent.Session):
    """With the names that the model's board uses."""

    @property
    def gone(self) -> bool:
        return self.is_gone

    def write_log(self, record: bytes, *, is_start: bool = False) -> bool:
        return self.log.write(record)


class AgentDevice(ModelDevice):
    """The model's board with the agent's session. Nothing of an agent survives its reset."""

    def _new_session(self, now: float, retained: Retained | None, cause: ResetCause) -> DeviceSession:
        config = self._config
        taken = agent.DeviceConfig(config.device_id, config.ring_bytes, config.mtu, config.max_msg, config.first_offset)
        session = AgentSession(taken, self, now, uptime_ms=self._boot_ms())
        session.link_up(now)
        return cast("DeviceSession", session)


def random_schedule(seed: int, steps: int = 60) -> World:
    rng = random.Random(seed)
    world = World(
        rng.getrandbits(32),
        first_offset=rng.choice(FIRST_OFFSETS),
        ring_bytes=rng.choice(RINGS_BYTES),
        credit_bytes=rng.choice(CREDITS_BYTES),
        device=AgentDevice,
    )
    for _ in range(steps):
        random_step(world, rng)
    world.settle()
    world.check()
    return world


def random_step(world: World, rng: random.Random) -> None:
    now, device, gateway = world.now, world.device, world.gateway
    match rng.choices(range(9), weights=(30, 25, 10, 5, 4, 4, 3, 4, 5))[0]:
        case 0:
            world.advance(rng.choice(SPANS_S))
        case 1:
            size = rng.randint(8, 120)
            for _ in range(rng.randint(1, 30)):
                device.log(size, now)
            world.advance(0.002)
        case 2:
            gateway.start(rng.choice(WIDS), now)
        case 3:
            gateway.stop(rng.choice(WIDS), now)
        case 4:
            device.exit(rng.choice(WIDS))
        case 5:
            world.set_faults(rng.choice(BAD_CABLES))
        case 6:
            world.stall(rng.choice((0.05, 0.6, 2.0, 4.0)))
        case 7 if rng.random() < 0.6:
            world.unplug()
            world.advance(rng.choice((0.0, 0.3, 4.0)))
            world.plug()
        case 7 if rng.random() < 0.5:
            device.reset(now, warm=False)
        case 7:
            device.go_away(rng.choice((0, 100, 1500)), now, late_s=rng.choice((-0.1, 0.0, 1.0)), resets=True)
        case _:
            world.kill(rng.randint(0, 3))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_laws_hold_on_random_schedules(seed: int) -> None:
    for part in range(SCHEDULES_A_SEED):
        random_schedule(seed * SCHEDULES_A_SEED + part)


# -- what a model's cable does not do


class Nobody:
    """Behind a session: stops what never ran."""

    def on_request(self, method: int, body: object, now: float) -> tuple[int, agent.Body]:
        agent.Stop.read(body)
        return agent.OK, {}

    def on_joined(self, now: float) -> None: ...

    def on_link_loss(self, now: float) -> None: ...

    def on_gone(self, now: float) -> None: ...


def a_peer() -> Peer:
    session = agent.Session(agent.DeviceConfig(b"\1\2\3\4", 65536), Nobody(), T0, uptime_ms=400)
    session.link_up(T0)
    return Peer(session)


def welcome(hello: object, **changes: Any) -> Welcome:
    assert isinstance(hello, Hello)
    values: dict[str, Any] = {
        "version": 1,
        "sid": 7,
        "boot_id": 0x5EED,
        "echo_ms": hello.uptime_ms,
        "mtu": 64,
        "credit": 4096,
        "ka_ms": 1000,
    }
    return Welcome(**(values | changes))


def test_a_hello_goes_at_once_and_then_ever_less_often() -> None:
    gateway = a_peer()
    gateway.wait(4.0)
    hellos = [message for message in gateway.take_dgrams() if isinstance(message, Hello)]
    assert [hello.uptime_ms - 400 for hello in hellos] == [0, 250, 750, 1750, 2750, 3750]
    assert {(hello.boot_id, hello.tx_ring, hello.log_epoch, hello.mtu) for hello in hellos} == {(0, 65535, None, 4096)}


def test_a_welcome_of_an_earlier_boot_is_not_taken() -> None:
    gateway = a_peer()
    (hello,) = gateway.take_dgrams()
    gateway.say_dgram(0, welcome(hello, stored=100))
    assert not [message for message in gateway.take_dgrams() if isinstance(message, Ready)]
    gateway.say_dgram(0, welcome(hello))
    assert isinstance(gateway.take_dgrams()[0], Ready)


def test_a_message_that_breaks_the_protocol_ends_the_session_with_its_name() -> None:
    gateway = a_peer()
    (hello,) = gateway.take_dgrams()
    gateway.say_dgram(0, welcome(hello))
    gateway.take()
    gateway.say(DATA, 7, CH_CTRL, 0, b"\x91\x01", flag=1)
    assert gateway.take_resets() == [(7, RstCode.PROTOCOL_ERROR)]


def test_a_request_with_a_wrong_body_is_answered() -> None:
    gateway = a_peer()
    (hello,) = gateway.take_dgrams()
    gateway.say_dgram(0, welcome(hello))
    gateway.take()
    wrong = encode_control(Request(1, Method.STOP, {1: 7, 2: "one"}))
    gateway.say(DATA, 7, CH_CTRL, 0, wrong, flag=1)
    gateway.say(DATA, 7, CH_CTRL, len(wrong), encode_control(Request(2, Method.STOP, {1: 7, 2: 1})), flag=1)
    answers = [decode_control(frame[5]) for frame in gateway.take_of(DATA, CH_CTRL)]
    assert [(answer.rid, answer.code) for answer in answers if isinstance(answer, Answer)] == [(1, Code.INVALID), (2, Code.OK)]


def test_news_and_answers_that_no_agent_knows_are_dropped_and_the_session_goes_on() -> None:
    gateway = a_peer()
    (hello,) = gateway.take_dgrams()
    gateway.say_dgram(0, welcome(hello))
    gateway.take()
    off = 0
    for message in (Notification(0x25, {1: 16}), Answer(9, 0, {}), Request(1, Method.STOP, {1: 7, 2: 1})):
        data = encode_control(message)
        gateway.say(DATA, 7, CH_CTRL, off, data, flag=1)
        off += len(data)
    heard = gateway.take()
    assert [frame for frame in heard if frame[0] == RST] == []
    assert [decode_control(frame[5]) for frame in heard if (frame[0], frame[3]) == (DATA, CH_CTRL)] == [Answer(1, Code.OK, {})]


def test_what_is_no_frame_is_not_kept() -> None:
    deframer = agent.Deframer(64)
    frame = agent.encode_frame(agent.DGRAM, 0, 0, 0, 0, b"x")
    for _ in range(100):
        assert deframer.feed(b"noise " * 1000) == []
        assert len(deframer._held) < 100
    assert deframer.feed(b"\0" + frame) == [(agent.DGRAM, 0, 0, 0, 0, b"x")]


# -- programs that wait for room in the log


def test_programs_wait_while_a_gateway_takes_what_they_say() -> None:
    hold = agent.Hold(1000)
    assert not hold.look(0, 1000, True, 0.0)
    assert hold.look(0, 1001, True, 0.0)
    assert hold.is_on
    assert not hold.look(400, 1001, True, 9.0)
    assert hold.look(501, 1001, True, 18.0)
    assert not hold.is_on


def test_nobody_waits_without_a_session_and_not_long_for_one_that_takes_nothing() -> None:
    hold = agent.Hold(1000)
    assert not hold.look(0, 5000, False, 0.0)
    assert hold.look(0, 5000, True, 1.0)
    assert hold.next_deadline() == 1.0 + agent.PATIENCE_S
    assert hold.look(0, 5000, True, 1.0 + agent.PATIENCE_S)
    assert not hold.is_on
    assert not hold.look(0, 9000, True, 100.0)
    assert hold.look(1, 9000, True, 101.0)
    assert hold.is_on
