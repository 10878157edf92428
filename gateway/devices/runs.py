"""The attempts the gateway knows, in memory: the ledger's content by pod, by container and by the run that a device names. Pure.

Entries are values; a change is a new entry put in the old one's place. Whoever puts one here also writes it to the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gateway.devices.identity import container_id
from gateway.devices.ledger import Entry, RunKey
from gateway.pods.seams import Attempt, AttemptState, PodUid

KEPT_ATTEMPTS: Final = 5
"""Attempts of one container that are remembered; kubectl can ask for the last two."""

LIVE: Final = frozenset({AttemptState.INTENDED.value, AttemptState.RUNNING.value, AttemptState.STOPPING.value})


def is_live(entry: Entry) -> bool:
    return entry.state in LIVE


class Runs:
    """Every entry, by (uid, container, gen) and by (device, wid, gen): neither has two."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._by_pod: dict[str, dict[str, dict[int, Entry]]] = {}
        self._by_device: dict[str, dict[RunKey, Entry]] = {}
        self.when_changed: Callable[[str], None] = lambda uid: None
        """Called with the pod's uid after each change: what is counted from the entries is not counted anew from all of them."""
        for entry in entries:
            self.put(entry)

    def put(self, entry: Entry) -> None:
        """Takes the place of the same attempt on another device, and of the same run under another name."""
        if (elsewhere := self.get(entry.uid, entry.container, entry.gen)) is not None:
            self.drop(elsewhere)
        if (renamed := self.of_run(entry.run)) is not None:
            self.drop(renamed)
        self._by_pod.setdefault(entry.uid, {}).setdefault(entry.container, {})[entry.gen] = entry
        self._by_device.setdefault(entry.device, {})[entry.run] = entry
        self.when_changed(entry.uid)

    def drop(self, entry: Entry) -> None:
        """Forget one attempt that is here."""
        containers = self._by_pod[entry.uid]
        del containers[entry.container][entry.gen]
        if not containers[entry.container]:
            del containers[entry.container]
        if not containers:
            del self._by_pod[entry.uid]
        del self._by_device[entry.device][entry.run]
        self.when_changed(entry.uid)

    def forget(self, uid: str) -> None:
        for entry in self.of_pod(uid):
            self.drop(entry)

    def pods(self) -> list[PodUid]:
        return [PodUid(uid) for uid in self._by_pod]

    def of_pod(self, uid: str) -> list[Entry]:
        return [entry for gens in self._by_pod.get(uid, {}).values() for entry in gens.values()]

    def containers(self, uid: str) -> dict[str, Entry]:
        """The newest entry of each container."""
        return {name: gens[max(gens)] for name, gens in self._by_pod.get(uid, {}).items()}

    def get(self, uid: str, container: str, gen: int) -> Entry | None:
        return self._by_pod.get(uid, {}).get(container, {}).get(gen)

    def newest(self, uid: str, container: str) -> Entry | None:
        gens = self._by_pod.get(uid, {}).get(container)
        return gens[max(gens)] if gens else None

    def surplus(self, uid: str, container: str) -> list[Entry]:
        """Ended attempts of a container beyond those that are kept."""
        gens = self._by_pod.get(uid, {}).get(container, {})
        return [gens[gen] for gen in sorted(gens)[:-KEPT_ATTEMPTS] if not is_live(gens[gen])]

    def of_run(self, run: RunKey) -> Entry | None:
        """The entry of a run that a device names."""
        return self._by_device.get(run[0], {}).get(run)

    def live(self) -> list[Entry]:
        return [entry for runs in self._by_device.values() for entry in runs.values() if is_live(entry)]

    def live_on(self, device: str) -> list[Entry]:
        return [entry for entry in self._by_device.get(device, {}).values() if is_live(entry)]

    def attempts(self, uid: str) -> dict[str, Sequence[Attempt]]:
        """What the pod controller sees of a pod."""
        return {name: tuple(_attempt(gens[gen]) for gen in sorted(gens)) for name, gens in self._by_pod.get(uid, {}).items()}


def _attempt(entry: Entry) -> Attempt:
    return Attempt(
        gen=entry.gen,
        state=AttemptState(entry.state),
        container_id=container_id(entry.wid, entry.gen),
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        exit_code=entry.exit_code,
        signal=entry.signal,
        reason=entry.reason,
        message=entry.message,
        is_ready=not entry.is_unready,
    )
