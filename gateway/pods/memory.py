"""What the controller remembers of one pod between two looks. Nothing here is needed for correctness after a restart: what is lost costs
at most one early retry.

Instants are seconds on the loop's clock unless the name says wall: a Raspberry Pi's wall clock jumps by years when NTP arrives. Pure: both
clocks are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.pods.restart import Streak, is_finished, streak
from gateway.pods.seams import Attempt, AttemptState, JsonObject, PodObservation
from gateway.pods.view import DEFAULT_GRACE_S, PodView

RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
"""A refused start is tried again after one second, then twice as long each time up to this."""
KICK_FLOOR_S: Final = 0.2
"""A change, of the pod or on the devices, brings a retry forward to this long after the last try, times the number of tries: quick for
what a person just did, and a flood of changes stays cheap."""
LINK_HOLD_S: Final = 10.0
"""At most one written change between connected and not connected in this time: a loose cable must not flood the API server."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last start of a container was refused."""

    reason: str
    message: str
    tried_at: float
    retry_at: float
    tries: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The whole pod is Failed, whatever its containers say: rejected, or over its deadline."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """When attempt gen of a container ended."""

    gen: int
    at: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """A stop of attempt gen was asked for with this grace."""

    gen: int
    grace_s: float


@dataclass(slots=True)
class PodMemory:
    """One pod uid. Written by the controller; plan and status only read it."""

    first_seen_wall: float
    first_seen: float
    is_known: bool = False
    """What is told once about a pod was told."""
    is_of_before: bool | None = None
    """Its startTime was there already when it was first seen; None before that."""
    grace_s: float = DEFAULT_GRACE_S
    """Of the pod as it was last seen, for when it is gone."""
    streaks: dict[str, Streak] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    kicked_at: float | None = None
    """When something changed that may let a refused container start."""
    stops: dict[str, Stopping] = field(default_factory=dict)
    images: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Container -> its newest attempt that started, and the image that attempt runs."""
    replaced: dict[str, int] = field(default_factory=dict)
    """Container -> the attempt that was running when the image in its spec became another one: it ends, and the next one begins."""
    failure: Failure | None = None
    deadline_at: float | None = None
    """When activeDeadlineSeconds are over."""
    reject_at: float | None = None
    """When a rejection that still stands makes the pod Failed."""
    failures: int = 0
    """Looks in a row that found the source unavailable."""
    finished_at: float | None = None
    """When the object was last asked to go."""
    is_released: bool = False
    link_shown: bool = True
    link_shown_at: float | None = None
    is_lost: bool = False
    """What is shown is a device that is gone, and not one that restarts."""
    status: JsonObject | None = None
    """As last written."""
    backoff_told: dict[str, int] = field(default_factory=dict)
    """Container -> the restartCount at which an event told of its back-off."""

    def look(self, pod: PodView, attempts: Mapping[str, Sequence[Attempt]], observed: PodObservation, now: float, now_wall: float) -> None:
        """Take note of what is seen now. Call before plan and status."""
        self.grace_s = pod.grace_s
        if self.is_of_before is None:
            self.is_of_before = pod.start_time is not None
        for name, history in attempts.items():
            self._compare_image(pod, name, history[-1])
            ended = [attempt for attempt in history if attempt.state is AttemptState.EXITED]
            known = self.ended.get(name)
            if ended and (known is None or known.gen != ended[-1].gen):
                was_replaced = self.replaced.get(name) == ended[-1].gen
                self.streaks[name] = Streak(ended[-1].gen, 0) if was_replaced else streak(ended, self.streaks.get(name))
                self.ended[name] = Ended(ended[-1].gen, now - _age_s(ended[-1].finished_at, now_wall))
        self._check_deadline(pod, attempts, now, now_wall)
        self._look_at_link(observed, now)

    def image_of(self, container: str, gen: int) -> str | None:
        """What that attempt runs; None when nobody remembers."""
        known_gen, image = self.images.get(container, (0, ""))
        return image if known_gen == gen else None

    def _compare_image(self, pod: PodView, name: str, last: Attempt) -> None:
        container = pod.container(name)
        told = pod.container_status(name) or {}
        if self.image_of(name, last.gen) is None and told.get("image") and int(told.get("restartCount") or 0) + 1 == last.gen:
            self.images[name] = (last.gen, str(told["image"]))  # from an earlier life of the gateway
        image = self.image_of(name, last.gen)
        if last.state in (AttemptState.RUNNING, AttemptState.STOPPING) and not container.is_init and image not in (None, container.image):
            self.replaced[name] = last.gen

    def _check_deadline(self, pod: PodView, attempts: Mapping[str, Sequence[Attempt]], now: float, now_wall: float) -> None:
        """activeDeadlineSeconds count from the pod's startTime. One of this life is our own, and the clock may have jumped since."""
        self.deadline_at = None
        if pod.active_deadline_s is None or self.failure or pod.is_terminal or pod.is_deleting or is_finished(pod, attempts, self.replaced):
            return
        age_s = _age_s(pod.start_time, now_wall) if self.is_of_before else 0.0
        self.deadline_at = min(self.first_seen, now - age_s) + pod.active_deadline_s
        if now >= self.deadline_at:
            # The kubelet's words: pkg/kubelet/active_deadline.go
            self.failure = Failure("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")

    def _look_at_link(self, observed: PodObservation, now: float) -> None:
        held = self.link_shown_at is not None and now - self.link_shown_at < LINK_HOLD_S
        if observed.connected != self.link_shown and not held:
            self.link_shown, self.link_shown_at = observed.connected, now
        if observed.connected == self.link_shown:
            self.is_lost = not observed.connected and not observed.restarting

    def link_changes_at(self, connected: bool) -> float | None:
        """When a held back change of the link may be shown; None if what is shown is true."""
        if connected == self.link_shown or self.link_shown_at is None:
            return None
        return self.link_shown_at + LINK_HOLD_S

    def refuse(self, container: str, reason: str, message: str, now: float, jitter: float = 1.0) -> bool:
        """Note a refused start; True when it says something new. jitter scales the delay."""
        before = self.refusals.get(container)
        tries = before.tries + 1 if before else 1
        delay_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(tries - 1, 16)) * jitter
        self.refusals[container] = Refusal(reason, message, now, now + delay_s, tries)
        return before is None or (before.reason, before.message) != (reason, message)

    def retry_not_after(self, container: str, at: float) -> None:
        """Bring the next try of a refused container forward."""
        refusal = self.refusals[container]
        self.refusals[container] = replace(refusal, retry_at=min(refusal.retry_at, at))

    def may_start_at(self, container: str) -> float | None:
        """When the next try of a refused container is due; None if nothing refused it."""
        refusal = self.refusals.get(container)
        if refusal is None:
            return None
        if self.kicked_at is not None and self.kicked_at >= refusal.tried_at:
            return min(refusal.retry_at, refusal.tried_at + KICK_FLOOR_S * refusal.tries)
        return refusal.retry_at

    def restart_at(self, container: str) -> float | None:
        """When the back-off of an ended container is over; None if it never ended."""
        ended = self.ended.get(container)
        return None if ended is None else ended.at + self.streaks[container].delay_s


def _age_s(wall: float | None, now_wall: float) -> float:
    """How long ago that was; an instant in the future, or none, is now."""
    return 0.0 if wall is None else max(0.0, now_wall - wall)
