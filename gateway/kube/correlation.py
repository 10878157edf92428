"""Which events are written, and how: client-go's correlation (tools/record/events_cache.go). Pure: events and `now` in, writes out.

1. Aggregate: from the tenth different message of one object, kind and reason within ten minutes on, they become one event.
2. Count: an event that was written before is a PATCH of its count.
3. Limit: 25 in a burst for each object and kind, then one in five minutes; the rest is dropped and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

MAX_SIMILAR: Final = 10
SIMILAR_INTERVAL_S: Final = 600.0
BURST: Final = 25
REFILL_PER_S: Final = 1 / 300
CACHE_ENTRIES: Final = 1024
"""client-go keeps 4096; a pod has four events, so this remembers the last 250 pods and saves 3.5 MiB."""
MAX_MESSAGE_BYTES: Final = 1024
"""events.k8s.io refuses more."""
COMBINED: Final = "(combined from similar events): "


@dataclass(frozen=True, slots=True)
class InvolvedObject:
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    field_path: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, before anyone knows whether it happened before."""

    involved: InvolvedObject
    kind: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EventWrite:
    """One request. count 1 makes the event of this name, more patches it; a PATCH that finds nothing makes it again."""

    event: Event
    name: str
    count: int
    first_s: float
    last_s: float
    """Unix times."""


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Recent(Generic[Key, Value]):
    """The most recently used entries of a mapping."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    last_s: float = 0.0


@dataclass(slots=True)
class _Written:
    name: str
    count: int
    first_s: float


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class Correlator:
    """Not more than CACHE_ENTRIES objects are remembered of each kind."""

    def __init__(self) -> None:
        self._similar: _Recent[tuple[object, ...], _Similar] = _Recent(CACHE_ENTRIES)
        self._written: _Recent[tuple[object, ...], _Written] = _Recent(CACHE_ENTRIES)
        self._buckets: _Recent[tuple[object, ...], _Bucket] = _Recent(CACHE_ENTRIES)
        self._last_stamp_ns = 0
        self.dropped = 0
        """Events that the limit held back."""

    def correlate(self, event: Event, now_s: float) -> EventWrite | None:
        """None: this one is not written."""
        event, key = self._aggregate(event, now_s)
        written = self._written.get(key)
        if written is None:
            written = _Written(self._name(event.involved.name, now_s), 0, now_s)
        written.count += 1
        self._written.put(key, written)
        if not self._accept(event, now_s):
            self.dropped += 1
            return None
        return EventWrite(event, written.name, written.count, written.first_s, now_s)

    def _aggregate(self, event: Event, now_s: float) -> tuple[Event, tuple[object, ...]]:
        key = (*_whose(event), event.reason)
        similar = self._similar.get(key)
        if similar is None or now_s - similar.last_s > SIMILAR_INTERVAL_S:
            similar = _Similar()
        similar.messages.add(event.message)
        similar.last_s = now_s
        self._similar.put(key, similar)
        if len(similar.messages) < MAX_SIMILAR:
            return event, (*key, event.involved.field_path, event.message)
        similar.messages.pop()
        return Event(event.involved, event.kind, event.reason, clean(COMBINED + event.message)), key

    def _accept(self, event: Event, now_s: float) -> bool:
        key = _whose(event)
        bucket = self._buckets.get(key) or _Bucket(BURST, now_s)
        bucket.tokens = min(BURST, bucket.tokens + max(0.0, now_s - bucket.at_s) * REFILL_PER_S)
        bucket.at_s = now_s
        self._buckets.put(key, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _name(self, involved: str, now_s: float) -> str:
        """As client-go names them; the stamp is made unique, because several events happen in one tick of a coarse clock."""
        self._last_stamp_ns = max(self._last_stamp_ns + 1, int(now_s * 1e9))
        return f"{involved[:200].rstrip('.-')}.{self._last_stamp_ns:x}"


def _whose(event: Event) -> tuple[str, ...]:
    """All containers of a pod are one object here."""
    involved = event.involved
    return (involved.api_version, involved.kind, involved.namespace, involved.name, involved.uid, event.kind)


def clean(text: str) -> str:
    """Fit for an event: no control bytes (device text ends here), one line, at most MAX_MESSAGE_BYTES."""
    line = text if text.isprintable() else "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    encoded = line.encode("utf-8", "replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[: MAX_MESSAGE_BYTES - 3].decode("utf-8", "ignore") + "..."
