"""Stories of pods that name their node themselves and ask for more than it has: the kubelet's OutOf..., and who counts."""

from __future__ import annotations

from gateway.pods.seams import JsonObject, PodUid
from gateway.tests.fakes_pods import Lab, idle, pod


def lab_with(**allocatable: str) -> Lab:
    lab = Lab()
    lab.node["status"] = {"allocatable": {"pods": "100", **allocatable}}
    return lab


def asking(name: str, cpu: str, image: str = "hello", **spec: object) -> JsonObject:
    return pod(name, containers=[{"name": "main", "image": image, "resources": {"requests": {"cpu": cpu}}}], **spec)


def outcome(lab: Lab, uid: PodUid) -> tuple[str | None, str | None]:
    return lab.api.phase(uid), lab.api.status(uid).get("reason")


async def test_a_pod_that_asks_for_more_than_is_left_fails_and_one_that_fits_runs() -> None:
    lab = lab_with(cpu="4")
    async with lab.running():
        await lab.create(asking("first", "3"))
        late = await lab.create(asking("late", "2"))
        small = await lab.create(asking("small", "1"))
        assert outcome(lab, late) == ("Failed", "OutOfcpu")
        assert lab.api.status(late)["message"] == "Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000"
        assert outcome(lab, small) == ("Running", None)
        assert late not in lab.devices.attempts


async def test_pods_that_ended_or_went_or_were_rejected_hold_nothing() -> None:
    lab = lab_with(cpu="4")
    async with lab.running():
        ended = await lab.create(asking("ended", "4", restartPolicy="Never"))
        lab.devices.end(ended)
        await idle()
        deleted = await lab.create(asking("deleted", "4"))
        lab.api.delete(deleted)
        await idle()
        still = await lab.create(asking("still", "4"))
        assert outcome(lab, still) == ("Failed", "OutOfcpu")  # the one before has not ended
        lab.devices.end(deleted)
        await idle()
        waiting = await lab.create(asking("waiting", "4", image="unknown"))
        lab.api.remove(waiting)
        await idle()
        last = await lab.create(asking("last", "4"))
        assert outcome(lab, last) == ("Running", None)


async def test_a_pod_that_waits_for_its_image_was_admitted_and_counts() -> None:
    lab = lab_with(cpu="4")
    async with lab.running():
        waiting = await lab.create(asking("waiting", "3", image="unknown"))
        late = await lab.create(asking("late", "2"))
        assert outcome(lab, waiting) == ("Pending", None)
        assert outcome(lab, late) == ("Failed", "OutOfcpu")
        lab.devices.images.add("unknown")
        await lab.clock.turn(60)
        assert outcome(lab, waiting) == ("Running", None)


async def test_a_new_gateway_counts_the_pods_that_ran_before_it_admits_any() -> None:
    lab = lab_with(cpu="4")
    async with lab.running():
        there = await lab.create(asking("there", "3"))
        ended = await lab.create(asking("ended", "1", restartPolicy="Never"))
        lab.devices.end(ended)
        await idle()
    late, small = lab.api.create(asking("a-late", "2")), lab.api.create(asking("a-small", "1"))
    async with lab.running():
        await idle()
        assert outcome(lab, late) == ("Failed", "OutOfcpu")
        assert (outcome(lab, small), outcome(lab, there)) == (("Running", None), ("Running", None))


async def test_a_node_that_shrinks_turns_nobody_out() -> None:
    lab = lab_with(cpu="4", pods="1")
    async with lab.running():
        there = await lab.create(asking("there", "4"))
        lab.node["status"]["allocatable"] = {"cpu": "1", "pods": "0"}
        lab.devices.end(there, code=1)
        await lab.clock.turn(1)
        assert lab.api.container(there)["restartCount"] == 1
        late = await lab.create(asking("late", "0"))
        assert outcome(lab, late) == ("Failed", "OutOfpods")


async def test_rejected_pods_of_an_owner_take_no_room_while_they_wait_to_be_told() -> None:
    lab = lab_with(cpu="4", pods="2")
    async with lab.running():
        await lab.create(asking("there", "3"))
        for number in range(5):
            replica = asking(f"r{number}", "2")
            replica["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": "rs-1", "controller": True}]
            await lab.create(replica)
        small = await lab.create(asking("small", "1"))
        assert outcome(lab, small) == ("Running", None)
