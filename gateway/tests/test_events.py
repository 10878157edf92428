"""Events: how many of them are written, and that asking for one never hurts."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube.api import PatchKind
from gateway.kube.correlation import BURST, CACHE_ENTRIES, COMBINED, MAX_MESSAGE_BYTES, Correlator, Event, InvolvedObject, clean
from gateway.kube.events import QUEUE, KubeEvents
from gateway.tests.kube_server import Answer, KubeServer, WatchAnswer, kube_server

POD = {
    "metadata": {"namespace": "n", "name": "p", "uid": "u"},
    "spec": {"containers": [{"name": "main"}], "initContainers": [{"name": "setup"}]},
}
EVENTS = "/api/v1/namespaces/n/events"


def event(message: str = "m", reason: str = "BackOff", kind: str = "Warning", uid: str = "u") -> Event:
    return Event(InvolvedObject("v1", "Pod", "n", "p", uid), kind, reason, message)


def test_the_same_event_is_counted_under_one_name() -> None:
    correlator = Correlator()
    first, second = correlator.correlate(event(), 100.0), correlator.correlate(event(), 160.0)
    assert first is not None
    assert second is not None
    assert (first.count, second.count) == (1, 2)
    assert first.name == second.name
    assert (second.first_s, second.last_s) == (100.0, 160.0)


def test_the_tenth_similar_event_is_the_first_combined_one() -> None:
    correlator = Correlator()
    writes = [correlator.correlate(event(f"{number} mV"), 100.0 + number) for number in range(12)]
    combined = [write is not None and write.event.message.startswith(COMBINED) for write in writes]
    assert combined == [False] * 9 + [True] * 3
    last = writes[-1]
    assert last is not None
    assert last.event.message == f"{COMBINED}11 mV"
    assert last.count == 3


def test_after_ten_quiet_minutes_similar_events_are_told_apart_again() -> None:
    correlator = Correlator()
    for number in range(12):
        correlator.correlate(event(f"{number} mV"), 100.0)
    write = correlator.correlate(event("12 mV"), 100.0 + 601)
    assert write is not None
    assert write.event.message == "12 mV"


def test_one_object_may_write_a_burst_and_then_one_in_five_minutes() -> None:
    correlator = Correlator()
    accepted = sum(correlator.correlate(event(), 100.0) is not None for _ in range(40))
    assert accepted == BURST
    assert correlator.dropped == 40 - BURST
    assert correlator.correlate(event(), 100.0 + 299) is None
    late = correlator.correlate(event(), 100.0 + 301)
    assert late is not None
    assert late.count == 42


def test_a_noisy_object_does_not_silence_another_nor_its_own_other_kind() -> None:
    correlator = Correlator()
    for _ in range(40):
        correlator.correlate(event(), 100.0)
    assert correlator.correlate(event(uid="other"), 100.0) is not None
    assert correlator.correlate(event(kind="Normal"), 100.0) is not None


def test_names_are_unique_in_one_tick_of_the_clock_and_never_too_long() -> None:
    correlator = Correlator()
    involved = InvolvedObject("v1", "Pod", "n", "p" * 253, "u")
    writes = [correlator.correlate(Event(involved, "Normal", f"R{number}", "m"), 100.0) for number in range(5)]
    names = {write.name for write in writes if write is not None}
    assert len(names) == 5
    assert max(map(len, names)) <= 253


@given(st.text(max_size=3000))
def test_a_message_is_one_printable_line_that_fits(text: str) -> None:
    message = clean(text)
    assert message.isprintable()
    assert len(message.encode()) <= MAX_MESSAGE_BYTES


def test_a_long_message_is_cut_between_characters() -> None:
    assert clean("\u00e9" * 600) == "\u00e9" * 510 + "..."
    assert clean("panic\x00\x1b[2J\r\n at 0x1") == "panic [2J at 0x1"


def test_what_is_remembered_of_events_is_bounded() -> None:
    correlator = Correlator()
    for number in range(CACHE_ENTRIES + 1):
        correlator.correlate(event(uid=f"u{number}"), 100.0)
    first, last = correlator.correlate(event(uid="u0"), 100.0), correlator.correlate(event(uid=f"u{CACHE_ENTRIES}"), 100.0)
    assert first is not None
    assert last is not None
    assert (first.count, last.count) == (1, 2)


# -- the writer


async def _written(server: KubeServer, events: KubeEvents, method: str, path: str, count: int) -> list[object]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(events.run)
        asked = await server.until(method, path, count)
        tasks.cancel_scope.cancel()
    return [one.body for one in asked]


async def test_an_event_says_which_container(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("POST", EVENTS, Answer(201))
        events = KubeEvents(api, "node-a", now=lambda: 1_767_225_845.5)
        events.pod_event(POD, "Normal", "Pulled", "m", "setup")
        (body,) = await _written(server, events, "POST", EVENTS, 1)
    assert isinstance(body, dict)
    assert body["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "n",
        "name": "p",
        "uid": "u",
        "fieldPath": "spec.initContainers{setup}",
    }
    assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-01-01T00:04:05Z"
    assert body["source"] == {"component": "wirelet", "host": "node-a"}


async def test_an_event_that_expired_is_made_again(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("POST", EVENTS, Answer(201))
        events = KubeEvents(api, "node-a", now=lambda: 0.0)
        for _ in range(2):
            events.pod_event(POD, "Warning", "BackOff", "m")
        bodies = await _written(server, events, "POST", EVENTS, 2)
    assert [body["count"] for body in bodies if isinstance(body, dict)] == [1, 2]


async def test_a_refused_event_does_not_hold_up_the_next_one(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        terminating = Answer(403, {"kind": "Status", "reason": "Forbidden"})
        server.will("POST", EVENTS, terminating, Answer(503), Answer(201))
        events = KubeEvents(api, "node-a", now=lambda: 0.0)
        events.pod_event(POD, "Normal", "One", "m")
        events.pod_event(POD, "Normal", "Two", "m")
        bodies = await _written(server, events, "POST", EVENTS, 3)
    assert [body["reason"] for body in bodies if isinstance(body, dict)] == ["One", "Two", "Two"]
    assert events.dropped == 1


async def test_a_status_goes_before_an_event(tmp_path: Path) -> None:
    ends, status = anyio.Event(), "/api/v1/namespaces/n/pods/p/status"
    async with kube_server(tmp_path) as (server, api), anyio.create_task_group() as tasks:
        server.will("PATCH", status, WatchAnswer([b"{}"], ends=ends))
        server.will("POST", EVENTS, Answer(201))
        server.will("GET", status, Answer())
        events = KubeEvents(api, "node-a", now=lambda: 0.0)
        tasks.start_soon(api.patch, status, {}, PatchKind.STRATEGIC)
        await server.until("PATCH", status, 1)
        events.pod_event(POD, "Normal", "Started", "m")
        tasks.start_soon(events.run)
        for _ in range(5):  # what is not held back arrives meanwhile
            await api.get(status)
        assert server.seen("POST", EVENTS) == []
        ends.set()
        await server.until("POST", EVENTS, 1)
        tasks.cancel_scope.cancel()


async def test_a_server_that_is_away_costs_a_bounded_queue(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (_, api):
        events = KubeEvents(api, "node-a", now=lambda: 0.0)
        for number in range(QUEUE + 7):
            events.node_event("Normal", "DeviceConnected", f"board-{number}")
        assert events.waiting == QUEUE
        assert events.dropped == 7


@pytest.mark.parametrize(("container", "path"), [("main", "spec.containers{main}"), ("absent", None), (None, None)])
async def test_an_unknown_container_is_no_error(tmp_path: Path, container: str | None, path: str | None) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("POST", EVENTS, Answer(201))
        events = KubeEvents(api, "node-a", now=lambda: 0.0)
        events.pod_event(POD, "Normal", "Started", "m", container)
        (body,) = await _written(server, events, "POST", EVENTS, 1)
    assert isinstance(body, dict)
    assert body["involvedObject"].get("fieldPath") == path
