"""Following a collection: the store that knows what changed, and the loop that feeds it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube.api import KubeApi
from gateway.kube.backoff import Backoff
from gateway.kube.pods import KubePodSource
from gateway.kube.reference_reader import SETTLE_S, ReferenceReader
from gateway.kube.references import Reference, ReferenceKind, references
from gateway.kube.reflector import Reflector
from gateway.kube.slim import slim_pod
from gateway.kube.store import Added, Change, Deleted, Modified, Store, Synced, is_newer
from gateway.kube.watch import WatchEvent, WatchKind
from gateway.pods.seams import PodUid, SourceUnavailable
from gateway.tests.kube_server import Answer, KubeServer, WatchAnswer, kube_server

PODS = "/api/v1/pods"


def obj(uid: str, version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": f"name-{uid}", "namespace": "n", "resourceVersion": str(version)}, **more}


def event(kind: WatchKind, uid: str, version: int) -> WatchEvent:
    return WatchEvent(kind, obj(uid, version))


def told(changes: Sequence[Change]) -> list[str]:
    """Changes in words: added a, modified b, deleted c, synced."""
    return [
        "synced" if isinstance(change, Synced) else f"{type(change).__name__.lower()} {change.object['metadata']['uid']}"
        for change in changes
    ]


def synced(*items: dict[str, Any]) -> Store:
    store = Store()
    store.replace(items)
    store.replace(items)
    assert store.synced
    return store


# -- the store


def test_the_first_list_tells_the_pods_and_the_second_that_these_are_all() -> None:
    store = Store()
    changes, again = store.replace([obj("a", 1)])
    assert (told(changes), again, store.synced) == (["added a"], True, False)
    changes, again = store.replace([obj("a", 1)])
    assert (told(changes), again, store.synced) == (["synced"], False, True)


def test_a_delete_that_was_missed_needs_two_lists() -> None:
    store = synced(obj("a", 1), obj("b", 2))
    changes, again = store.replace([obj("b", 2)])
    assert (told(changes), again) == ([], True)
    changes, again = store.replace([obj("b", 3)])
    assert (told(changes), again) == (["modified b", "deleted a", "synced"], False)


def test_a_pod_that_one_list_forgot_is_kept() -> None:
    store = synced(obj("a", 1))
    assert store.replace([])[1]
    changes, again = store.replace([obj("a", 1)])
    assert (told(changes), again) == (["synced"], False)


def test_a_pod_that_goes_between_two_lists_is_looked_at_once_more() -> None:
    store = synced(obj("a", 1), obj("b", 2))
    assert store.replace([obj("b", 2)])[1]
    changes, again = store.replace([])
    assert (told(changes), again) == (["deleted a"], True)
    changes, again = store.replace([])
    assert (told(changes), again) == (["deleted b", "synced"], False)


def test_a_pod_made_again_under_the_same_name_is_another_pod() -> None:
    store = synced(obj("a", 1))
    again = obj("b", 5)
    again["metadata"]["name"] = "name-a"
    assert told(store.apply(WatchEvent(WatchKind.ADDED, again))) == ["added b"]
    assert told(store.apply(event(WatchKind.DELETED, "a", 4))) == ["deleted a"]
    assert [pod["metadata"]["uid"] for pod in store.objects()] == ["b"]


def test_the_echo_of_our_own_write_is_no_change() -> None:
    store = synced(obj("a", 1))
    store.confirm(obj("a", 5, status="ours"))
    assert store.apply(event(WatchKind.MODIFIED, "a", 3)) == []
    assert store.apply(event(WatchKind.MODIFIED, "a", 5)) == []
    assert store.get("a") == obj("a", 5, status="ours")
    assert told(store.apply(event(WatchKind.MODIFIED, "a", 6))) == ["modified a"]


def test_an_answer_that_comes_after_the_delete_revives_nothing() -> None:
    store = synced(obj("a", 1))
    store.apply(event(WatchKind.DELETED, "a", 2))
    store.confirm(obj("a", 5))
    assert store.get("a") is None


def test_a_forgotten_pod_stays_away_whatever_the_watch_still_tells() -> None:
    store = synced(obj("a", 1))
    assert told(store.forget("a")) == ["deleted a"]
    assert store.apply(event(WatchKind.MODIFIED, "a", 9)) == []
    assert store.apply(event(WatchKind.DELETED, "a", 10)) == []
    assert store.objects() == ()


@pytest.mark.parametrize(("version", "known", "newer"), [("10", "9", True), ("9", "10", False), ("9", "9", False), ("b", "a", True)])
def test_versions_are_numbers_where_they_look_like_numbers(version: str, known: str, newer: bool) -> None:
    assert is_newer(version, known) is newer


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30), st.randoms(use_true_random=False))
def test_whatever_is_missed_two_lists_make_it_right(history: list[tuple[str, bool]], chance: random.Random) -> None:
    """Some events are lost, as by a watch that was too old; afterwards the changes told add up to what the server holds."""
    server: dict[str, dict[str, Any]] = {}
    store, known = Store(), set[str]()

    def learn(changes: Sequence[Change]) -> None:
        for change in changes:
            match change:
                case Added(found):
                    assert found["metadata"]["uid"] not in known
                    known.add(found["metadata"]["uid"])
                case Modified(found):
                    assert found["metadata"]["uid"] in known
                case Deleted(found):
                    known.remove(found["metadata"]["uid"])
                case Synced():
                    assert known == set(server)

    for version, (uid, lives) in enumerate(history, start=1):
        kind = WatchKind.DELETED if not lives else WatchKind.MODIFIED if uid in server else WatchKind.ADDED
        if lives:
            server[uid] = obj(uid, version)
        elif server.pop(uid, None) is None:
            continue
        if chance.random() < 0.7:
            learn(store.apply(event(kind, uid, version)))
    again = True
    while again:
        changes, again = store.replace(server.values())
        learn(changes)
    assert {pod["metadata"]["uid"]: pod for pod in store.objects()} == server


def test_a_pod_is_slim_in_the_store() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{...}", "wirelet.dev/device": "board-a"}
    pod = {
        "metadata": {"uid": "a", "managedFields": [1], "annotations": annotations},
        "spec": {"priority": 0, "containers": []},
        "status": {},
    }
    assert slim_pod(pod) == {
        "metadata": {"uid": "a", "annotations": {"wirelet.dev/device": "board-a"}},
        "spec": {"containers": []},
        "status": {},
    }


# -- the loop


@contextlib.asynccontextmanager
async def reflecting(server: KubeServer, api: KubeApi, backoff: Backoff | None = None) -> AsyncIterator[list[str]]:
    """What the reflector told so far; the server's answers are prepared before."""
    changes: list[str] = []
    backoff = backoff or Backoff(first_s=0.0, cap_s=0.0)
    reflector = Reflector(api, PODS, {"fieldSelector": "spec.nodeName=x"}, Store(), lambda some: changes.extend(told(some)), backoff)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reflector.run)
        yield changes
        tasks.cancel_scope.cancel()


def listing(version: int, *items: dict[str, Any]) -> Answer:
    return Answer(200, {"metadata": {"resourceVersion": str(version)}, "items": list(items)})


async def test_a_watch_that_ends_goes_on_where_the_bookmark_stands(tmp_path: Path) -> None:
    never = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", PODS, listing(5, obj("a", 1)))
        bookmark = ("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
        server.will("WATCH", PODS, WatchAnswer.of(("ADDED", obj("b", 30)), bookmark), WatchAnswer([], ends=never))
        async with reflecting(server, api) as changes:
            watches = await server.until("WATCH", PODS, 2)
    assert changes == ["added a", "synced", "added b"]
    assert [watch.query["resourceVersion"] for watch in watches] == ["5", "40"]
    assert watches[0].query["fieldSelector"] == "spec.nodeName=x"
    assert len(server.seen("GET", PODS)) == 2


async def test_a_watch_that_breaks_goes_on_after_the_last_event(tmp_path: Path) -> None:
    never = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", PODS, listing(5))
        unavailable = Answer(503, {"kind": "Status", "code": 503})
        server.will("WATCH", PODS, WatchAnswer.of(("ADDED", obj("b", 30)), cut=True), unavailable, WatchAnswer([], ends=never))
        async with reflecting(server, api) as changes:
            watches = await server.until("WATCH", PODS, 3)
    assert changes == ["synced", "added b"]
    assert [watch.query["resourceVersion"] for watch in watches] == ["5", "30", "30"]


@pytest.mark.parametrize(
    "gone",
    [Answer(410, {"kind": "Status", "code": 410, "reason": "Expired"}), WatchAnswer.of(("ERROR", {"kind": "Status", "code": 410}))],
)
async def test_a_version_that_is_too_old_lists_again_and_finds_what_was_missed(tmp_path: Path, gone: Answer | WatchAnswer) -> None:
    never = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", PODS, *[listing(5, obj("a", 1), obj("b", 2))] * 2, listing(50, obj("b", 2), obj("c", 45)))
        server.will("WATCH", PODS, gone, WatchAnswer([], ends=never))
        async with reflecting(server, api) as changes:
            watches = await server.until("WATCH", PODS, 2)
    assert changes == ["added a", "added b", "synced", "added c", "deleted a", "synced"]
    assert watches[1].query["resourceVersion"] == "50"


@dataclass(slots=True)
class Noted(Backoff):
    """The delays that were waited."""

    delays: list[float] = field(default_factory=list)

    def next_s(self) -> float:
        self.delays.append(Backoff.next_s(self))
        return self.delays[-1]


@pytest.mark.parametrize(
    "ended", [pytest.param(WatchAnswer([]), id="empty"), pytest.param(Answer(410, {"kind": "Status", "code": 410}), id="gone")]
)
async def test_watches_that_end_at_once_are_begun_more_and_more_slowly(tmp_path: Path, ended: Answer | WatchAnswer) -> None:
    backoff = Noted(first_s=0.001)
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", PODS, listing(5))
        server.will("WATCH", PODS, ended)
        async with reflecting(server, api, backoff):
            await server.until("WATCH", PODS, 6)
            assert len(backoff.delays) >= 5
            assert backoff.delays[4] > backoff.delays[2] > backoff.delays[0]


async def test_a_watch_that_brought_something_is_followed_by_the_next_at_once(tmp_path: Path) -> None:
    backoff = Noted(first_s=60.0)
    never = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", PODS, listing(5))
        server.will("WATCH", PODS, WatchAnswer.of(("ADDED", obj("a", 6))), WatchAnswer([], ends=never))
        async with reflecting(server, api, backoff):
            await server.until("WATCH", PODS, 2)
    assert backoff.delays == []


async def test_a_watch_that_has_become_too_old_is_followed_by_a_list_at_once(tmp_path: Path) -> None:
    """After an outage pods must not wait once more, for as long as the attempts had come to be apart."""
    backoff = Noted(first_s=60.0)
    never = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", PODS, listing(5))
        gone = Answer(410, {"kind": "Status", "code": 410})
        server.will("WATCH", PODS, WatchAnswer.of(("ADDED", obj("a", 6))), gone, WatchAnswer([], ends=never))
        async with reflecting(server, api, backoff):
            await server.until("WATCH", PODS, 3)
    assert backoff.delays == []


async def test_a_list_that_is_refused_is_asked_for_again(tmp_path: Path) -> None:
    never = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        busy = Answer(429, {"kind": "Status", "code": 429}, {"Retry-After": "0"})
        server.will("GET", PODS, busy, Answer(403, {}), Answer(200, b"garbage"), listing(5, obj("a", 1)))
        server.will("WATCH", PODS, WatchAnswer([], ends=never))
        async with reflecting(server, api) as changes:
            await server.until("WATCH", PODS, 1)
    assert changes == ["added a", "synced"]


async def test_only_pods_of_this_node_and_namespace_are_asked_for(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/lab/pods"
    async with kube_server(tmp_path) as (server, api), anyio.create_task_group() as tasks:
        server.will("GET", path, listing(5))
        server.will("WATCH", path, WatchAnswer([], ends=anyio.Event()))
        tasks.start_soon(KubePodSource(api, "pi", "lab").run)
        await server.until("WATCH", path, 1)
        tasks.cancel_scope.cancel()
    assert {asked.query["fieldSelector"] for asked in server.asked} == {"spec.nodeName=pi"}


# -- what pods name


POD = {
    "metadata": {"namespace": "n"},
    "spec": {
        "containers": [{"envFrom": [{"configMapRef": {"name": "c1"}}, {"secretRef": {"name": "s1"}}]}],
        "initContainers": [
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}}]}
        ],
        "volumes": [
            {"configMap": {"name": "c2"}},
            {"secret": {"secretName": "s3"}},
            {"projected": {"sources": [{"configMap": {"name": "c3"}}, {"secret": {"name": "s4"}}, {"downwardAPI": {}}]}},
            {"emptyDir": {}},
        ],
    },
}


def test_every_place_that_names_a_config_map_or_secret_is_found() -> None:
    found = references(POD)
    assert {reference.name for reference in found if reference.kind is ReferenceKind.CONFIG_MAP} == {"c1", "c2", "c3"}
    assert {reference.name for reference in found if reference.kind is ReferenceKind.SECRET} == {"s1", "s2", "s3", "s4"}
    assert Reference(ReferenceKind.SECRET, "n", "s1") in found
    assert references({"metadata": {}}) == frozenset()


async def test_a_config_map_is_kept_for_a_moment_and_a_missing_one_shorter(tmp_path: Path) -> None:
    now = 100.0
    path = "/api/v1/namespaces/n/configmaps/c"
    async with kube_server(tmp_path) as (server, api):
        source = KubePodSource(api, "x", now=lambda: now)
        server.will("GET", path, Answer(404, {"kind": "Status"}), Answer(200, {"data": {"a": "1"}}), Answer(503, {}))
        assert await source.config_map("n", "c") is None
        assert await source.config_map("n", "c") is None
        now += 1.5
        assert await source.config_map("n", "c") == {"a": "1"}
        now += 9.0
        assert await source.config_map("n", "c") == {"a": "1"}
        now += 2.0
        with pytest.raises(SourceUnavailable, match="configmaps n/c"):
            await source.config_map("n", "c")
    assert len(server.asked) == 3


async def test_a_new_pod_reads_what_it_names_again(tmp_path: Path) -> None:
    path, never = "/api/v1/namespaces/n/configmaps/c1", anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        source = KubePodSource(api, "x")
        appeared = anyio.Event()
        source.subscribe(lambda _: appeared.set())
        server.will("GET", path, Answer(200, {"data": {"a": "1"}}), Answer(200, {"data": {"a": "2"}}))
        assert await source.config_map("n", "c1") == {"a": "1"}
        server.will("GET", PODS, listing(5, {**POD, "metadata": {"namespace": "n", "uid": "u", "resourceVersion": "1"}}))
        server.will("WATCH", PODS, WatchAnswer([], ends=never))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.run)
            await appeared.wait()
            assert source.get(PodUid("u")) is not None
            assert await source.config_map("n", "c1") == {"a": "2"}
            tasks.cancel_scope.cancel()


async def test_what_a_new_pod_names_is_read_when_the_authorizer_knows_the_pod_too(tmp_path: Path) -> None:
    """The first look at the clock is the pod's arrival; a reference that an older pod names too needs no wait."""
    path = "/api/v1/namespaces/n/secrets/s1"
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", path, Answer(200, {"data": {}}))
        reader = ReferenceReader(api, anyio.current_time)
        began = anyio.current_time()
        reader.named({**POD, "metadata": {"namespace": "n", "uid": "u1"}})
        assert await reader.read(Reference(ReferenceKind.SECRET, "n", "s1")) == {"data": {}}
        first_s = anyio.current_time() - began
        reader.named({**POD, "metadata": {"namespace": "n", "uid": "u2"}})
        await reader.read(Reference(ReferenceKind.SECRET, "n", "s1"))
        second_s = anyio.current_time() - began - first_s
    assert first_s >= SETTLE_S
    assert second_s < SETTLE_S
    assert len(server.asked) == 2


async def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.reference_reader.MAX_REFERENCES", 3)
    async with kube_server(tmp_path) as (server, api):
        reader = ReferenceReader(api, lambda: 100.0)
        for name in ("a", "b", "c", "d", "b", "d", "a"):
            await reader.read(Reference(ReferenceKind.SECRET, "n", name))
    assert [asked.path.rpartition("/")[2] for asked in server.asked] == ["a", "b", "c", "d", "a"]


async def test_nothing_is_kept_of_what_no_pod_names_any_more(tmp_path: Path) -> None:
    path, pod = "/api/v1/namespaces/n/secrets/s1", {**POD, "metadata": {"namespace": "n", "uid": "u1"}}
    now = 100.0
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", path, Answer(200, {"data": {}}))
        reader = ReferenceReader(api, lambda: now)
        reader.named(pod)
        now += 1
        await reader.read(Reference(ReferenceKind.SECRET, "n", "s1"))
        reader.unnamed(pod)
        await reader.read(Reference(ReferenceKind.SECRET, "n", "s1"))
    assert len(server.asked) == 2
