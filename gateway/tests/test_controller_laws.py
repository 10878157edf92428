"""Whatever users, devices, the network and kill -9 do: the fakes never see a broken rule, and in the end everything is let go.

The rules stand in the fakes: no attempt starts twice, gens only grow, a terminal phase stays, a terminated container comes back only as
restartPolicy allows, nothing that runs is released.
"""

from __future__ import annotations

from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pods.seams import AttemptState, PodUid
from gateway.tests.fakes_pods import Lab, idle, pod

KINDS: dict[str, dict[str, Any]] = {
    "server": {},
    "job": {"restartPolicy": "Never"},
    "quick": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "exit-0"}]},
    "crash": {"containers": [{"name": "main", "image": "exit-3"}]},
    "retry": {"restartPolicy": "OnFailure"},
    "staged": {"initContainers": [{"name": "init", "image": "hello"}]},
    "unknown": {"containers": [{"name": "main", "image": "nowhere"}]},
    "timed": {"activeDeadlineSeconds": 30},
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from(sorted(KINDS)), st.just(0)),
        st.tuples(st.just("exit"), st.integers(0, 5), st.sampled_from([0, 1])),
        st.tuples(st.just("delete"), st.integers(0, 5), st.sampled_from([0, 5, 30])),
        st.tuples(st.just("turn"), st.sampled_from([0, 1, 12, 700]), st.just(0)),
        st.tuples(st.sampled_from(["cut", "plug", "outage", "back", "restart", "forget"]), st.just(0), st.just(0)),
    ),
    max_size=25,
)


class World:
    def __init__(self) -> None:
        self.lab = Lab()
        self.lab.devices.slots = 3
        self.made = 0

    async def step(self, what: str, argument: Any, number: int) -> None:
        api, devices = self.lab.api, self.lab.devices
        match what:
            case "create":
                self.made += 1
                await self.lab.create(pod(f"{argument}-{self.made}", **KINDS[argument]))
            case "exit":
                self.end(argument, number)
            case "delete" if uids := list(api.objects):
                api.delete(uids[argument % len(uids)], number)
            case "turn":
                await self.lab.clock.turn(argument)
            case "cut" | "plug":
                devices.unplug(connected=what == "plug")
            case "outage" | "back":
                api.is_reachable = what == "back"
        await idle()

    def live(self) -> list[tuple[PodUid, str]]:
        held = self.lab.devices.attempts.items()
        return [(uid, name) for uid, runs in held for name, history in runs.items() if history[-1].state is not AttemptState.EXITED]

    def end(self, which: int, code: int) -> None:
        if live := self.live():
            self.lab.devices.end(*live[which % len(live)], code)

    async def run(self, steps: list[tuple[str, Any, int]]) -> None:
        rest = list(steps)
        while rest:
            async with self.lab.running():
                while rest:
                    what, argument, number = rest.pop(0)
                    if what == "restart":
                        break
                    await self.step(what, argument, number)
        async with self.lab.running():
            await self.wind_down()
            assert self.lab.gateway.pods_remembered == 0

    async def wind_down(self) -> None:
        api, devices = self.lab.api, self.lab.devices
        api.is_reachable = True
        devices.unplug(connected=True)
        await self.lab.clock.turn(60)
        for uid in list(api.objects):
            api.delete(uid)
        for _ in range(10):
            await self.lab.clock.turn(40)
            for _ in self.live():
                self.end(0, 0)
        assert api.objects == {}
        assert devices.attempts == {}


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_no_rule_breaks_and_everything_is_let_go_in_the_end(steps: list[tuple[str, Any, int]]) -> None:
    anyio.run(World().run, steps)
