"""Which slots pods hold, and which pods wait for one. Pure.

A container holds a slot from the moment it gets a device until its pod is retired or gone and its run has ended. Init containers run
before the others and in their slots, as in Kubernetes' effective requests: the larger of the two counts, not the sum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.devices.runs import Runs, is_live
from gateway.pods.seams import PodUid


@dataclass(frozen=True, slots=True)
class Place:
    """Where one container is."""

    device: str
    is_init: bool = False


class SlotBook:
    """Counted from the runs, and from choices that have not led to one yet. changed is called for pods that wait."""

    def __init__(self, runs: Runs, changed: Callable[[PodUid], None]) -> None:
        self._runs = runs
        self._changed = changed
        self._assigned: dict[str, dict[str, Place]] = {}
        """uid -> container -> its place before its first attempt."""
        self._retired: set[str] = set()
        # Pods of an earlier life of which nothing runs: until somebody has looked at them, nobody is rejected because of them.
        self._ending = {str(uid) for uid in runs.pods() if not any(map(is_live, runs.of_pod(uid)))}
        self._waiting: set[str] = set()
        self._shares: dict[str, dict[str, tuple[int, int]]] = {}
        """uid -> device -> (used, ending): what the pod adds to the usages."""
        self._usages: dict[str, tuple[int, int]] = {}
        self._moved = {str(uid) for uid in runs.pods()}
        """Pods whose share may have changed since it was counted."""
        runs.when_changed = self._moved.add

    def places(self, uid: str) -> dict[str, Place]:
        """Where the pod's containers are: their newest attempt, or what was chosen for the first one."""
        newest = self._runs.containers(uid)
        return self._assigned.get(uid, {}) | {name: Place(entry.device, entry.is_init) for name, entry in newest.items()}

    def assign(self, uid: str, container: str, place: Place) -> None:
        self._assigned.setdefault(uid, {})[container] = place
        self._moved.add(uid)

    def unassign(self, uid: str) -> None:
        """Give up choices that led to no attempt, so that the next one may be another device."""
        self._assigned.pop(uid, None)
        self._moved.add(uid)

    # -- counting

    def usage(self, device: str) -> tuple[int, int]:
        """Slots used on a device, and how many of those belong to pods on their way out."""
        return self.usages().get(device, (0, 0))

    def usages(self) -> Mapping[str, tuple[int, int]]:
        """The same for every device of which any slot was ever used."""
        while self._moved:
            self._count(self._moved.pop())
        return self._usages

    def _count(self, uid: str) -> None:
        for device, (used, ending) in self._shares.pop(uid, {}).items():
            self._add(device, -used, -ending)
        is_ending = uid in self._ending or uid in self._retired
        share = {device: (count, count * is_ending) for device, count in held(self._holding(uid).values()).items()}
        if share:
            self._shares[uid] = share
        for device, (used, ending) in share.items():
            self._add(device, used, ending)

    def _add(self, device: str, used: int, ending: int) -> None:
        used_before, ending_before = self._usages.get(device, (0, 0))
        self._usages[device] = used_before + used, ending_before + ending

    def needs_another(self, uid: str, place: Place) -> bool:
        """False when the pod has a slot there already that a container at place would take over."""
        there = [held_place for held_place in self._holding(uid).values() if held_place.device == place.device]
        return not there or held([*there, place]) != held(there)

    def _holding(self, uid: str) -> dict[str, Place]:
        places = self.places(uid)
        if uid not in self._retired:
            return places
        newest = self._runs.containers(uid)
        return {name: place for name, place in places.items() if name in newest and is_live(newest[name])}

    # -- the ways of pods

    def begins(self, uid: str) -> None:
        self._ending.discard(uid)
        self._moved.add(uid)

    def end_begins(self, uid: str) -> None:
        """The pod is on its way out: its slots will be free."""
        self._ending.add(uid)
        self._moved.add(uid)

    def retire(self, uid: str) -> None:
        """Nothing of the pod will run again: only what still does keeps its slot."""
        if uid not in self._retired:
            self._retired.add(uid)
            self.unassign(uid)
            self.room_is_made()

    def forget(self, uid: str) -> None:
        self.unassign(uid)
        for marked in (self._retired, self._ending, self._waiting):
            marked.discard(uid)
        self.room_is_made()

    def waits(self, uid: str) -> None:
        """A start of the pod was refused: it wants to hear when something may be different."""
        self._waiting.add(uid)

    def room_is_made(self) -> None:
        """A slot is free or a device is ready: tell those who wait. They wait again if it was not enough."""
        waiting, self._waiting = self._waiting, set()
        for uid in waiting:
            self._changed(PodUid(uid))


def held(places: Iterable[Place]) -> Mapping[str, int]:
    """device -> slots that the containers of one pod hold there."""
    inits: set[str] = set()
    others: Counter[str] = Counter()
    for place in places:
        if place.is_init:
            inits.add(place.device)
        else:
            others[place.device] += 1
    return {device: max(others[device], device in inits) for device in inits | set(others)}
