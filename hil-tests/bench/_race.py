"""A pod race: so many pods are created at once with their node's name, seen Running, deleted and seen gone, by one watch.

Eight connections create and delete, because one would be the limit. The times are those at which the watch's lines were read.
"""

from __future__ import annotations

import contextlib
import copy
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from bench._cluster import Connection
from control_plane import ControlPlane

CREATORS: Final = 8
RACE_TIMEOUT_S: Final = 180.0
TERMINAL: Final = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds from the first request to the last pod; ended counts pods whose last version said how they ended."""

    running_s: float
    gone_s: float
    ended: int


@dataclass(slots=True)
class _Tally:
    """What the watch has shown of one race; notified when anything changed."""

    lock: threading.Condition = field(default_factory=threading.Condition)
    running: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    at: float = 0.0
    has_closed: bool = False

    def take(self, at: float, event: dict[str, Any]) -> None:
        pod = event["object"]
        name, phase = pod["metadata"]["name"], pod["status"].get("phase")
        with self.lock:
            if event["type"] == "DELETED":
                self.gone.add(name)
            elif phase == "Running" and "deletionTimestamp" not in pod["metadata"]:
                self.running.add(name)
            if phase in TERMINAL:
                self.ended.add(name)
            self.at = at
            self.lock.notify_all()

    def wait(self, names: set[str], count: int, what: str) -> float:
        """When the last of them was seen."""
        with self.lock:
            if not self.lock.wait_for(lambda: len(names) >= count or self.has_closed, RACE_TIMEOUT_S) or self.has_closed:
                raise RuntimeError(f"{len(names)} of {count} pods {what}")
            return self.at


class Racer:
    """Races in one namespace, one after another."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._control_plane = control_plane

    def run(self, names: Sequence[str], manifest: dict[str, Any], between: Callable[[], None] = lambda: None) -> Result:
        """manifest is any pod's; between is called while all of them run."""
        pods = [_named(manifest, name) for name in names]
        with self._watching() as tally:
            begun = self._send_all(lambda connection, number: connection.request("POST", self._path, pods[number]), len(names))
            running_s = tally.wait(tally.running, len(names), "are Running") - begun
            between()
            begun = self._send_all(lambda connection, number: connection.request("DELETE", f"{self._path}/{names[number]}"), len(names))
            gone_s = tally.wait(tally.gone, len(names), "are gone") - begun
            return Result(running_s, gone_s, len(tally.ended))

    def _send_all(self, send: Callable[[Connection, int], object], count: int) -> float:
        """When the first request was made; returns when the last is answered."""
        connections = [Connection(self._control_plane) for _ in range(CREATORS)]
        begun = time.monotonic()

        def send_some(first: int) -> None:
            for number in range(first, count, CREATORS):
                send(connections[first], number)

        try:
            with ThreadPoolExecutor(CREATORS) as pool:
                list(pool.map(send_some, range(CREATORS)))
        finally:
            for connection in connections:
                connection.close()
        return begun

    @contextlib.contextmanager
    def _watching(self) -> Iterator[_Tally]:
        connection = Connection(self._control_plane)
        version = connection.request("GET", f"{self._path}?limit=1")["metadata"]["resourceVersion"]
        stream = connection.open("GET", f"{self._path}?watch=1&resourceVersion={version}&timeoutSeconds=3600")
        tally = _Tally()

        def read() -> None:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # how http.client ends when its socket is shut down
                while line := stream.readline():
                    tally.take(time.monotonic(), json.loads(line))
            with tally.lock:
                tally.has_closed = True
                tally.lock.notify_all()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield tally
        finally:
            connection.end_reads()
            reader.join()
            connection.close()


def _named(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    pod = copy.deepcopy(manifest)
    pod["metadata"]["name"] = name
    return pod
