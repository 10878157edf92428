"""Standalone: a folder of manifests, followed; broken ones told once; statuses and events in a table."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from gateway.pods import manifests
from gateway.pods.controller import PodController
from gateway.pods.manifests import MAX_FILE_BYTES, BrokenManifest, ManifestDirectory, parse
from gateway.pods.seams import JsonObject, PodUid
from gateway.pods.shape import ShapeError, check_pod
from gateway.pods.table import MAX_EVENTS, StatusTable
from gateway.tests.fakes_pods import NODE, WALL, FakeDevices, TurnedClock, idle

HELLO = """
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec:
  containers:
  - {name: main, image: hello}
"""


class Desk:
    """A folder, its directory and table, and a controller with fake devices."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = TurnedClock()
        self.devices = FakeDevices(self.clock)
        self.source = ManifestDirectory(path, "desk", wall=self.clock.wall)
        self.table = StatusTable(self.source, wall=self.clock.wall)

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    async def look(self) -> None:
        """Two looks: a change has to hold still for one."""
        await self.source.look()
        await self.source.look()
        await idle()

    def pod(self, name: str = "hello") -> JsonObject:
        (found,) = (pod for pod in self.source.pods() if pod["metadata"]["name"] == name)
        return found

    def uid(self, name: str = "hello") -> PodUid:
        return PodUid(self.pod(name)["metadata"]["uid"])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        controller = PodController(self.source, self.table, self.devices, node_addresses=NODE, clock=self.clock)
        self.devices.changed = controller.changed
        await self.source.look()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run)
            await idle()
            yield
            tasks.cancel_scope.cancel()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_manifest_becomes_a_running_pod_with_status_and_events(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO)
    async with desk.running():
        shown = desk.pod()
        assert shown["status"]["phase"] == "Running"
        assert shown["metadata"]["namespace"] == "default"
        assert shown["spec"]["nodeName"] == "desk"
        assert [event["reason"] for event in desk.table.events()] == ["Pulled", "Created", "Started"]
        assert desk.table.events()[0]["involvedObject"]["fieldPath"] == "spec.containers{main}"


async def test_the_uid_is_the_same_after_a_restart_and_differs_by_content_file_and_node(tmp_path: Path) -> None:
    uids: list[str] = []
    for node, text, name in (
        ("desk", HELLO, "a.yaml"),
        ("desk", HELLO, "a.yaml"),
        ("desk", HELLO + "\n# a comment\n", "a.yaml"),
        ("desk", HELLO.replace("image: hello", "image: echo"), "a.yaml"),
        ("desk", HELLO, "b.yaml"),
        ("other", HELLO, "a.yaml"),
    ):
        folder = tmp_path / str(len(uids))
        folder.mkdir()
        (folder / name).write_text(text)
        source = ManifestDirectory(folder, node)
        await source.look()
        uids.append(source.pods()[0]["metadata"]["uid"])
    assert uids[0] == uids[1] == uids[2]
    assert len(set(uids)) == 4


async def test_config_maps_and_secrets_reach_the_program_and_stay_out_of_the_pod(desk: Desk) -> None:
    desk.write(
        "all.yml",
        """
kind: ConfigMap
metadata: {name: settings}
data: {mode: fast}
---
kind: Secret
metadata: {name: login}
data: {user: YWRh}
stringData: {token: s3cr3t}
---
kind: Pod
metadata: {name: hello}
spec:
  containers:
  - name: main
    image: hello
    args: ["--mode=$(mode)"]
    envFrom:
    - configMapRef: {name: settings}
    - secretRef: {name: login}
""",
    )
    async with desk.running():
        program = desk.devices.programs[desk.uid(), "main", 1]
        assert program.argv == ("--mode=fast",)
        assert dict(program.env) == {"mode": "fast", "user": "ada", "token": "s3cr3t"}
        assert "s3cr3t" not in json.dumps([*desk.source.pods(), *desk.table.events()])


async def test_a_config_map_that_comes_later_lets_the_pod_start(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO.replace("image: hello}", "image: hello, envFrom: [{configMapRef: {name: late}}]}"))
    async with desk.running():
        waiting = desk.pod()["status"]["containerStatuses"][0]["state"]["waiting"]
        assert waiting["message"] == 'configmap "late" not found (spec.containers[0].envFrom[0].configMapRef)'
        desk.write("late.yaml", "{kind: ConfigMap, metadata: {name: late}, data: {A: '1'}}")
        await desk.look()
        await desk.clock.turn(1)
        assert desk.pod()["status"]["phase"] == "Running"


async def test_a_removed_file_ends_its_pod_with_grace(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO.replace("spec:", "spec:\n  terminationGracePeriodSeconds: 3"))
    async with desk.running():
        uid = desk.uid()
        (desk.path / "hello.yaml").unlink()
        await desk.look()
        assert desk.devices.stops == [(uid, "main", 3.0)]
        assert desk.pod()["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:23Z"
        desk.devices.end(uid)
        await idle()
        assert desk.source.pods() == []
        assert desk.devices.released == [uid]


async def test_a_changed_file_starts_the_new_pod_when_the_old_one_is_gone(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO)
    async with desk.running():
        old = desk.uid()
        desk.write("hello.yaml", HELLO.replace("image: hello", "image: hello, args: [again]"))
        await desk.look()
        assert desk.uid() == old
        desk.devices.end(old)
        await idle()
        assert desk.uid() != old
        assert desk.devices.programs[desk.uid(), "main", 1].argv == ("again",)


async def test_a_file_changed_to_and_fro_runs_the_pod_anew_with_the_same_uid(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO)
    async with desk.running():
        uid = desk.uid()
        (desk.path / "hello.yaml").unlink()
        await desk.look()
        desk.write("hello.yaml", HELLO)
        await desk.look()
        desk.devices.programs.clear()
        desk.devices.end(uid)
        await idle()
        assert desk.source.pods() == []
        await desk.clock.turn(2)
        await desk.look()
        assert desk.uid() == uid
        assert desk.pod()["status"]["phase"] == "Running"


async def test_a_finished_pod_stays_to_be_looked_at_until_its_file_goes(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO.replace("spec:", "spec:\n  restartPolicy: Never").replace("image: hello", "image: exit-3"))
    async with desk.running():
        await desk.clock.turn(3600)
        await desk.look()
        assert desk.pod()["status"]["phase"] == "Failed"
        assert desk.uid() in desk.devices.retired
        (desk.path / "hello.yaml").unlink()
        await desk.look()
        assert desk.source.pods() == []


async def test_an_editor_that_saves_in_two_steps_disturbs_nothing(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO)
    async with desk.running():
        desk.write("hello.yaml", "")
        await desk.source.look()
        desk.write("hello.yaml", HELLO)
        await desk.look()
        assert desk.devices.stops == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: &x [*x]", "is nested deeper than 60"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("kind: Pod\n  metadata: {", "line 2: mapping values are not allowed here"),
        ("{kind: Pod, metadata: {name: x}, spec: {}}", "Pod x is skipped: spec.containers: is required"),
        ("{kind: Pod, metadata: {name: X}, spec: {containers: []}}", "metadata.name: must be a name of lower case letters"),
        ("{kind: Pod, spec: {}}", "Pod without a name is skipped: metadata: is required"),
        ("{kind: Deployment, metadata: {name: d}}", "Deployment d is skipped: kind: Deployment needs a cluster"),
        ("{metadata: {name: d}}", "a document d is skipped: kind: is required"),
        ("[1, 2]", "a document is skipped: the document: must be a mapping"),
        ("{kind: Secret, metadata: {name: s}, data: {k: s3cr3t!}}", "Secret s is skipped: data.k: is not base64"),
        ("{kind: ConfigMap, metadata: {name: c}, data: {k: 1}}", "data.k: must be a string, not the number 1; put it in quotes"),
        ("{kind: Pod, 1: 2}", "the key 1 must be a string"),
        (HELLO + "spec: {}\n", "the key 'spec' is there twice"),
        ("kind: Pod\nmetadata:\n\tname: x\n", "line 3: there is a tab; indent with spaces"),
        ("a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" * 1, "is required"),
        ("[" * 5000, "is nested deeper than 60"),
        ("{kind: List, items: 5}", "List without a name is skipped: items: must be a list"),
        ("a: !!bool maybe", "holds a value that is not what its tag says"),
        ("a: !!timestamp soon", "holds a value that is not what its tag says"),
        ("a: !!int ''", "holds a value that is not what its tag says"),
        ("{kind: Secret, metadata: {name: s}, data: {k: s3cr3tü}}", "Secret s is skipped: data.k: is not base64"),
        ('{kind: Secret, metadata: {name: s}, stringData: {k: "s3cr3t\\ud800"}}', "holds text that is not Unicode"),
        ("\x00", "is not YAML"),
        (HELLO.replace("{name: hello}", "{name: hello}\nspec2: &b " + "[" * 50 + "]" * 50), None),
        (HELLO.replace("spec:", "spec:\n  nodeName: elsewhere"), "the pod is for node elsewhere; this is desk"),
    ],
)
async def test_a_broken_manifest_is_one_clear_line_and_disturbs_no_other(
    desk: Desk, text: str, words: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    desk.write("good.yaml", HELLO.replace("name: hello}", "name: good}", 1))
    desk.write("zz.yaml", text)
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            await desk.source.look()
    assert desk.pod("good")
    told = [record.__dict__["why"] for record in caplog.records]
    if words is None:
        assert told == []
        return
    assert len(told) == len(desk.source.problems) == 1
    assert told[0].startswith("zz.yaml: ")
    assert words in told[0]
    assert "\n" not in told[0]
    assert "s3cr3t" not in told[0]


async def test_the_loop_goes_on_while_a_long_manifest_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    has_begun, has_gone_on = anyio.Event(), threading.Event()

    def long(text: bytes) -> list[Any]:
        anyio.from_thread.run_sync(has_begun.set)
        assert has_gone_on.wait(5)
        return parse(text)

    monkeypatch.setattr(manifests, "parse", long)
    desk.write("hello.yaml", HELLO)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.source.look)
        await has_begun.wait()
        has_gone_on.set()
    assert desk.pod()


def test_an_alias_bomb_is_refused_before_it_unfolds() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 6))
    with pytest.raises(BrokenManifest, match="holds more than 50000 values"):
        parse(bomb.encode())


async def test_one_broken_document_takes_only_itself_out(desk: Desk) -> None:
    desk.write("two.yaml", HELLO + "---\n{kind: Pod, metadata: {name: bad}}\n")
    await desk.look()
    assert [pod["metadata"]["name"] for pod in desk.source.pods()] == ["hello"]


async def test_the_same_name_in_two_files_belongs_to_the_first(desk: Desk) -> None:
    desk.write("a.yaml", HELLO)
    desk.write("b.yaml", HELLO)
    await desk.look()
    assert len(desk.source.pods()) == 1
    assert desk.source.problems == ["b.yaml: Pod default/hello is skipped: it is in a.yaml already"]


async def test_what_became_unreadable_goes_on_and_what_became_broken_ends(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO)
    async with desk.running():
        uid = desk.uid()
        (desk.path / "hello.yaml").unlink()
        desk.write("hello.yaml", "#" * (MAX_FILE_BYTES + 1))
        await desk.look()
        assert desk.source.problems == [f"hello.yaml: is larger than {MAX_FILE_BYTES} bytes; what it described goes on"]
        assert desk.devices.stops == []
        desk.write("hello.yaml", "kind: [")
        await desk.look()
        assert desk.devices.stops == [(uid, "main", 30.0)]


async def test_a_folder_that_goes_away_changes_nothing(desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk.write("hello.yaml", HELLO)
    async with desk.running():
        (desk.path / "hello.yaml").unlink()
        desk.path.rmdir()
        for _ in range(3):
            await desk.look()
        assert desk.devices.stops == []
        assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


async def test_a_folder_of_too_many_manifests_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_FILES", 3)
    desk.write("hello.yaml", HELLO)
    async with desk.running():
        for number in range(3):
            desk.write(f"{number}.yaml", "")
        await desk.look()
        assert desk.source.problems == [f"{desk.path}: holds 4 manifests; at most 3 are taken"]
        assert desk.devices.stops == []


async def test_no_folder_at_all_is_not_an_empty_one(tmp_path: Path) -> None:
    source = ManifestDirectory(tmp_path / "missing", "desk")
    await source.look()
    assert not source.synced
    assert source.problems == [f"{tmp_path / 'missing'}: No such file or directory"]


async def test_lists_json_and_unquoted_times_are_understood(desk: Desk) -> None:
    pod = parse(HELLO.encode())[0]
    desk.write("list.json", json.dumps({"kind": "List", "items": [pod]}))
    await desk.look()
    assert desk.pod()
    assert parse(b"at: 2024-01-02\nthen: 2024-01-02T03:04:05Z") == [{"at": "2024-01-02", "then": "2024-01-02T03:04:05Z"}]


def pod_with(**container: Any) -> JsonObject:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "hello", **container}]}}


def spec_with(**fields: Any) -> JsonObject:
    return {"metadata": {"name": "p"}, "spec": {**pod_with()["spec"], **fields}}


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (
            pod_with(env=[{"name": "N", "value": 1}]),
            r"spec.containers\[0\].env\[0\].value: must be a string, not the number 1; put it in quotes",
        ),
        (pod_with(args=[True]), r"spec.containers\[0\].args\[0\]: must be a string, not true; put it in quotes"),
        (pod_with(command="run me"), r"spec.containers\[0\].command: must be a list"),
        (pod_with(name="Main"), r'spec.containers\[0\].name: must be a name of lower case letters, digits, hyphens, not "Main"'),
        (pod_with(tty="yes"), r'spec.containers\[0\].tty: must be true or false, not "yes"'),
        (pod_with(resources={"limits": {"cpu": [1]}}), r"spec.containers\[0\].resources.limits.cpu: must be a quantity"),
        ({"metadata": {"name": "p"}, "spec": {"containers": [], "restartPolicy": "Always"}}, "spec.containers: must be a list of 1 to 64"),
        ({"metadata": {"name": "p"}, "spec": {"containers": pod_with()["spec"]["containers"] * 65}}, "must be a list of 1 to 64"),
        (
            {"metadata": {"name": "p"}, "spec": {**pod_with()["spec"], "restartPolicy": "Sometimes"}},
            "spec.restartPolicy: must be one of Always, OnFailure, Never",
        ),
        (
            {"metadata": {"name": "p"}, "spec": {**pod_with()["spec"], "terminationGracePeriodSeconds": -1}},
            "must be a whole number of at least 0, not the number -1",
        ),
        ({"metadata": {"name": "p"}, "spec": {"containers": pod_with()["spec"]["containers"] * 2}}, "there is another container main"),
        (pod_with(volumeMounts=[{"name": []}]), r"spec.containers\[0\].volumeMounts\[0\].name: must be a string, not a list of 0"),
        (spec_with(resources=[1]), "spec.resources: must be a mapping, not a list of 1"),
        (spec_with(overhead="1"), 'spec.overhead: must be a mapping, not "1"'),
        (spec_with(volumes=[{"name": "v", "projected": 1}]), r"spec.volumes\[0\].projected: must be a mapping, not the number 1"),
        (spec_with(volumes=[{"name": "v", "projected": {"sources": [1]}}]), r"spec.volumes\[0\].projected.sources\[0\]: must be a mapping"),
    ],
)
def test_a_pod_of_the_wrong_shape_is_told_with_the_path(pod: JsonObject, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        check_pod(pod)


def test_events_are_counted_bounded_and_safe_for_a_terminal() -> None:
    now = [WALL]
    table = StatusTable(ManifestDirectory(Path("/nowhere"), "desk"), wall=lambda: now[0])
    pod = {"metadata": {"name": "p", "namespace": "default", "uid": "u"}}
    for number in range(MAX_EVENTS + 10):
        table.event(pod, "Normal", "Started", f"run {number}")
    table.event(pod, "Warning", "BackOff", "\x1b[2Jhe\nllo" + "x" * 5000)
    now[0] += 60
    table.event(pod, "Warning", "BackOff", "\x1b[2Jhe\nllo" + "x" * 5000)
    events = table.events()
    assert len(events) == MAX_EVENTS
    last = events[-1]
    assert (last["count"], last["firstTimestamp"], last["lastTimestamp"]) == (2, "2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")
    assert last["message"].startswith(" [2Jhe llo")
    assert len(last["message"]) == 1024
