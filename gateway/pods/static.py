"""The pods, ConfigMaps and Secrets that a folder of files describes, and how they change when the files do. Pure.

A pod's uid is a hash of the node, the file and the pod's content, so a changed file means another pod: the old one is deleted, with its
grace and through the same plan as in a cluster, and the new one appears when the old one is gone.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gateway.pods.seams import JsonObject, PodUid
from gateway.pods.shape import CONFIG_MAP, SECRET, ShapeError, check_pod, check_shape
from gateway.pods.times import format_time
from gateway.pods.view import PodView

RETURN_HOLD_S: Final = 1.0
"""A uid that just left does not come back sooner (a file changed to and fro), so that all have let go of it."""

_UID_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://wirelet.dev/manifest")
"""Never change it: running workloads are recognised by their pod's uid."""

Key: TypeAlias = tuple[str, str]
"""namespace, name"""


@dataclass(frozen=True, slots=True)
class Described:
    """What one file, or all of them, describe. problems are for people; Secrets stay in memory."""

    pods: Mapping[Key, JsonObject] = field(default_factory=dict)
    config_maps: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[Key, Mapping[str, bytes]] = field(default_factory=dict)
    problems: Sequence[str] = ()


def describe(path: str, documents: Sequence[Any], node_name: str) -> Described:
    """What the documents of the file describe; a document that is broken, or that only a cluster understands, is a problem."""
    reading = _Reading(path, node_name)
    for document in documents:
        try:
            reading.read(document)
        except ShapeError as error:
            reading.problems.append(f"{_title(document)} is skipped: {error}")
    return Described(reading.pods, reading.config_maps, reading.secrets, reading.problems)


def merge(files: Mapping[str, Described]) -> tuple[Described, list[str]]:
    """All files as one, in the order of their names; the second of two objects of one name is a problem and is left out."""
    pods: dict[Key, JsonObject] = {}
    config_maps: dict[Key, Mapping[str, str]] = {}
    secrets: dict[Key, Mapping[str, bytes]] = {}
    owners: dict[tuple[str, Key], str] = {}
    problems: list[str] = []

    def add(kind: str, path: str, target: dict[Key, Any], found: Mapping[Key, Any]) -> None:
        for key, value in found.items():
            if (owner := owners.setdefault((kind, key), path)) != path:
                problems.append(f"{path}: {kind} {'/'.join(key)} is skipped: it is in {owner} already")
            else:
                target[key] = value

    for path, described in sorted(files.items()):
        add("Pod", path, pods, described.pods)
        add("ConfigMap", path, config_maps, described.config_maps)
        add("Secret", path, secrets, described.secrets)
    return Described(pods, config_maps, secrets), problems


@dataclass(slots=True)
class _Reading:
    path: str
    node_name: str
    pods: dict[Key, JsonObject] = field(default_factory=dict)
    config_maps: dict[Key, Mapping[str, str]] = field(default_factory=dict)
    secrets: dict[Key, Mapping[str, bytes]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def read(self, document: Any) -> None:
        if document is None:
            return  # an empty document, as between two ---
        if not isinstance(document, dict):
            raise ShapeError("the document", "must be a mapping")
        match document.get("kind"):
            case "Pod":
                check_pod(document)
                self._add(self.pods, document, self._pod(document))
            case "ConfigMap":
                check_shape(document, CONFIG_MAP)
                self._add(self.config_maps, document, document.get("data") or {})
            case "Secret":
                check_shape(document, SECRET)
                self._add(self.secrets, document, _secret_data(document))
            case "List":
                items = document.get("items") or []
                if not isinstance(items, list):
                    raise ShapeError("items", "must be a list")
                for item in items:
                    self.read(item)
            case None:
                raise ShapeError("kind", "is required; it may be Pod, ConfigMap, Secret or List")
            case kind:
                raise ShapeError("kind", f"{kind} needs a cluster; a folder may hold Pod, ConfigMap, Secret and List")

    def _add(self, target: dict[Key, Any], document: JsonObject, value: Any) -> None:
        key = (document["metadata"].get("namespace") or "default", document["metadata"]["name"])
        if key in target:
            raise ShapeError("metadata.name", f"{'/'.join(key)} is in this file already")
        target[key] = value

    def _pod(self, document: JsonObject) -> JsonObject:
        wanted = document["spec"].get("nodeName") or self.node_name
        if wanted != self.node_name:
            raise ShapeError("spec.nodeName", f"the pod is for node {wanted}; this is {self.node_name}")
        uid = _uid(self.node_name, self.path, document)
        metadata = {"namespace": "default", **document["metadata"], "uid": uid, "generation": 1}
        return {**document, "metadata": metadata, "spec": {**document["spec"], "nodeName": self.node_name}, "status": {}}


def _uid(node_name: str, path: str, document: JsonObject) -> PodUid:
    content = json.dumps([node_name, path, document], sort_keys=True)
    return PodUid(str(uuid.uuid5(_UID_NAMESPACE, content)))


def _secret_data(document: JsonObject) -> dict[str, bytes]:
    data = {}
    for key, value in (document.get("data") or {}).items():
        try:
            data[key] = base64.b64decode("".join(value.split()), validate=True)
        except ValueError as error:  # of base64, or of what is not even ASCII
            raise ShapeError(f"data.{key}", "is not base64; plain text belongs into stringData") from error
    return data | {key: value.encode() for key, value in (document.get("stringData") or {}).items()}


def _title(document: Any) -> str:
    if not isinstance(document, dict):
        return "a document"
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{document.get('kind') or 'a document'} {name or 'without a name'}"


class StaticPods:
    """The pods that exist, as an API server would show them: those that files ask for, and those on their way out."""

    def __init__(self) -> None:
        self._pods: dict[PodUid, JsonObject] = {}
        self._wanted: Mapping[Key, JsonObject] = {}
        self._left_at: dict[PodUid, float] = {}

    def pods(self) -> list[JsonObject]:
        return list(self._pods.values())

    def get(self, uid: PodUid) -> JsonObject | None:
        return self._pods.get(uid)

    def want(self, wanted: Mapping[Key, JsonObject], now_wall: float) -> set[PodUid]:
        """These pods, and no others, shall exist. Call it again even when nothing changed: some come later. The uids that changed."""
        self._wanted = wanted
        uids = {pod["metadata"]["uid"] for pod in wanted.values()}
        changed = {uid for uid in self._pods if uid not in uids and self._delete(uid, now_wall)}
        self._left_at = {uid: at for uid, at in self._left_at.items() if 0 <= now_wall - at < RETURN_HOLD_S}
        return changed | self._appear(now_wall)

    def finish(self, uid: PodUid, now_wall: float) -> set[PodUid]:
        """The pod has ended and goes; whoever waited for its name appears. The uids that changed."""
        if self._pods.pop(uid, None) is None:
            return set()
        self._left_at[uid] = now_wall
        return {uid} | self._appear(now_wall)

    def set_status(self, uid: PodUid, status: JsonObject) -> bool:
        """True when it changed something."""
        pod = self._pods.get(uid)
        if pod is None or pod["status"] == status:
            return False
        self._pods[uid] = {**pod, "status": status}
        return True

    def _appear(self, now_wall: float) -> set[PodUid]:
        taken = {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in self._pods.values()}
        appeared = {
            pod["metadata"]["uid"]: pod
            for key, pod in self._wanted.items()
            if key not in taken and pod["metadata"]["uid"] not in self._left_at
        }
        for uid, pod in appeared.items():
            self._pods[uid] = {**pod, "metadata": {**pod["metadata"], "creationTimestamp": format_time(now_wall)}}
        return set(appeared)

    def _delete(self, uid: PodUid, now_wall: float) -> bool:
        pod = PodView(self._pods[uid])
        if pod.is_deleting:
            return False
        deletion = {"deletionTimestamp": format_time(now_wall + pod.grace_s), "deletionGracePeriodSeconds": int(pod.grace_s)}
        self._pods[uid] = {**pod.object, "metadata": {**pod.object["metadata"], **deletion}}
        return True
