"""What the pod controller does when the API server, a cable or a board is away, and when somebody else writes."""

from __future__ import annotations

import pytest

from gateway.pods.memory import LINK_HOLD_S
from gateway.pods.seams import PodUid
from gateway.tests.fakes_pods import Lab, idle, pod

UID = PodUid("uid-p")


async def test_an_api_outage_loses_no_pod_and_no_exit() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod(restartPolicy="Never"))
        lab.api.is_reachable = False
        lab.devices.end(uid, code=5)
        await lab.clock.turn(3600)
        assert lab.api.phase(uid) == "Running"
        lab.api.is_reachable = True
        await lab.clock.turn(31)
        assert lab.api.phase(uid) == "Failed"


async def test_an_api_outage_is_one_line_of_the_log_however_many_pods_there_are(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab()
    async with lab.running():
        uids = [await lab.create(pod(f"p{number}", restartPolicy="Never")) for number in range(20)]
        for outage in (1, 2):
            lab.api.is_reachable = False
            for uid in uids[: 10 * outage]:
                if lab.api.phase(uid) == "Running":
                    lab.devices.end(uid, code=5)
            await lab.clock.turn(600)
            lab.api.is_reachable = True
            await lab.clock.turn(31)
            assert len([record for record in caplog.records if "cannot reach the source" in record.message]) == outage
        assert {lab.api.phase(uid) for uid in uids} == {"Failed"}


async def test_a_pulled_cable_shows_at_once_and_a_loose_one_does_not_flood() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        lab.devices.unplug()
        await idle()
        assert lab.api.condition(uid, "Ready")["reason"] == "DeviceDisconnected"
        assert "running" in lab.api.container(uid)["state"]
        writes = len(lab.api.writes)
        for _ in range(20):
            lab.devices.unplug(connected=True)
            await idle()
            lab.devices.unplug()
            await idle()
        lab.devices.unplug(connected=True)
        assert len(lab.api.writes) == writes
        await lab.clock.turn(LINK_HOLD_S + 1)
        assert lab.api.condition(uid, "Ready")["status"] == "True"
        assert len(lab.api.writes) == writes + 1
        assert lab.api.reasons()[-2:] == ["DeviceDisconnected", "DeviceConnected"]


async def test_a_board_that_leaves_to_restart_is_not_told_as_a_pulled_cable() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        lab.devices.unplug(restarting=True)
        await idle()
        assert lab.api.condition(uid, "Ready")["reason"] == "DeviceRestarting"
        lab.devices.unplug(connected=True)
        await lab.clock.turn(LINK_HOLD_S + 1)
        assert lab.api.condition(uid, "Ready")["status"] == "True"
        assert not {"DeviceDisconnected", "DeviceConnected"} & set(lab.api.reasons())


async def test_a_lent_board_is_told_as_lent() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        lab.devices.is_lent = True
        lab.devices.unplug()
        await idle()
        assert lab.api.condition(uid, "Ready")["reason"] == "DeviceLent"
        assert lab.api.reasons()[-1] == "DeviceLent"


async def test_a_restart_that_does_not_end_is_told_as_what_it_is_when_its_time_is_over() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        lab.devices.unplug(restarting=True, changes_at=lab.clock.now() + 6)
        await idle()
        assert lab.api.condition(uid, "Ready")["reason"] == "DeviceRestarting"
        lab.devices.is_restarting, lab.devices.connection_changes_at = False, None  # nobody says so: time has passed
        await lab.clock.turn(7)
        assert lab.api.condition(uid, "Ready")["reason"] == "DeviceDisconnected"
        assert lab.api.reasons()[-1] == "DeviceDisconnected"


async def test_a_foreign_write_on_our_condition_is_put_right_and_other_conditions_stay() -> None:
    lab = Lab()
    async with lab.running():
        uid = await lab.create(pod())
        conditions = lab.api.objects[uid]["status"]["conditions"]
        conditions.append({"type": "example.org/gate", "status": "True"})
        next(condition for condition in conditions if condition["type"] == "Ready")["status"] = "False"
        lab.api.create(lab.api.objects[uid])
        await idle()
        assert lab.api.condition(uid, "Ready")["status"] == "True"
        assert lab.api.condition(uid, "example.org/gate")["status"] == "True"
