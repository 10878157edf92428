"""The kill test: three counters on a busy line, and the gateway, the device, the API server or etcd killed at random moments.

In the end every number is there once or inside a named gap: delivered + declared lost = produced. The logs are read through the real
kubectl and straight from the rings. `make soak` does the same for an hour.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from control_plane import ControlPlane
from counted import account
from kill_lab import CONTAINERS, LOAD, LOAD_SLACK, RATE_HZ, RECOVERY_S, SMALL_RING_BYTES, KillLab, same_runs
from lab import container
from workbench import Workbench

SEED = 4
KILLS = 50
"""All kill tests together have three minutes of `make test`; `make soak` has an hour."""
PRODUCTION_S = 50
"""More than the sessions between the kills can bring over: no kill comes too late to hit."""
OVERFLOW_KILLS = 5


@pytest.fixture
def lab(control_plane: ControlPlane, workbench: Workbench, namespace: str) -> Iterator[KillLab]:
    made = KillLab(control_plane, workbench, namespace)
    yield made
    made.close()
    assert made.refused_requests() == []


@pytest.mark.timeout(400)
def test_a_gateway_killed_at_random_moments_loses_no_line(lab: KillLab) -> None:
    produced = PRODUCTION_S * RATE_HZ
    lab.set_up_on_a_cable(seed=SEED)
    lab.run_counters("counters", produced, restartPolicy="Never")
    before = lab.wait_for_ready("counters")
    lab.wait_for_number("counters", 10_000)
    load = lab.pace()

    begun = time.monotonic()
    met = lab.kill_gateways(KILLS, random.Random(SEED))
    killing_s = time.monotonic() - begun
    assert not lab.has_ended("counters")

    after = lab.wait_for_pod("counters", lambda pod: pod["status"]["phase"] == "Succeeded", RECOVERY_S)
    assert same_runs(before, after)
    accounts = lab.settle_accounts("counters", produced)
    print(f"load of the line {load:.0%}; {KILLS} kills of the gateway in {killing_s:.0f} s, {met} of them in a session")
    print(f"delivered {[found.delivered for found in accounts.values()]} of {produced} numbers, {lab.starts()} STARTs")
    assert abs(load - LOAD) <= LOAD_SLACK
    assert [found.gaps for found in accounts.values()] == [()] * 3  # the ring never overflowed
    assert [found.delivered for found in accounts.values()] == [produced] * 3
    assert lab.starts() == 3
    assert len(set(lab.boot_ids())) == 1


@pytest.mark.timeout(300)
def test_what_overflowed_while_the_gateway_was_dead_is_counted(lab: KillLab) -> None:
    produced = 8 * RATE_HZ
    lab.set_up_on_a_cable(ring_bytes=SMALL_RING_BYTES, seed=SEED)
    lab.run_counters("counters", produced, restartPolicy="Never")
    lab.wait_for_ready("counters")

    lab.kill_gateways(OVERFLOW_KILLS, random.Random(SEED))

    lab.wait_for_pod("counters", lambda pod: pod["status"]["phase"] == "Succeeded", RECOVERY_S)
    accounts = lab.settle_accounts("counters", produced)
    missing = {name: found.missing for name, found in accounts.items()}
    print(f"{OVERFLOW_KILLS} kills of the gateway, missing {missing} of {produced} each, all of them told")
    assert all(found.gaps for found in accounts.values())
    assert lab.starts() == 3


@pytest.mark.timeout(300)
def test_a_killed_device_ends_each_attempt_with_one_gap_of_unknown_size(lab: KillLab) -> None:
    lab.set_up_on_a_cable(seed=SEED)
    rng = random.Random(SEED)
    for number in range(3):
        name = f"counters-{number}"
        lab.run_counters(name, 1_000_000, restartPolicy="Never")
        lab.wait_for_ready(name)
        time.sleep(rng.uniform(0.0, 2.0))
        lab.kill_board()
        if number == 2:
            lab.kill_gateway()  # nobody saw the device die
        pod = lab.wait_for_pod(name, lambda pod: pod["status"].get("phase") == "Failed", RECOVERY_S)
        for each in CONTAINERS:
            assert container(pod, each)["state"]["terminated"]["reason"] == "DeviceRebooted"
            found = account(lab.log(name, each))
            assert len(found.gaps) == 1, f"{name} {each}: {found}"
            assert "unknown size" in found.gaps[0]
            assert found.ends_in_gap
    assert lab.starts() == 9


@pytest.mark.timeout(300)
def test_an_api_server_and_an_etcd_that_die_cost_no_line(lab: KillLab) -> None:
    produced = 20 * RATE_HZ
    lab.set_up_on_a_cable(seed=SEED)
    lab.run_counters("counters", produced, restartPolicy="Never")
    before = lab.wait_for_ready("counters")
    rng = random.Random(SEED)
    kills = [lab.kill_apiserver, lab.kill_etcd] * 2
    rng.shuffle(kills)
    for kill in kills:
        time.sleep(rng.uniform(0.0, 1.5))
        kill()
    after = lab.wait_for_pod("counters", lambda pod: pod["status"].get("phase") == "Succeeded", RECOVERY_S)
    assert same_runs(before, after)
    accounts = lab.settle_accounts("counters", produced)
    assert [found.gaps for found in accounts.values()] == [()] * 3
    assert lab.starts() == 3
