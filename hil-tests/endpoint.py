"""One server on a loopback port, asked by short-lived HTTP requests: for set-up and readiness, where kubectl would be slow."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pki import KeyPair

REQUEST_TIMEOUT_S: Final = 60.0


class Endpoint:
    """127.0.0.1:port; TLS with the client certificate when there is a ca, else plain."""

    def __init__(self, port: int, ca: Path | None = None, client: KeyPair | None = None) -> None:
        self.port = port
        self._tls: ssl.SSLContext | None = None
        if ca:
            self._tls = ssl.create_default_context(cafile=str(ca))
            if client:
                self._tls.load_cert_chain(client.cert, client.key)

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """(status, decoded JSON or text). Raises OSError or HTTPException when nobody answers properly."""
        with contextlib.closing(self._connection()) as connection:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            answer = response.read().decode()
            return response.status, json.loads(answer) if answer.startswith("{") else answer

    def is_ok(self, path: str) -> bool:
        """GET path answers 200."""
        # OSError: nobody listens yet. The other: it listens and drops the connection.
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", path)[0] == http.HTTPStatus.OK
        return False

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, context=self._tls, timeout=REQUEST_TIMEOUT_S)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT_S)
