"""`/containerLogs/{namespace}/{pod}/{container}`: options, errors and the choice of the attempt as the kubelet has them.

The texts are pinned: tools match on them. They come from pkg/kubelet/server/server.go (getContainerLogs) and
pkg/kubelet/kubelet_pods.go (validateContainerLogStatus) of Kubernetes 1.36.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.kubelet.exchange import Answer, Request, RequestRefused, StreamReply
from gateway.kubelet.seams import ContainerLogs, LogsUnavailable, PodDirectory
from gateway.logs.reader import LogOptions

UNDECODABLE: Final = '{"message": "Unable to decode query."}'
INVALID: Final = '{"message": "Invalid request."}'
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_INT64: Final = range(-(2**63), 2**63)
_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_STREAMS: Final = ("All", "Stdout", "Stderr")

Query = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class ContainerLogsHandler:
    """Answers with the log as it is, bytes untouched; with follow until the attempt ends or the client leaves."""

    pods: PodDirectory
    logs: ContainerLogs

    async def __call__(self, request: Request, arguments: Sequence[str]) -> Answer:
        namespace, name, container = arguments
        options = parse_log_options(request.query)
        pod = self.pods.find(namespace, name)
        if pod is None:
            raise RequestRefused(404, f"pod {quoted(name)} does not exist")
        if container not in container_names(pod):
            raise RequestRefused(404, f"container {quoted(container)} not found in pod {quoted(name)}")
        refuse_split_streams(request.query)
        try:
            container_id = choose_attempt(pod, container, previous=options.previous)
            return StreamReply(await self.logs.open(pod, container, container_id, options))
        except LogsUnavailable as unavailable:
            raise RequestRefused(unavailable.status, unavailable.text) from unavailable


def parse_log_options(query: Query) -> LogOptions:
    """PodLogOptions of a query. Raises RequestRefused: 400 for what is not a number or a time, 422 for impossible values."""
    tail = _first(query, "tail")  # before tailLines there was tail=N|all
    tail_lines = (None if tail == "all" else _integer(query, "tail")) if tail else _integer(query, "tailLines")
    since_seconds = _integer(query, "sinceSeconds")
    limit_bytes = _integer(query, "limitBytes")
    since_time = _time(query)
    impossible = (
        (tail_lines is not None and tail_lines < 0)
        or (limit_bytes is not None and limit_bytes < 1)
        or (since_seconds is not None and since_seconds < 1)
        or (since_seconds is not None and "sinceTime" in query)
        or ("stream" in query and query["stream"][0] not in _STREAMS)
    )
    if impossible:
        raise RequestRefused(422, INVALID)
    return LogOptions(
        follow=_boolean(query, "follow"),
        previous=_boolean(query, "previous"),
        timestamps=_boolean(query, "timestamps"),
        tail_lines=tail_lines,
        since_seconds=since_seconds,
        since_time=since_time,
        limit_bytes=limit_bytes,
    )


def refuse_split_streams(query: Query) -> None:
    """`stream=` is alpha and off in 1.36: anything but All is refused in the kubelet's words."""
    stream = _first(query, "stream")
    if stream not in (None, "All"):
        text = (
            f"unable to return the given log stream: {quoted(stream or '')}. Please enable PodLogsQuerySplitStreams feature gate in kubelet"
        )
        raise RequestRefused(400, text)


def choose_attempt(pod: Mapping[str, Any], container: str, *, previous: bool) -> str:
    """The containerID whose log is meant: the running attempt, else the last that ended. Raises LogsUnavailable (400)."""
    name = pod["metadata"]["name"]
    where = f"container {quoted(container)} in pod {quoted(name)}"
    status = _container_status(pod, container)
    if status is None:
        raise LogsUnavailable(400, f"{where} is not available")
    state = status.get("state") or {}
    current, last = state.get("terminated"), (status.get("lastState") or {}).get("terminated")
    last_id = (last or {}).get("containerID") or ""
    if previous:
        if not last_id:
            raise LogsUnavailable(400, f"previous terminated {where} not found")
        return last_id
    if state.get("running") is not None:
        return str(status.get("containerID") or "")
    if current is not None or last is not None:
        found = (current or {}).get("containerID") or last_id
        if not found:
            raise LogsUnavailable(400, f"{where} is terminated")
        return str(found)
    raise LogsUnavailable(400, f"{where} {_waiting(state.get('waiting'))}")


def _waiting(waiting: Mapping[str, Any] | None) -> str:
    if waiting is None:
        return "is waiting to start - no logs yet"
    match waiting.get("reason", ""):
        case "ErrImagePull":
            return "is waiting to start: image can't be pulled"
        case "ImagePullBackOff":
            return "is waiting to start: trying and failing to pull image"
        case reason:
            return f"is waiting to start: {reason}"


def container_names(pod: Mapping[str, Any]) -> list[str]:
    """Of every kind, ordinary ones first."""
    spec = pod.get("spec") or {}
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return [container["name"] for kind in kinds for container in spec.get(kind) or ()]


def quoted(text: str) -> str:
    """As Go's %q for everything that can be a name."""
    return json.dumps(text, ensure_ascii=False)


def _container_status(pod: Mapping[str, Any], container: str) -> Mapping[str, Any] | None:
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(kind) or ():
            if entry.get("name") == container:
                return dict(entry)
    return None


def _first(query: Query, key: str) -> str | None:
    return query[key][0] if key in query else None


def _boolean(query: Query, key: str) -> bool:
    """apimachinery's rule: absent, "false" and "0" are false, everything else is true, also the empty text."""
    value = _first(query, key)
    return value is not None and value.lower() not in ("false", "0")


def _integer(query: Query, key: str) -> int | None:
    value = _first(query, key)
    if value is None:
        return None
    if not _INTEGER.fullmatch(value) or int(value) not in _INT64:
        raise RequestRefused(400, UNDECODABLE)
    return int(value)


def _time(query: Query) -> datetime | None:
    value = _first(query, "sinceTime")
    if value in (None, "", "null"):  # apimachinery: the zero time, which filters nothing
        return None
    match = _RFC3339.fullmatch(value or "")
    if match is None:
        raise RequestRefused(400, UNDECODABLE)
    try:
        return datetime.fromisoformat(f"{match[1]}.{(match[2] or '0')[:6].ljust(6, '0')}{match[3].replace('Z', '+00:00')}")
    except ValueError as error:
        raise RequestRefused(400, UNDECODABLE) from error
