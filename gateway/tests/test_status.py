"""The status a kubelet would report, as tables and whole objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.pods.memory import PodMemory
from gateway.pods.seams import Attempt, JsonObject, PodObservation
from gateway.pods.status import build_status, qos_class
from gateway.pods.times import format_time
from gateway.pods.view import PodView
from gateway.pods.witness import witnessed
from gateway.tests.fakes_pods import NODE, WALL, attempt, pod

NOW = 5000.0
TIME = format_time(WALL)


def status_of(
    desired: JsonObject, attempts: dict[str, list[Attempt]], memory: PodMemory | None = None, *, connected: bool = True, later_s: float = 0
) -> JsonObject:
    memory = memory or PodMemory(WALL, NOW)
    view = PodView(desired)
    observed = PodObservation(attempts, dict.fromkeys(attempts, "board-a"), connected)
    memory.look(view, witnessed(view, observed), observed, NOW + later_s, WALL + later_s)
    return build_status(view, observed, memory, NOW + later_s, WALL + later_s, NODE)


def conditions(status: JsonObject) -> dict[str, tuple[str, str | None]]:
    return {condition["type"]: (condition["status"], condition.get("reason")) for condition in status["conditions"]}


def test_a_running_pod_as_a_whole() -> None:
    status = status_of(pod(), {"main": [attempt()]})
    true = {"status": "True", "observedGeneration": 1, "lastTransitionTime": TIME}
    assert status == {
        "phase": "Running",
        "startTime": TIME,
        "hostIP": "192.0.2.7",
        "hostIPs": [{"ip": "192.0.2.7"}],
        "podIP": "192.0.2.7",
        "podIPs": [{"ip": "192.0.2.7"}],
        "qosClass": "BestEffort",
        "observedGeneration": 1,
        "conditions": [{"type": kind, **true} for kind in ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")],
        "containerStatuses": [
            {
                "name": "main",
                "image": "hello",
                "imageID": "hello",
                "containerID": "wirelet://1",
                "restartCount": 0,
                "state": {"running": {"startedAt": TIME}},
                "lastState": {},
                "started": True,
                "ready": True,
                "allocatedResourcesStatus": [
                    {"name": "wirelet.dev/shared", "resources": [{"resourceID": "board-a", "health": "Healthy"}]},
                ],
            }
        ],
    }


FAILED_BEFORE = attempt(4, "exited", exit_code=1)


@pytest.mark.parametrize(("found_at", "shown_at"), [(WALL + 90, WALL), (None, WALL), (WALL + 0.5, WALL + 0.5)])
def test_a_start_that_was_told_keeps_its_time_when_the_ledger_lost_it(found_at: float | None, shown_at: float) -> None:
    desired = pod()
    desired["status"] = status_of(desired, {"main": [attempt()]})
    found = PodObservation({"main": [attempt(started_at=found_at)]}, {"main": "board-a"}, True)
    assert witnessed(PodView(desired), found)["main"][0].started_at == shown_at


@pytest.mark.parametrize(("held", "gens"), [([1], [1, 4, 5]), ([5], [4, 5]), ([4], [4, 5]), ([], [4, 5])])
def test_what_the_api_server_remembers_beyond_the_ledger_counts(held: list[int], gens: list[int]) -> None:
    desired = pod()
    desired["status"] = status_of(desired, {"main": [FAILED_BEFORE, attempt(5)]})
    found = PodObservation({"main": [attempt(gen) for gen in held]})
    assert [known.gen for known in witnessed(PodView(desired), found)["main"]] == gens


def test_a_restarted_container_shows_its_last_end() -> None:
    status = status_of(pod(), {"main": [attempt(4, "exited", exit_code=1, reason="DevicePanic"), attempt(5)]})
    container = status["containerStatuses"][0]
    assert container["restartCount"] == 4
    assert container["lastState"]["terminated"] == {
        "exitCode": 1,
        "reason": "DevicePanic",
        "startedAt": TIME,
        "finishedAt": TIME,
        "containerID": "wirelet://4",
    }
    assert container["containerID"] == "wirelet://5"


@pytest.mark.parametrize(("gen", "restarts"), [(1, 0), (2**31, 2**31 - 1), (2**32 - 1, 2**31 - 1)])
def test_a_device_that_counts_further_than_the_api_holds_up_no_status(gen: int, restarts: int) -> None:
    assert status_of(pod(), {"main": [attempt(gen)]})["containerStatuses"][0]["restartCount"] == restarts


RUNNING = attempt()
DONE = attempt(1, "exited")
FAILED = attempt(1, "exited", exit_code=3)
TWO: dict[str, Any] = {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}
INIT: dict[str, Any] = {"initContainers": [{"name": "init", "image": "i"}]}


@pytest.mark.parametrize(
    ("spec", "attempts", "phase"),
    [
        ({}, {}, "Pending"),
        ({}, {"main": [attempt(1, "intended")]}, "Pending"),
        ({}, {"main": [attempt(1, "stopping")]}, "Running"),
        ({}, {"main": [DONE]}, "Running"),
        ({"restartPolicy": "OnFailure"}, {"main": [FAILED]}, "Running"),
        ({"restartPolicy": "OnFailure"}, {"main": [DONE]}, "Succeeded"),
        ({"restartPolicy": "Never"}, {"main": [DONE]}, "Succeeded"),
        ({"restartPolicy": "Never"}, {"main": [FAILED]}, "Failed"),
        ({"restartPolicy": "Never", **TWO}, {"a": [FAILED], "b": [RUNNING]}, "Running"),
        ({"restartPolicy": "Never", **TWO}, {"a": [FAILED], "b": [DONE]}, "Failed"),
        ({"restartPolicy": "Never", **TWO}, {"a": [DONE], "b": [DONE]}, "Succeeded"),
        ({"restartPolicy": "OnFailure", **TWO}, {"a": [FAILED], "b": [DONE]}, "Running"),
        (TWO, {"a": [RUNNING]}, "Pending"),
        (INIT, {"init": [RUNNING]}, "Pending"),
        (INIT, {"init": [FAILED]}, "Pending"),
        ({"restartPolicy": "Never", **INIT}, {"init": [FAILED]}, "Failed"),
        (INIT, {"init": [DONE], "main": [RUNNING]}, "Running"),
        # initialised once is initialised for good
        (INIT, {"init": [FAILED], "main": [RUNNING]}, "Running"),
        (INIT, {"main": [RUNNING]}, "Running"),
    ],
)
def test_the_phase_is_the_kubelets(spec: dict[str, Any], attempts: dict[str, list[Attempt]], phase: str) -> None:
    assert status_of(pod(**spec), attempts)["phase"] == phase


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_phase_that_somebody_ended_stays(phase: str) -> None:
    assert status_of({**pod(), "status": {"phase": phase}}, {"main": [RUNNING]})["phase"] == phase


def test_an_init_container_that_succeeded_stays_so() -> None:
    (init,) = status_of(pod(**INIT), {"init": [DONE], "main": [RUNNING]})["initContainerStatuses"]
    assert init["ready"]
    assert init["state"]["terminated"]["reason"] == "Completed"


@pytest.mark.parametrize(("ended", "phase"), [(DONE, "Succeeded"), (FAILED, "Failed")])
def test_a_deleted_pod_that_ended_is_terminal_whatever_its_policy(ended: Attempt, phase: str) -> None:
    desired = pod()
    desired["metadata"]["deletionTimestamp"] = TIME
    status = status_of(desired, {"main": [ended]})
    assert status["phase"] == phase
    assert "terminated" in status["containerStatuses"][0]["state"]
    assert conditions(status)["PodReadyToStartContainers"] == ("False", None)


def test_transition_times_stay_while_nothing_changes_and_move_when_it_does() -> None:
    memory = PodMemory(WALL, NOW)
    memory.status = status_of(pod(), {}, memory)
    second = status_of(pod(), {"main": [RUNNING]}, memory, later_s=60)
    times = {condition["type"]: condition["lastTransitionTime"] for condition in second["conditions"]}
    assert times["Initialized"] == TIME
    assert times["Ready"] == format_time(WALL + 60)
    assert second["startTime"] == TIME
    memory.status = second
    assert status_of(pod(), {"main": [RUNNING]}, memory, later_s=120) == second


def test_a_container_that_says_it_is_not_ready_yet_runs_and_is_unready() -> None:
    status = status_of(pod(), {"main": [replace(RUNNING, is_ready=False)]})
    (container,) = status["containerStatuses"]
    assert ("running" in container["state"], container["started"], container["ready"]) == (True, True, False)
    assert conditions(status)["Ready"] == ("False", "ContainersNotReady")


def test_a_pulled_cable_is_not_ready_but_still_running() -> None:
    claim = {"requests": {"wirelet.dev/esp32": "1"}}
    desired = pod(containers=[{"name": "main", "image": "hello", "resources": claim}])
    status = status_of(desired, {"main": [RUNNING]}, connected=False)
    assert status["phase"] == "Running"
    assert conditions(status)["Ready"] == conditions(status)["ContainersReady"] == ("False", "DeviceDisconnected")
    assert "board-a" in status["conditions"][-1]["message"]
    container = status["containerStatuses"][0]
    assert "running" in container["state"]
    assert container["allocatedResourcesStatus"] == [
        {"name": "wirelet.dev/esp32", "resources": [{"resourceID": "board-a", "health": "Unhealthy"}]}
    ]


def test_resources_are_never_published() -> None:
    claim = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    status = status_of(pod(containers=[{"name": "main", "image": "hello", "resources": claim}]), {"main": [RUNNING]})
    assert not {"resources", "allocatedResources"} & set(status["containerStatuses"][0])
    assert status["qosClass"] == "Guaranteed"


def test_a_readiness_gate_of_somebody_else_keeps_the_pod_unready() -> None:
    desired = pod(readinessGates=[{"conditionType": "example.org/lit"}])
    status = status_of(desired, {"main": [RUNNING]})
    assert conditions(status)["ContainersReady"] == ("True", None)
    assert conditions(status)["Ready"] == ("False", "ReadinessGatesNotReady")
    desired["status"] = {"conditions": [{"type": "example.org/lit", "status": "True"}]}
    assert conditions(status_of(desired, {"main": [RUNNING]}))["Ready"] == ("True", None)


@pytest.mark.parametrize(
    ("phase", "attempts", "reason"),
    [("Succeeded", DONE, "PodCompleted"), ("Failed", FAILED, "PodFailed")],
)
def test_a_finished_pod_is_unready_for_the_kubelets_reason(phase: str, attempts: Attempt, reason: str) -> None:
    status = status_of(pod(restartPolicy="Never"), {"main": [attempts]})
    assert status["phase"] == phase
    assert conditions(status)["Ready"] == ("False", reason)


@pytest.mark.parametrize(("containers", "limit"), [(1, 4096), (3, 4096), (6, 2048)])
def test_termination_messages_are_cut(containers: int, limit: int) -> None:
    names = [f"c{number}" for number in range(containers)]
    long = attempt(1, "exited", exit_code=1, message="é" * 4000)
    status = status_of(
        pod(restartPolicy="Never", containers=[{"name": name, "image": "i"} for name in names]), {name: [long] for name in names}
    )
    for container in status["containerStatuses"]:
        assert len(container["state"]["terminated"]["message"].encode()) == limit


def test_a_refused_container_shows_why_it_waits_also_before_a_restart() -> None:
    memory = PodMemory(WALL, NOW)
    memory.refuse("main", "DeviceBusy", "every slot is taken", NOW)
    status = status_of(pod(), {"main": [FAILED]}, memory)
    container = status["containerStatuses"][0]
    assert container["state"] == {"waiting": {"reason": "DeviceBusy", "message": "every slot is taken"}}
    assert container["lastState"]["terminated"]["exitCode"] == 3


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"wirelet.dev/esp32": "1"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
    ],
)
def test_qos_is_that_of_the_api_server(resources: dict[str, Any], expected: str) -> None:
    assert qos_class(PodView(pod(containers=[{"name": "main", "image": "hello", "resources": resources}])).containers) == expected
