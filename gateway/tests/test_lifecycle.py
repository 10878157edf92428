"""plan as a table, and its laws: nothing to do after its own effects, one live attempt at a time, nothing runs again after the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pods.lifecycle import Action, Finish, Plan, Release, StartContainer, StopContainer, plan
from gateway.pods.memory import Failure, PodMemory, Stopping
from gateway.pods.node import NodeAddresses
from gateway.pods.restart import Streak, streak
from gateway.pods.seams import Attempt, AttemptState, JsonObject, PodObservation
from gateway.pods.status import build_status
from gateway.pods.times import format_time
from gateway.pods.view import PodView
from gateway.pods.witness import witnessed
from gateway.tests.fakes_pods import WALL, attempt, pod

NOW = 5000.0
START = StartContainer("main", 1)


def planned(desired: JsonObject | None, attempts: dict[str, list[Attempt]], memory: PodMemory | None = None, now: float = NOW) -> Plan:
    memory = memory or PodMemory(WALL, NOW)
    observed = PodObservation(attempts)
    if desired is None:
        return plan(None, observed, memory, now)
    view = PodView(desired)
    memory.look(view, witnessed(view, observed), observed, now, WALL + now - NOW)
    return plan(view, observed, memory, now)


def deleting(desired: JsonObject, grace_s: int = 30) -> JsonObject:
    desired["metadata"] |= {"deletionTimestamp": format_time(WALL), "deletionGracePeriodSeconds": grace_s}
    return desired


def with_phase(phase: str, **spec: Any) -> JsonObject:
    return {**pod(**spec), "status": {"phase": phase}}


ONE_INIT: dict[str, Any] = {"initContainers": [{"name": "init", "image": "hello"}]}


@pytest.mark.parametrize(
    ("desired", "attempts", "actions"),
    [
        (pod(), {}, [START]),
        (pod(), {"main": [attempt(1, "intended")]}, [START]),
        (pod(), {"main": [attempt()]}, []),
        (pod(), {"main": [attempt(1, "stopping")]}, []),
        (pod(), {"main": [attempt(1, "exited")]}, [StartContainer("main", 2)]),
        (pod(restartPolicy="OnFailure"), {"main": [attempt(1, "exited")]}, []),
        (pod(restartPolicy="OnFailure"), {"main": [attempt(1, "exited", exit_code=1)]}, [StartContainer("main", 2)]),
        (pod(restartPolicy="Never"), {"main": [attempt(1, "exited", exit_code=1)]}, []),
        (pod(**ONE_INIT), {}, [StartContainer("init", 1)]),
        (pod(**ONE_INIT), {"init": [attempt()]}, []),
        (pod(**ONE_INIT), {"init": [attempt(1, "exited")]}, [START]),
        (pod(**ONE_INIT), {"init": [attempt(1, "exited", exit_code=2)]}, [StartContainer("init", 2)]),
        (pod(restartPolicy="Never", **ONE_INIT), {"init": [attempt(1, "exited", exit_code=2)]}, []),
        # initialised before: the init container is not asked again, whatever became of it
        (pod(**ONE_INIT), {"main": [attempt(1, "exited")]}, [StartContainer("main", 2)]),
        (with_phase("Succeeded"), {}, []),
        (with_phase("Failed"), {"main": [attempt(1, "exited")]}, []),
        (with_phase("Failed"), {"main": [attempt()]}, [StopContainer("main", 1, 30.0)]),
        (deleting(pod()), {}, [Finish()]),
        (deleting(pod(), 5), {"main": [attempt(3)]}, [StopContainer("main", 3, 5.0)]),
        (deleting(pod()), {"main": [attempt(1, "intended")]}, [StopContainer("main", 1, 30.0)]),
        (deleting(pod()), {"main": [attempt(1, "exited")]}, [Finish()]),
        (deleting(with_phase("Succeeded")), {"main": [attempt(1, "exited")]}, [Finish()]),
    ],
)
def test_what_to_do_now(desired: JsonObject, attempts: dict[str, list[Attempt]], actions: list[Action]) -> None:
    assert list(planned(desired, attempts).actions) == actions


def test_containers_start_in_the_order_of_the_spec() -> None:
    desired = pod(containers=[{"name": name, "image": "hello"} for name in "cab"])
    assert planned(desired, {}).actions == tuple(StartContainer(name, 1) for name in "cab")


def test_a_failed_pod_starts_nothing_and_stops_the_rest() -> None:
    memory = PodMemory(WALL, NOW, failure=Failure("OutOfwirelet.dev/esp32", ""))
    desired = pod(containers=[{"name": name, "image": "hello"} for name in "ab"])
    assert planned(desired, {"a": [attempt()]}, memory).actions == (StopContainer("a", 1, 30.0),)


def test_a_refused_start_waits_and_a_change_on_the_device_brings_it_forward() -> None:
    memory = PodMemory(WALL, NOW)
    for _ in range(4):
        memory.refuse("main", "DeviceBusy", "every slot is taken", NOW)
    assert planned(pod(), {}, memory) == Plan((), NOW + 8)
    memory.kicked_at = NOW + 0.1
    assert planned(pod(), {}, memory, NOW + 0.1) == Plan((), NOW + 0.8)
    assert planned(pod(), {}, memory, NOW + 0.8) == Plan((START,))


def test_what_no_source_has_is_stopped_with_the_grace_it_had_and_then_released() -> None:
    memory = PodMemory(WALL, NOW, grace_s=4.0)
    assert planned(None, {"main": [attempt()]}, memory).actions == (StopContainer("main", 1, 4.0),)
    assert planned(None, {"main": [attempt(1, "exited")]}, memory).actions == (Release(),)


def test_back_off_doubles_to_five_minutes_and_a_long_run_forgives() -> None:
    delays = []
    known = None
    for gen in range(1, 10):
        known = streak([attempt(gen, "exited")], known)
        delays.append(known.delay_s)
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300, 300]
    long_run = attempt(10, "exited", finished_at=WALL + 601)
    assert streak([long_run], known).delay_s == 0
    assert streak([long_run, attempt(11, "exited")], None).delay_s == 10


def test_a_crash_loop_that_nobody_remembers_goes_on_as_slowly() -> None:
    assert streak([attempt(7, "exited"), attempt(8, "exited")], None) == Streak(8, 7)
    assert planned(pod(), {"main": [attempt(7, "exited"), attempt(8, "exited")]}).requeue_at == NOW + 300


def test_an_end_in_the_future_was_now() -> None:
    """A clock that was ahead wrote it: nobody waits until then."""
    later = WALL + 400 * 86400
    ahead = attempt(2, "exited", started_at=later, finished_at=later)
    assert planned(pod(), {"main": [attempt(1, "exited"), ahead]}).requeue_at == NOW + 10


# -- laws


@dataclass
class World:
    """A pod, the devices and the memory, moved only by actions and by what devices and users may do."""

    desired: JsonObject | None
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    memory: PodMemory = field(default_factory=lambda: PodMemory(WALL, NOW))
    now: float = NOW
    started: set[tuple[str, int]] = field(default_factory=set)

    @property
    def wall(self) -> float:
        return WALL + self.now - NOW

    def plan(self) -> Plan:
        return planned(self.desired, self.attempts, self.memory, self.now)

    def do(self, action: Action) -> None:
        match action:
            case StartContainer(container, gen):
                history = self.attempts.setdefault(container, [])
                assert not history or history[-1].state is AttemptState.EXITED
                assert (container, gen) not in self.started
                assert gen == (history[-1].gen + 1 if history else 1)
                self.started.add((container, gen))
                history[:] = [*history[-1:], attempt(gen, started_at=self.wall)]
            case StopContainer(container, gen, grace_s):
                self.memory.stops[container] = Stopping(gen, grace_s)
                self.change(container, state=AttemptState.STOPPING)
            case Finish():
                self.memory.finished_at = self.now
            case Release():
                assert all(history[-1].state is AttemptState.EXITED for history in self.attempts.values())
                self.attempts.clear()
                self.memory.is_released = True

    def change(self, container: str, **fields: Any) -> None:
        self.attempts[container][-1] = replace(self.attempts[container][-1], **fields)

    def settle(self) -> None:
        """Do what is planned until nothing is: it must take one round, and one more for an init container that is done."""
        for _ in range(2):
            for action in self.plan().actions:
                self.do(action)
        assert self.plan().actions == ()

    def phase(self) -> str:
        assert self.desired is not None
        view = PodView(self.desired)
        observed = PodObservation(self.attempts)
        status = build_status(view, observed, self.memory, self.now, self.wall, NodeAddresses("192.0.2.7"))
        self.desired["status"] = status
        self.memory.status = status
        return str(status["phase"])


STEPS = st.one_of(
    st.tuples(st.just("exit"), st.sampled_from(["init", "main", "side"]), st.sampled_from([0, 1])),
    st.tuples(st.just("wait"), st.sampled_from([1, 11, 400]), st.just(0)),
    st.tuples(st.sampled_from(["delete", "remove"]), st.just(""), st.sampled_from([0, 30])),
)


@given(st.sampled_from(["Always", "OnFailure", "Never"]), st.booleans(), st.lists(STEPS, max_size=14))
def test_after_its_own_effects_plan_has_nothing_to_do_and_phases_only_go_forward(
    policy: str, has_init: bool, steps: list[tuple[str, Any, int]]
) -> None:
    containers = [{"name": "main", "image": "hello"}, {"name": "side", "image": "hello"}]
    world = World(pod(restartPolicy=policy, containers=containers, **(ONE_INIT if has_init else {})))
    world.settle()
    phases = ["Pending"]
    for kind, argument, number in steps:
        match kind:
            case "exit" if argument in world.attempts and world.attempts[argument][-1].state is not AttemptState.EXITED:
                world.change(argument, state=AttemptState.EXITED, exit_code=number, finished_at=world.wall)
            case "wait":
                world.now += argument
            case "delete" if world.desired is not None and not PodView(world.desired).is_deleting:
                deleting(world.desired, number)
            case "remove":
                world.desired = None
        started = len(world.started)
        world.settle()
        if world.desired is None:
            continue
        phase = world.phase()
        if phases[-1] in ("Succeeded", "Failed"):
            assert phase == phases[-1]
            assert len(world.started) == started
        if phases[-1] == "Running":
            assert phase != "Pending"
        phases.append(phase)
