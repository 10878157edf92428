"""containerStatuses: one container's attempts in the API's words. Pure.

It never publishes resources or allocatedResources: without them the API server refuses a resize clearly, with them it would accept one
that nothing here honours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.pods.memory import PodMemory
from gateway.pods.restart import should_restart
from gateway.pods.seams import Attempt, AttemptState, JsonObject, PodObservation
from gateway.pods.times import format_time
from gateway.pods.translate import RESOURCE_PREFIX, claimed_class
from gateway.pods.view import ContainerView, PodView

MAX_MESSAGE_BYTES: Final = 4096
MAX_POD_MESSAGE_BYTES: Final = 12288
"""terminated.message, for a container and for all of a pod (pkg/kubelet/kuberuntime, MaxContainerTerminationMessageLength)."""
MAX_RESTARTS: Final = 2**31 - 1
"""What the API holds (int32). Devices count attempts in 32 bits without a sign, and a status that is refused would stay refused."""
SHARED_SLOT: Final = "shared"
"""Stands for the class where none was requested."""
CREATING: Final = "ContainerCreating"
INITIALIZING: Final = "PodInitializing"
CRASH_LOOP: Final = "CrashLoopBackOff"


@dataclass(frozen=True, slots=True)
class ContainerStatuses:
    """Builds the status of each container of one pod. will_run is False when nothing of the pod starts any more."""

    pod: PodView
    observed: PodObservation
    memory: PodMemory
    now: float
    will_run: bool

    def status(self, container: ContainerView, history: Sequence[Attempt]) -> JsonObject:
        """history is oldest first and may be empty."""
        ran = [attempt for attempt in history if attempt.state is not AttemptState.INTENDED]
        last = ran[-1] if ran else None
        state, shown = self._state(container, history, last)
        earlier = ran if shown is None else ran[:-1]
        is_running = "running" in state
        image = (self.memory.image_of(container.name, last.gen) if last else None) or container.image
        status: JsonObject = {
            "name": container.name,
            "image": image,
            "imageID": image if last else "",
            "restartCount": min(last.gen - 1, MAX_RESTARTS) if last else 0,
            "state": state,
            "lastState": {"terminated": self._terminated(earlier[-1])} if earlier and earlier[-1].state is AttemptState.EXITED else {},
            "started": is_running,
            "ready": self._is_ready(container, state, shown),
        }
        if last is not None and last.container_id:
            status["containerID"] = last.container_id
        if allocated := self._allocated(container):
            status["allocatedResourcesStatus"] = allocated
        return status

    def _state(self, container: ContainerView, history: Sequence[Attempt], last: Attempt | None) -> tuple[JsonObject, Attempt | None]:
        """The state, and the attempt that it shows; None while waiting."""
        if last is None:
            return self._waiting(container), None
        if last.state is not AttemptState.EXITED:
            running = {"startedAt": format_time(last.started_at)} if last.started_at is not None else {}
            return {"running": running}, last
        restarts = self.will_run and should_restart(self.pod, container, last, self.memory.replaced)
        if history[-1].state is AttemptState.INTENDED or restarts:
            return self._waiting(container), None
        return {"terminated": self._terminated(last)}, last

    def _waiting(self, container: ContainerView) -> JsonObject:
        if (failure := self.memory.failure) is not None:
            return {"waiting": {"reason": failure.reason, "message": failure.message}}
        at = self.memory.restart_at(container.name)
        if at is not None and self.now < at:
            return {"waiting": {"reason": CRASH_LOOP, "message": self._back_off_message(container)}}
        if (refusal := self.memory.refusals.get(container.name)) is not None:
            return {"waiting": {"reason": refusal.reason, "message": refusal.message}}
        return {"waiting": {"reason": INITIALIZING if self.pod.init_containers else CREATING}}

    def _back_off_message(self, container: ContainerView) -> str:
        # flowcontrol.Backoff and kuberuntime_manager.go: doBackOff
        delay_s = int(self.memory.streaks[container.name].delay_s)
        delay = f"{delay_s // 60}m{delay_s % 60}s" if delay_s >= 60 else f"{delay_s}s"
        pod = self.pod
        return f"back-off {delay} restarting failed container={container.name} pod={pod.name}_{pod.namespace}({pod.uid})"

    def _terminated(self, attempt: Attempt) -> JsonObject:
        terminated: JsonObject = {
            "exitCode": attempt.exit_code,
            "reason": attempt.reason or ("Error" if attempt.exit_code else "Completed"),
        }
        if attempt.signal:
            terminated["signal"] = attempt.signal
        if attempt.message:
            limit = min(MAX_MESSAGE_BYTES, MAX_POD_MESSAGE_BYTES // len(self.pod.all_containers))
            terminated["message"] = attempt.message.encode()[:limit].decode(errors="ignore")
        for key, at in (("startedAt", attempt.started_at), ("finishedAt", attempt.finished_at)):
            if at is not None:
                terminated[key] = format_time(at)
        if attempt.container_id:
            terminated["containerID"] = attempt.container_id
        return terminated

    def _is_ready(self, container: ContainerView, state: JsonObject, shown: Attempt | None) -> bool:
        if container.is_init:
            return "terminated" in state and state["terminated"]["exitCode"] == 0
        return "running" in state and self.memory.link_shown and (shown is None or shown.is_ready)

    def _allocated(self, container: ContainerView) -> list[JsonObject]:
        """The standard place that says which board a container has and whether it answers (ResourceHealthStatus)."""
        device = self.observed.devices.get(container.name)
        if not device:
            return []
        # For a container that requested nothing the sink keeps the board's name for the annotation and leaves the rest out.
        claimed = claimed_class(container) or SHARED_SLOT
        health = "Healthy" if self.memory.link_shown else "Unhealthy"
        return [{"name": f"{RESOURCE_PREFIX}{claimed}", "resources": [{"resourceID": device, "health": health}]}]
