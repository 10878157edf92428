"""The whole protocol against chance: both cores, virtual time, a bad cable, resets of the device and kill -9 of the gateway.

Hypothesis chooses the schedule and shrinks what breaks a law to the shortest one. WIRELET_MODEL_RUNS=1000 raises the number of
schedules from what a test run can afford.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from transports.tests.model_cable import CLEAN, Faults
from transports.tests.model_world import World
from transports.wire.send_stream import Overflow

RUNS = int(os.environ.get("WIRELET_MODEL_RUNS", "0"))
FIRST_OFFSETS = (0, 0, (1 << 31) - 700, (1 << 32) - 700)
RINGS_BYTES = (512, 2048)
CREDITS_BYTES = (100, 600, 65535)
TALKS_BYTES = (16, 100, 1000)
WIDS = (1, 2, 3)
SPANS_S = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.4, 1.2, 3.5)
BAD_CABLES = (
    CLEAN,
    Faults(lose=0.05),
    Faults(lose=0.25),
    Faults(double=0.1, lose=0.02),
    Faults(flip=0.1, swallow=0.05),
    Faults(lose=0.1, double=0.05, flip=0.05, swallow=0.05),
)


class Schedule(RuleBasedStateMachine):
    """Each rule is one thing that happens; the laws are checked when everything has settled."""

    world: World

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        overflow=st.sampled_from(Overflow),
        first_offset=st.sampled_from(FIRST_OFFSETS),
        ring_bytes=st.sampled_from(RINGS_BYTES),
        credit_bytes=st.sampled_from(CREDITS_BYTES),
        talk_bytes=st.sampled_from(TALKS_BYTES),
    )
    def begin(self, seed: int, overflow: Overflow, first_offset: int, ring_bytes: int, credit_bytes: int, talk_bytes: int) -> None:
        self.world = World(
            seed, overflow=overflow, first_offset=first_offset, ring_bytes=ring_bytes, credit_bytes=credit_bytes, talk_bytes=talk_bytes
        )

    @rule(seconds=st.sampled_from(SPANS_S))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(lines=st.integers(1, 30), size=st.integers(8, 120))
    def device_logs(self, lines: int, size: int) -> None:
        for _ in range(lines):
            self.world.device.log(size, self.world.now)
        self.world.advance(0.002)

    @rule(wid=st.sampled_from(WIDS))
    def start(self, wid: int) -> None:
        self.world.gateway.start(wid, self.world.now)

    @rule(wid=st.sampled_from(WIDS))
    def stop(self, wid: int) -> None:
        self.world.gateway.stop(wid, self.world.now)

    @rule(wid=st.sampled_from(WIDS))
    def program_exits(self, wid: int) -> None:
        self.world.device.exit(wid)

    @rule(size=st.sampled_from((0, 10, 300, 3000)), is_slow=st.booleans())
    def somebody_runs_a_command(self, size: int, is_slow: bool) -> None:
        self.world.gateway.run_command(size, is_slow=is_slow, now=self.world.now)

    @rule(which=st.integers(0, 3))
    def somebody_leaves(self, which: int) -> None:
        self.world.leave(which)

    @rule(wid=st.sampled_from(WIDS), times=st.integers(1, 40))
    def somebody_types(self, wid: int, times: int) -> None:
        for _ in range(times):
            self.world.gateway.type(wid, self.world.now)

    @rule(wid=st.sampled_from(WIDS))
    def a_typist_leaves(self, wid: int) -> None:
        self.world.gateway.typist_leaves(wid)

    @rule(cable=st.sampled_from(BAD_CABLES))
    def cable_changes(self, cable: Faults) -> None:
        self.world.set_faults(cable)

    @rule(seconds=st.sampled_from((0.05, 0.6, 2.0, 4.0)))
    def cable_stalls(self, seconds: float) -> None:
        self.world.stall(seconds)

    @rule(seconds=st.sampled_from((0.0, 0.3, 4.0)))
    def cable_is_pulled(self, seconds: float) -> None:
        self.world.unplug()
        self.world.advance(seconds)
        self.world.plug()

    @rule(warm=st.booleans())
    def device_resets(self, warm: bool) -> None:
        self.world.device.reset(self.world.now, warm=warm)

    @rule(steps=st.integers(0, 3))
    def gateway_is_killed(self, steps: int) -> None:
        self.world.kill(steps)

    @rule(duration_ms=st.sampled_from((0, 100, 1500)), late_s=st.sampled_from((-0.1, 0.0, 1.0, 5.0)), resets=st.booleans())
    def device_goes_away(self, duration_ms: int, late_s: float, resets: bool) -> None:
        self.world.device.go_away(duration_ms, self.world.now, late_s=late_s, resets=resets)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.world.check()


TestSchedule = pytest.mark.timeout(0 if RUNS else 120)(Schedule.TestCase)
TestSchedule.settings = settings(
    max_examples=RUNS or 500,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def random_schedule(seed: int, steps: int = 60) -> World:
    """The same rules from a generator: cheaper than hypothesis, so more of them fit."""
    rng = random.Random(seed)
    world = World(
        rng.getrandbits(32),
        overflow=rng.choice(list(Overflow)),
        first_offset=rng.choice(FIRST_OFFSETS),
        ring_bytes=rng.choice(RINGS_BYTES),
        credit_bytes=rng.choice(CREDITS_BYTES),
        talk_bytes=rng.choice(TALKS_BYTES),
    )
    for _ in range(steps):
        random_step(world, rng)
    world.settle()
    world.check()
    return world


def random_step(world: World, rng: random.Random) -> None:
    now, device, gateway = world.now, world.device, world.gateway
    match rng.choices(range(14), weights=(30, 25, 10, 5, 4, 4, 3, 4, 5, 2, 10, 3, 6, 2))[0]:
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
        case 7:
            if rng.random() < 0.5:
                world.unplug()
                world.advance(rng.choice((0.0, 0.3, 4.0)))
                world.plug()
            else:
                device.reset(now, warm=rng.random() < 0.5)
        case 8:
            world.kill(rng.randint(0, 3))
        case 10:
            gateway.run_command(rng.choice((0, 10, 300, 3000)), is_slow=rng.random() < 0.3, now=now)
        case 11:
            world.leave(rng.randrange(4))
        case 12:
            for _ in range(rng.randint(1, 40)):
                gateway.type(rng.choice(WIDS), now)
        case 13:
            gateway.typist_leaves(rng.choice(WIDS))
        case _:
            device.go_away(rng.choice((0, 100, 1500)), now, late_s=rng.choice((-0.1, 0.0, 1.0, 5.0)), resets=rng.random() < 0.3)


@pytest.mark.timeout(0 if RUNS else 120)
@pytest.mark.parametrize("seed", range(max(RUNS // 10, 30)))
def test_laws_hold_on_random_schedules(seed: int) -> None:
    for part in range(10):
        random_schedule(seed * 10 + part)
