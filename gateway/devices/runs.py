"""The attempts the gateway knows, in memory: the ledger's content by pod, by container and by device. Pure.

Entries are values; a change is a new entry put in the old one's place. Whoever puts one here also writes it to the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gateway.devices.identity import container_id
from gateway.devices.ledger import Entry
from gateway.pods.seams import Attempt, AttemptState, PodUid

KEPT_ATTEMPTS: Final = 5
"""Attempts of one container that are remembered; kubectl can ask for the last two."""

LIVE: Final = frozenset({AttemptState.INTENDED.value, AttemptState.RUNNING.value, AttemptState.STOPPING.value})


def is_live(entry: Entry) -> bool:
    return entry.state in LIVE


class Runs:
    """Every entry, by (uid, container, gen)."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._by_pod: dict[str, dict[str, dict[int, Entry]]] = {}
        self._by_wid: dict[tuple[str, int], Entry] = {}
        for entry in entries:
            self.put(entry)

    def put(self, entry: Entry) -> None:
        gens = self._by_pod.setdefault(entry.uid, {}).setdefault(entry.container, {})
        gens[entry.gen] = entry
        newest = self._by_wid.get((entry.device, entry.wid))
        if newest is None or newest.gen <= entry.gen or newest.uid != entry.uid:
            self._by_wid[entry.device, entry.wid] = entry
        for gen in sorted(gens)[:-KEPT_ATTEMPTS]:
            del gens[gen]

    def forget(self, uid: str) -> None:
        self._by_pod.pop(uid, None)
        self._by_wid = {key: entry for key, entry in self._by_wid.items() if entry.uid != uid}

    def forget_container(self, uid: str, container: str) -> None:
        self._by_pod.get(uid, {}).pop(container, None)
        self._by_wid = {key: entry for key, entry in self._by_wid.items() if (entry.uid, entry.container) != (uid, container)}

    def pods(self) -> list[PodUid]:
        return [PodUid(uid) for uid in self._by_pod]

    def containers(self, uid: str) -> dict[str, Entry]:
        """The newest entry of each container."""
        return {name: gens[max(gens)] for name, gens in self._by_pod.get(uid, {}).items() if gens}

    def get(self, uid: str, container: str, gen: int) -> Entry | None:
        return self._by_pod.get(uid, {}).get(container, {}).get(gen)

    def newest(self, uid: str, container: str) -> Entry | None:
        gens = self._by_pod.get(uid, {}).get(container)
        return gens[max(gens)] if gens else None

    def of_wid(self, device: str, wid: int, gen: int) -> Entry | None:
        """The entry of a run that a device names."""
        newest = self._by_wid.get((device, wid))
        return self.get(newest.uid, newest.container, gen) if newest is not None else None

    def live_on(self, device: str) -> list[Entry]:
        return [entry for entry in self._all() if entry.device == device and is_live(entry)]

    def attempts(self, uid: str) -> dict[str, Sequence[Attempt]]:
        """What the pod controller sees of a pod."""
        return {name: tuple(_attempt(gens[gen]) for gen in sorted(gens)) for name, gens in self._by_pod.get(uid, {}).items()}

    def _all(self) -> Iterator[Entry]:
        for containers in self._by_pod.values():
            for gens in containers.values():
                yield from gens.values()


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
    )
