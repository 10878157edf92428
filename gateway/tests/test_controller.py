"""Stories of the pod controller between fake devices and a small fake API server, with a clock turned by hand."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pods.lifecycle import FINISH_AGAIN_S
from gateway.pods.seams import AttemptState, PodUid
from gateway.pods.worker import SLOW_START_S
from gateway.tests.fakes_pods import Lab, attempt, idle, pod

UID = PodUid("uid-p")


async def test_a_pod_runs_with_one_status_write_and_three_events() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        assert lab.api.phase(uid) == "Running"
        assert lab.api.condition(uid, "Ready")["status"] == "True"
        assert len(lab.api.writes) == 1
        assert lab.api.events == [
            ("Normal", "Pulled", 'Container image "hello" already present on device board-a'),
            ("Normal", "Created", "Container created"),
            ("Normal", "Started", "Container started"),
        ]
        await lab.clock.turn(600)
        assert len(lab.api.writes) == 1


async def test_a_slow_start_is_told_as_container_creating_meanwhile() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(containers=[{"name": "main", "image": "hang"}]))
        assert lab.api.phase(uid) is None
        await lab.clock.turn(SLOW_START_S + 0.1)
        assert lab.api.phase(uid) == "Pending"
        assert lab.api.container(uid)["state"] == {"waiting": {"reason": "ContainerCreating"}}
        lab.devices.unhang.set()
        await idle()
        assert lab.api.phase(uid) == "Running"
        assert len(lab.api.writes) == 2


async def test_a_pod_that_completes_is_succeeded_and_never_runs_again() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(restartPolicy="Never", containers=[{"name": "main", "image": "exit-0"}]))
        assert lab.api.phase(uid) == "Succeeded"
        assert lab.api.container(uid)["state"]["terminated"]["reason"] == "Completed"
    async with lab.running():
        await lab.clock.turn(60)
        assert lab.devices.state(uid) == (1, "exited")


async def test_a_crashing_container_backs_off_as_the_kubelet_does() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(containers=[{"name": "main", "image": "exit-3"}]))
        assert lab.devices.state(uid) == (2, "exited")
        status = lab.api.container(uid)
        assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert status["state"]["waiting"]["message"] == "back-off 10s restarting failed container=main pod=p_lab(uid-p)"
        assert status["lastState"]["terminated"]["exitCode"] == 3
        assert status["restartCount"] == 1
        assert lab.api.phase(uid) == "Running"
        assert lab.api.events[-1] == ("Warning", "BackOff", "Back-off restarting failed container main in pod p_lab(uid-p)")
        for seconds, gen in ((9, 2), (2, 3), (18, 3), (3, 4), (37, 4), (3, 5)):
            await lab.clock.turn(seconds)
            assert lab.devices.state(uid)[0] == gen


async def test_a_back_off_is_told_once_for_each_restart() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(containers=[{"name": "main", "image": "exit-3"}]))
        for waits in (1, 2):
            for _ in range(3):
                lab.devices.changed(uid)
                await idle()
            assert lab.api.reasons().count("BackOff") == waits
            await lab.clock.turn(11)


async def test_deletion_ends_as_soon_as_the_device_ends_and_the_last_status_comes_first() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(terminationGracePeriodSeconds=20))
        lab.api.delete(uid, 20)
        await idle()
        assert lab.devices.stops == [(uid, "main", 20.0)]
        assert lab.api.events[-1] == ("Normal", "Killing", "Stopping container main")
        assert lab.api.phase(uid) == "Running"
        lab.devices.end(uid, code=143, signal=15)
        await idle()
        assert uid not in lab.api.objects
        assert lab.api.writes[-1]["phase"] == "Failed"
        assert lab.api.writes[-1]["containerStatuses"][0]["state"]["terminated"]["signal"] == 15
        assert lab.devices.released == [uid]


async def test_a_second_delete_shortens_the_grace() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        lab.api.delete(uid, 30)
        await idle()
        lab.api.objects[uid]["metadata"]["deletionGracePeriodSeconds"] = 2
        lab.devices.changed(uid)
        await idle()
        assert [grace for _, _, grace in lab.devices.stops] == [30.0, 2.0]
        assert lab.api.reasons().count("Killing") == 1


async def test_a_pod_that_never_started_goes_at_once() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(containers=[{"name": "main", "image": "unknown"}]))
        lab.api.delete(uid, 30)
        await idle()
        assert uid not in lab.api.objects
        assert [status["phase"] for status in lab.api.writes] == ["Pending"]


async def test_a_finalizer_is_left_alone_and_the_pod_asked_to_go_once_a_minute() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create({**pod(), "metadata": {**pod()["metadata"], "finalizers": ["example.org/x"]}})
        lab.api.delete(uid, 5)
        await idle()
        lab.devices.end(uid)
        await lab.clock.turn(FINISH_AGAIN_S - 1)
        assert lab.api.finished == [uid]
        await lab.clock.turn(2)
        assert lab.api.finished == [uid, uid]
        assert lab.api.objects[uid]["metadata"]["finalizers"] == ["example.org/x"]
        assert lab.devices.released == []
        lab.api.remove(uid)
        await idle()
        assert lab.devices.released == [uid]


async def test_after_a_force_delete_the_slot_is_kept_until_the_device_stopped() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(terminationGracePeriodSeconds=7))
        lab.api.delete(uid, 0)
        await idle()
        assert lab.devices.stops == [(uid, "main", 7.0)]
        assert lab.devices.released == []
        lab.devices.end(uid, code=137)
        await idle()
        assert lab.devices.released == [uid]
        assert lab.gateway.pods_remembered == 0


async def test_an_unknown_image_waits_with_the_list_and_starts_when_the_device_gets_it() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(containers=[{"name": "main", "image": "blinky"}]))
        waiting = lab.api.container(uid)["state"]["waiting"]
        assert waiting["reason"] == "ErrImageNeverPull"
        assert "holds: hello" in waiting["message"]
        await lab.clock.turn(300)
        assert lab.api.reasons() == ["ErrImageNeverPull"]
        lab.devices.images.add("blinky")
        lab.devices.changed(uid)
        await lab.clock.turn(3)
        assert lab.api.phase(uid) == "Running"


async def test_a_missing_config_map_waits_in_the_kubelets_words_and_is_used_when_it_comes() -> None:
    lab = Lab()
    env = [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}]
    async with lab.running():
        uid = await lab.create(pod(containers=[{"name": "main", "image": "hello", "env": env}]))
        waiting = lab.api.container(uid)["state"]["waiting"]
        assert waiting["reason"] == "CreateContainerConfigError"
        assert waiting["message"] == 'configmap "settings" not found (spec.containers[0].env[0].valueFrom.configMapKeyRef)'
        assert lab.api.events == [("Warning", "Failed", f"Error: {waiting['message']}")]
        lab.api.config_maps["settings"] = {"mode": "fast"}
        lab.api.create(lab.api.objects[uid])
        await lab.clock.turn(1)
        assert lab.devices.programs[uid, "main", 1].env == (("MODE", "fast"),)


async def test_init_containers_run_one_after_the_other_before_the_rest() -> None:
    lab = Lab()
    async with lab.running():
        inits = [{"name": "one", "image": "hello"}, {"name": "two", "image": "hello"}]
        uid = await lab.create(pod(initContainers=inits))
        assert set(lab.devices.attempts[uid]) == {"one"}
        assert lab.api.container(uid)["state"] == {"waiting": {"reason": "PodInitializing"}}
        assert lab.api.condition(uid, "Initialized")["message"] == "containers with incomplete status: [one two]"
        lab.devices.end(uid, "one")
        await idle()
        assert set(lab.devices.attempts[uid]) == {"one", "two"}
        lab.devices.end(uid, "two")
        await idle()
        assert lab.api.phase(uid) == "Running"
        assert lab.api.condition(uid, "Initialized")["status"] == "True"


async def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(restartPolicy="Never", initContainers=[{"name": "one", "image": "exit-3"}]))
        assert lab.api.phase(uid) == "Failed"
        assert set(lab.devices.attempts[uid]) == {"one"}


async def test_a_restarted_gateway_adopts_what_runs() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        before = lab.api.container(uid)
    # The board has not said yet what runs on it, and the ledger is lost.
    lab.devices.is_settled = False
    held, lab.devices.attempts = lab.devices.attempts, {}
    async with lab.running():
        await lab.clock.turn(5)
        lab.devices.attempts = held
        lab.devices.is_settled = True
        await lab.clock.turn(1)
        assert lab.api.container(uid) == before
        assert lab.devices.state(uid) == (1, "running")
        assert len(lab.api.writes) == 1


@pytest.mark.parametrize(("policy", "phase", "restarts"), [("Never", "Failed", 0), ("Always", "Running", 1)])
async def test_a_run_that_only_the_api_remembers_is_not_started_as_new(policy: str, phase: str, restarts: int) -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(restartPolicy=policy))
    lab.devices.attempts.clear()
    lab.devices.programs.clear()
    async with lab.running():
        await idle()
        assert lab.api.phase(uid) == phase
        status = lab.api.container(uid)
        ended = status["state"].get("terminated") or status["lastState"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("ContainerStatusUnknown", 137)
        assert status["restartCount"] == restarts


async def test_an_intent_that_nobody_confirmed_is_tried_again_with_the_same_gen() -> None:
    lab = Lab()
    lab.devices.attempts[UID] = {"main": [attempt(4, "intended")]}
    lab.api.objects[UID] = pod()
    async with lab.running():
        assert lab.devices.state(UID) == (4, "running")


async def test_an_orphan_is_stopped_and_then_released() -> None:
    lab = Lab()
    lab.devices.attempts[UID] = {"main": [attempt()]}
    async with lab.running():
        assert lab.devices.stops == [(UID, "main", 30.0)]
        lab.devices.end(UID)
        await idle()
        assert lab.devices.released == [UID]


async def test_a_finished_pod_makes_room_for_the_next_one() -> None:
    lab = Lab()
    lab.devices.slots = 1
    async with lab.running():
        done = await lab.create(pod("done", restartPolicy="Never"))
        waits = await lab.create(pod("waits"))
        assert lab.api.container(waits)["state"]["waiting"]["reason"] == "DeviceBusy"
        lab.devices.end(done)
        await lab.clock.turn(2)
        assert (lab.api.phase(done), lab.api.phase(waits)) == ("Succeeded", "Running")


async def test_nothing_happens_before_the_source_is_synced() -> None:
    lab = Lab()
    lab.api.synced = False
    lab.devices.attempts[UID] = {"main": [attempt()]}
    async with lab.running():
        await lab.clock.turn(100)
        assert lab.devices.stops == []
        lab.api.objects[UID] = pod()
        lab.api.synced = True
        await lab.clock.turn(1)
        assert lab.api.phase(UID) == "Running"


async def test_a_pod_over_its_deadline_is_stopped_and_failed() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(activeDeadlineSeconds=60))
        await lab.clock.turn(59)
        assert lab.api.phase(uid) == "Running"
        await lab.clock.turn(2)
        assert lab.devices.state(uid)[1] == AttemptState.STOPPING.value
        lab.devices.end(uid, code=143)
        await idle()
        assert (lab.api.phase(uid), lab.api.status(uid)["reason"]) == ("Failed", "DeadlineExceeded")


async def test_one_hanging_device_does_not_hold_up_the_others() -> None:
    lab = Lab()
    async with lab.running():
        for number in range(40):
            lab.api.create(pod(f"h{number}", containers=[{"name": "main", "image": "hang"}]))
        uid = await lab.create(pod())
        assert lab.api.phase(uid) == "Running"


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
async def test_a_new_image_replaces_the_program_whatever_the_policy(policy: str) -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(restartPolicy=policy))
        lab.api.objects[uid]["spec"]["containers"][0]["image"] = "hang"
        lab.devices.unhang.set()
        lab.devices.changed(uid)
        await idle()
        assert lab.devices.stops == [(uid, "main", 30.0)]
        assert lab.api.container(uid)["image"] == "hello"
        lab.devices.end(uid)
        await lab.clock.turn(1)
        assert lab.devices.programs[uid, "main", 2].image == "hang"
        assert lab.api.phase(uid) == "Running"
        after = lab.api.container(uid)
        assert (after["image"], after["restartCount"]) == ("hang", 1)
        assert len(lab.devices.stops) == 1


async def test_an_image_that_changed_while_the_gateway_was_down_replaces_the_program_too() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
    lab.api.objects[uid]["spec"]["containers"][0]["image"] = "exit-3"
    async with lab.running():
        await idle()
        assert lab.devices.stops == [(uid, "main", 30.0)]
        lab.devices.end(uid)
        await lab.clock.turn(1)
        assert lab.devices.programs[uid, "main", 2].image == "exit-3"


async def test_a_jump_of_the_wall_clock_moves_no_back_off() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(containers=[{"name": "main", "image": "exit-3"}]))
        lab.clock.wall_offset -= 400 * 24 * 3600
        await lab.clock.turn(11)
        assert lab.devices.state(uid)[0] == 3


async def test_a_jump_of_the_wall_clock_ends_no_pod_before_its_deadline() -> None:
    """A Raspberry Pi begins in the past, and then NTP arrives."""
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(activeDeadlineSeconds=60))
        lab.clock.wall_offset += 3 * 3600
        lab.devices.changed(uid)
        await lab.clock.turn(50)
        assert lab.api.phase(uid) == "Running"
        await lab.clock.turn(11)
        assert lab.devices.state(uid)[1] == AttemptState.STOPPING.value


async def test_a_deadline_goes_on_over_a_restart_of_the_gateway() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(activeDeadlineSeconds=60))
        await lab.clock.turn(40)
    async with lab.running():
        await lab.clock.turn(19)
        assert lab.api.phase(uid) == "Running"
        await lab.clock.turn(2)
        assert lab.devices.state(uid)[1] == AttemptState.STOPPING.value


async def test_fields_nobody_here_knows_are_told_once() -> None:
    lab = Lab()
    async with lab.running():
        await lab.create(pod(quantumEntanglement=True))
        await lab.clock.turn(60)
        assert lab.api.events[0] == ("Warning", "UnknownFields", "Ignored, not known to this gateway: spec.quantumEntanglement")
        assert lab.api.reasons().count("UnknownFields") == 1


async def test_only_a_few_unknown_fields_are_named() -> None:
    lab = Lab()
    async with lab.running():
        many: dict[str, Any] = {f"x{number}": True for number in range(10, 99)}
        await lab.create(pod(**many))
        assert lab.api.events[0][2].endswith("spec.x18, spec.x19 ...")


async def test_a_pod_that_ended_before_this_gateway_knew_it_is_left_as_it_is() -> None:
    lab = Lab()
    lab.api.objects[UID] = {**pod(), "status": {"phase": "Failed", "reason": "Evicted", "conditions": []}}
    async with lab.running():
        await lab.clock.turn(60)
        assert (lab.api.writes, lab.api.events, lab.devices.attempts) == ([], [], {})
