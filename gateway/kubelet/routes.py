"""The table of paths: which handler answers what, on the HTTPS port and on the unix socket.

Every request over HTTPS is authenticated and authorized before its path is looked up, as in the kubelet: a stranger cannot tell an unknown
path from a known one. The unix socket has the same routes and a few of our own; the file's mode is its guard.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.kubelet.container_logs import ContainerLogsHandler, parse_log_options
from gateway.kubelet.exchange import JSON, Answer, Reply, Request, RequestRefused, StreamReply
from gateway.kubelet.exposition import CONTENT_TYPE, Family, render
from gateway.kubelet.pod_table import pod_row, running_pod
from gateway.kubelet.seams import (
    CareRefused,
    ContainerLogs,
    Conversations,
    DeviceCare,
    DeviceLogs,
    DeviceRow,
    DeviceTable,
    EventTable,
    LogsUnavailable,
    PodDirectory,
    PortsUnknown,
    Vitals,
)

if TYPE_CHECKING:
    from gateway.kubelet.auth import Gatekeeper  # standalone has none

NOT_FOUND: Final = "404 page not found\n"

RouteHandler = Callable[[Request, Sequence[str]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """pattern is split at slashes; a part in braces takes any one non-empty segment."""

    pattern: str
    handler: RouteHandler
    methods: tuple[str, ...] = ("GET",)

    def arguments(self, path: str) -> list[str] | None:
        """The values of the parts in braces; None when path is not this route's."""
        parts, segments = self.pattern.split("/"), path.split("/")
        if len(parts) != len(segments):
            return None
        arguments = []
        for part, segment in zip(parts, segments, strict=True):
            if part.startswith("{") and segment:
                arguments.append(segment)
            elif part != segment:
                return None
        return arguments


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The handler of a server. Without a gatekeeper only local peers are let in."""

    routes: tuple[Route, ...]
    gatekeeper: Gatekeeper | None = None
    answers: Counter[int] = field(default_factory=Counter)
    """By status code, for a metric."""

    async def __call__(self, request: Request) -> Answer:
        try:
            answer = await self._answer(request)
        except RequestRefused as refusal:
            self.answers[refusal.reply.status] += 1
            raise
        self.answers[answer.status] += 1
        return answer

    async def _answer(self, request: Request) -> Answer:
        if not request.peer.is_local:
            if self.gatekeeper is None:
                raise RequestRefused(401, "Unauthorized")
            await self.gatekeeper.admit(request)
        for route in self.routes:
            arguments = route.arguments(request.path)
            if arguments is None:
                continue
            if request.method not in route.methods:
                raise RequestRefused(405, "Method Not Allowed", (("allow", ", ".join(route.methods)),))
            return await route.handler(request, arguments)
        raise RequestRefused(404, NOT_FOUND)


def kubelet_routes(pods: PodDirectory, logs: ContainerLogs, vitals: Vitals, conversations: Conversations) -> tuple[Route, ...]:
    """What the API server and monitoring ask of a kubelet."""

    async def pod_list(request: Request, arguments: Sequence[str]) -> Answer:
        return _pod_list(pods.all())

    async def running_list(request: Request, arguments: Sequence[str]) -> Answer:
        return _pod_list([running for pod in pods.all() if (running := running_pod(pod)) is not None])

    return (
        Route("/healthz", _healthy),
        Route("/healthz/", _healthy),
        Route("/healthz/ping", _healthy),
        Route("/healthz/syncloop", _healthy),
        Route("/pods", pod_list),
        Route("/pods/", pod_list),
        Route("/runningpods", running_list),
        Route("/runningpods/", running_list),
        *_monitoring_routes(vitals),
        Route("/containerLogs/{namespace}/{pod}/{container}", ContainerLogsHandler(pods, logs)),
        *_conversation_routes(pods, conversations),
        *_unserved_routes(),
    )


def _monitoring_routes(vitals: Vitals) -> tuple[Route, ...]:
    async def metrics(request: Request, arguments: Sequence[str]) -> Answer:
        return _text(await vitals.metrics())

    async def resources(request: Request, arguments: Sequence[str]) -> Answer:
        return _text(await vitals.resources())

    async def nothing(request: Request, arguments: Sequence[str]) -> Answer:
        return _text(())  # there is no cAdvisor and no probe here; a refusal would alarm monitoring stacks that scrape every kubelet

    async def summary(request: Request, arguments: Sequence[str]) -> Answer:
        return _json(await vitals.summary())

    async def configuration(request: Request, arguments: Sequence[str]) -> Answer:
        return _json(vitals.configuration())

    return (
        Route("/metrics", metrics),
        Route("/metrics/resource", resources),
        Route("/metrics/cadvisor", nothing),
        Route("/metrics/probes", nothing),
        Route("/stats/summary", summary),
        Route("/configz", configuration),
    )


def local_routes(
    pods: PodDirectory, devices: DeviceTable, events: EventTable, device_logs: DeviceLogs, care: DeviceCare
) -> tuple[Route, ...]:
    """What the command line asks; only on the unix socket."""

    async def device_list(request: Request, arguments: Sequence[str]) -> Answer:
        return _json({"items": [device_row(row) for row in devices.rows()]})

    async def port_list(request: Request, arguments: Sequence[str]) -> Answer:
        try:
            ports = await devices.unused_ports()
        except PortsUnknown as unknown:
            raise RequestRefused(503, str(unknown)) from unknown
        return _json({"items": [dataclasses.asdict(port) for port in ports]})

    async def pod_list(request: Request, arguments: Sequence[str]) -> Answer:
        return _json({"items": sorted(map(pod_row, pods.all()), key=lambda row: (row["namespace"], row["name"]))})

    async def event_list(request: Request, arguments: Sequence[str]) -> Answer:
        return _json({"items": list(events.events())})

    async def device_log(request: Request, arguments: Sequence[str]) -> Answer:
        try:
            return StreamReply(await device_logs.open("/".join(arguments), parse_log_options(request.query)))
        except LogsUnavailable as unavailable:
            raise RequestRefused(unavailable.status, unavailable.text) from unavailable

    async def lend(request: Request, arguments: Sequence[str]) -> Answer:
        (borrower,) = request.query.get("borrower", [])[:1] or ("somebody",)
        (link,) = request.query.get("link", [])[:1] or ("",)
        return StreamReply(care.lend(arguments[0], borrower, link), JSON)

    async def do(request: Request, arguments: Sequence[str]) -> Answer:
        try:
            await care.do(*arguments)
        except CareRefused as refused:
            raise RequestRefused(refused.status, refused.text) from refused
        return Reply(200)

    return (
        Route("/wirelet/devices/{device}/lend", lend, ("POST",)),
        Route("/wirelet/devices/{device}/{what}", do, ("POST",)),
        Route("/wirelet/devices", device_list),
        Route("/wirelet/ports", port_list),
        Route("/wirelet/pods", pod_list),
        Route("/wirelet/events", event_list),
        Route("/wirelet/deviceLogs/{device}", device_log),
        Route("/wirelet/deviceLogs/{device}/{role}", device_log),
    )


def device_row(row: DeviceRow) -> dict[str, Any]:
    """The row in JSON names."""
    return {
        "name": row.name,
        "class": row.class_name,
        "link": row.link,
        "state": row.state,
        "message": row.message,
        "slots": {"used": row.slots_used, "total": row.slots_total},
        "boot": row.boot,
        "programs": list(row.programs),
        "lastSeen": row.last_seen_s,
        "deviceId": row.device_id,
        "port": row.port,
        "typists": list(row.typists),
        "links": [dataclasses.asdict(side) for side in row.links],
    }


async def _healthy(request: Request, arguments: Sequence[str]) -> Answer:
    """One loop serves everything: if this answers, the loop turns."""
    return Reply(200, b"ok")


def _conversation_routes(pods: PodDirectory, conversations: Conversations) -> tuple[Route, ...]:
    def converse(verb: str) -> RouteHandler:
        async def handle(request: Request, arguments: Sequence[str]) -> Answer:
            from gateway.kubelet.remote_command import RemoteCommandHandler  # loaded by the first one: most gateways never have one

            return await RemoteCommandHandler(pods, conversations, is_exec=verb == "exec")(request, arguments)

        return handle

    handlers = {verb: converse(verb) for verb in ("exec", "attach")}
    rests = ("{container}", "{uid}/{container}")
    both = ("GET", "POST")
    return tuple(Route(f"/{verb}/{{namespace}}/{{pod}}/{rest}", handler, both) for verb, handler in handlers.items() for rest in rests)


def _unserved_routes() -> tuple[Route, ...]:
    """Known to every client of a kubelet and not served yet; they are here so that they are authorized (`create`) and say so."""

    async def not_served(request: Request, arguments: Sequence[str]) -> Answer:
        raise RequestRefused(501, f"{request.path.split('/')[1]} is not served by this node")

    forward = [f"/portForward/{{namespace}}/{{pod}}{rest}" for rest in ("", "/{uid}")]
    run = [Route(f"/run/{{namespace}}/{{pod}}/{rest}", not_served, ("POST",)) for rest in ("{container}", "{uid}/{container}")]
    return (*(Route(path, not_served, ("GET", "POST")) for path in forward), *run)


def _pod_list(items: Sequence[Mapping[str, Any]]) -> Reply:
    return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(items)})


def _text(families: Sequence[Family]) -> Reply:
    return Reply(200, render(families), CONTENT_TYPE)


def _json(value: Mapping[str, Any]) -> Reply:
    return Reply(200, json.dumps(value, separators=(",", ":")).encode(), JSON)
