"""What a list and a watch have told so far, and what changed by it. Pure: answers go in, changes come out.

Objects are keyed by uid: a pod that is deleted and made again under the same name is another pod. The newest version of an object wins,
whoever brought it, so the answer to our own PATCH counts at once and its echo in the watch is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.kube.watch import WatchEvent, WatchKind
from gateway.pods.seams import JsonObject


@dataclass(frozen=True, slots=True)
class Added:
    object: JsonObject


@dataclass(frozen=True, slots=True)
class Modified:
    object: JsonObject


@dataclass(frozen=True, slots=True)
class Deleted:
    """object is the last that was known of it."""

    object: JsonObject


@dataclass(frozen=True, slots=True)
class Synced:
    """The store holds what the server holds: from now on a missing object is gone."""


Change = Added | Modified | Deleted | Synced


def uid_of(obj: JsonObject) -> str:
    return str((obj.get("metadata") or {}).get("uid", ""))


def version_of(obj: JsonObject) -> str:
    return str((obj.get("metadata") or {}).get("resourceVersion", ""))


def is_newer(version: str, known: str) -> bool:
    """Resource versions are compared as numbers, as Kubernetes 1.35 and later promise; anything else counts as newer."""
    if version.isdecimal() and known.isdecimal():
        return int(version) > int(known)
    return version != known


class Store:
    """slim is applied to every object at the door."""

    def __init__(self, slim: Callable[[JsonObject], JsonObject] = lambda obj: obj) -> None:
        self._slim = slim
        self._objects: dict[str, JsonObject] = {}
        self._gone: set[str] = set()
        """Forgotten before the watch said so: what it still tells about them is older than that."""
        self._absent: frozenset[str] | None = None
        self._synced = False

    @property
    def synced(self) -> bool:
        return self._synced

    def objects(self) -> Sequence[JsonObject]:
        return tuple(self._objects.values())

    def get(self, uid: str) -> JsonObject | None:
        return self._objects.get(uid)

    def confirm(self, obj: JsonObject) -> None:
        """The answer to a write of ours: no change to tell, and the object is not revived if it went meanwhile."""
        known = self._objects.get(uid_of(obj))
        if known is not None and is_newer(version_of(obj), version_of(known)):
            self._objects[uid_of(obj)] = self._slim(obj)

    def forget(self, uid: str) -> list[Change]:
        """The object of this uid is known to be gone, before the watch says so."""
        gone = self._objects.pop(uid, None)
        if gone is None:
            return []
        self._gone.add(uid)
        return [Deleted(gone)]

    def apply(self, event: WatchEvent) -> list[Change]:
        """One event of a watch; a bookmark changes nothing."""
        match event.kind:
            case WatchKind.BOOKMARK:
                return []
            case WatchKind.DELETED:
                changes = self.forget(uid_of(event.object))
                self._gone.discard(uid_of(event.object))
                return changes
            case WatchKind.ADDED | WatchKind.MODIFIED:
                return self._put(event.object)

    def replace(self, items: Iterable[JsonObject]) -> tuple[list[Change], bool]:
        """One whole list. The flag says that the list has to be read again: an object counts as gone only when two lists in a row lack
        it, and the store is in sync only after the second list of its life."""
        listed = list(items)
        self._gone.clear()  # a list is newer than whatever made us forget
        changes = [change for item in listed for change in self._put(item)]
        absent = self._objects.keys() - {uid_of(item) for item in listed}
        before, self._absent = self._absent, None
        confirmed = absent & before if before is not None else frozenset[str]()
        changes += [Deleted(self._objects.pop(uid)) for uid in confirmed]
        again = bool(absent - confirmed) or (before is None and not self._synced)
        if again:
            self._absent = frozenset(absent - confirmed)
        else:
            self._synced = True
            changes.append(Synced())
        return changes, again

    def _put(self, obj: JsonObject) -> list[Change]:
        uid = uid_of(obj)
        if not uid or uid in self._gone:
            return []
        known = self._objects.get(uid)
        if known is not None and not is_newer(version_of(obj), version_of(known)):
            return []
        self._objects[uid] = self._slim(obj)
        return [Added(self._objects[uid])] if known is None else [Modified(self._objects[uid])]
