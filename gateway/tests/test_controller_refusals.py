"""Pods that cannot run here: rejected in the kubelet's words, and without a storm of new ones."""

from __future__ import annotations

from gateway.pods.seams import PodUid
from gateway.tests.fakes_pods import Lab, pod

UID = PodUid("uid-p")


async def test_rejected_pods_of_one_owner_fail_more_and_more_slowly() -> None:
    lab = Lab()
    lab.devices.rejects = True
    made = 0
    async with lab.running():
        for _ in range(30):
            if all(lab.api.phase(uid) == "Failed" for uid in lab.api.objects):
                made += 1
                replica = pod(f"r{made}")
                replica["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": "rs-1", "controller": True}]
                await lab.create(replica)
            await lab.clock.turn(1)
    assert made <= 3
    assert lab.api.status(PodUid("uid-r1"))["reason"] == "OutOfwirelet.dev/esp32"


async def test_a_rejected_pod_without_an_owner_fails_at_once() -> None:
    lab = Lab()
    lab.devices.rejects = True
    async with lab.running():
        uid = await lab.create(pod())
        assert (lab.api.phase(uid), lab.api.status(uid)["reason"]) == ("Failed", "OutOfwirelet.dev/esp32")


async def test_a_daemon_sets_pod_that_cannot_run_here_fails_instead_of_waiting() -> None:
    lab = Lab()
    daemon = pod(hostNetwork=True)
    daemon["metadata"]["ownerReferences"] = [{"kind": "DaemonSet", "uid": "ds-1", "controller": True}]
    async with lab.running():
        uid = await lab.create(daemon)
        assert lab.api.phase(uid) == "Pending"
        await lab.clock.turn(2)
        assert (lab.api.phase(uid), lab.api.status(uid)["reason"]) == ("Failed", "UnsupportedPod")
        assert lab.devices.attempts == {}


async def test_a_daemon_sets_pod_whose_program_no_board_has_fails_and_one_that_finds_no_room_waits() -> None:
    lab = Lab()
    lab.devices.slots = 1
    owner = {"kind": "DaemonSet", "uid": "ds-1", "controller": True}
    async with lab.running():
        unknown, waiting = (pod(name, containers=[{"name": "main", "image": image}]) for name, image in (("a", "nginx"), ("b", "hello")))
        await lab.create(pod())
        for daemon in (unknown, waiting):
            daemon["metadata"]["ownerReferences"] = [owner]
            await lab.create(daemon)
        await lab.clock.turn(20)
        assert lab.api.phase(PodUid("uid-a")) == "Failed"
        assert lab.api.phase(PodUid("uid-b")) == "Pending"


async def test_a_pod_that_names_a_node_it_does_not_want_is_rejected_but_one_that_runs_is_left_alone() -> None:
    lab = Lab()
    async with lab.running():
        there = await lab.create(pod("there", nodeSelector={"bench": "left"}))
        assert lab.api.phase(there) == "Running"
        lab.node["metadata"]["labels"]["bench"] = "right"
        late = await lab.create(pod("late", nodeSelector={"bench": "left"}))
        assert (lab.api.phase(late), lab.api.status(late)["reason"]) == ("Failed", "NodeAffinity")
        lab.devices.end(there, code=1)
        await lab.clock.turn(1)
        assert lab.api.container(there)["restartCount"] == 1
