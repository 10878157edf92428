"""A bench's seat at the API server: one connection that stays open, and one watch whose events are stamped as they arrive."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from control_plane import ControlPlane

EVENT_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A watch event and when its line was read, by time.monotonic()."""

    at: float
    kind: str
    object: dict[str, Any]


class Connection:
    """Requests one after another as an administrator, without a TLS handshake for each."""

    def __init__(self, control_plane: ControlPlane) -> None:
        pair = control_plane.client_certificate("bench", ["system:masters"])
        tls = ssl.create_default_context(cafile=str(control_plane.client_ca_file))
        tls.load_cert_chain(pair.cert, pair.key)
        address = urlsplit(control_plane.server)
        self._http = http.client.HTTPSConnection(address.hostname or "", address.port, context=tls)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The answer; anything but success ends the bench."""
        response = self.open(method, path, body)
        answer: dict[str, Any] = json.loads(response.read())
        return answer

    def open(self, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        self._http.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        response = self._http.getresponse()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {response.status} {response.read().decode()}")
        return response

    def end_reads(self) -> None:
        """A read of another thread ends; close() is for when it has."""
        with contextlib.suppress(OSError):  # the server may have closed it
            self._http.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._http.close()


class PodWatch:
    """The pods of one namespace from now on; one thread reads and stamps."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._connection = Connection(control_plane)
        path = f"/api/v1/namespaces/{namespace}/pods"
        version = self._connection.request("GET", path)["metadata"]["resourceVersion"]
        self._stream = self._connection.open("GET", f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=3600")
        self._seen: queue.SimpleQueue[Seen | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, name: str, met: Callable[[Seen], Any], what: str) -> float:
        """When the first event of this pod that met answers was read. Earlier events are gone for good."""
        deadline = time.monotonic() + EVENT_TIMEOUT_S
        while True:
            try:
                seen = self._seen.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise RuntimeError(f"{name}: {what} was not seen within {EVENT_TIMEOUT_S:g} s") from None
            if seen is None:
                raise RuntimeError(f"{name}: the watch ended before {what}")
            if seen.object["metadata"]["name"] == name and met(seen):
                return seen.at

    def close(self) -> None:
        self._connection.end_reads()
        self._reader.join()
        self._connection.close()

    def _read(self) -> None:
        # Shut down in the middle of a read, http.client ends in either of these or at an empty line.
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while line := self._stream.readline():
                at = time.monotonic()
                event = json.loads(line)
                self._seen.put(Seen(at, event["type"], event["object"]))
        self._seen.put(None)


@contextlib.contextmanager
def seat(control_plane: ControlPlane, namespace: str) -> Iterator[tuple[Connection, PodWatch]]:
    connection = Connection(control_plane)
    watch = PodWatch(control_plane, namespace)
    try:
        yield connection, watch
    finally:
        watch.close()
        connection.close()
