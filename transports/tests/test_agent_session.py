"""The agent's end of a session in the model's world: every fault of a cable, kills of the gateway, and restarts of the agent.

The laws are those of test_model.py: delivered and declared lost is what was produced, nothing starts twice, every request ends.
"""

from __future__ import annotations

import random
from typing import cast

import pytest

from transports.agent import wirelet_agent as agent
from transports.tests.model_device import ModelDevice
from transports.tests.model_world import World
from transports.tests.test_model import BAD_CABLES, CREDITS_BYTES, FIRST_OFFSETS, RINGS_BYTES, SPANS_S, WIDS
from transports.wire.device_session import DeviceSession, Retained
from transports.wire.numbers import ResetCause

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
