"""A small blocking client for the gateway's unix socket. Failures are GatewayUnreachable or GatewayRefused, one line each."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

TIMEOUT_S: Final = 30.0
"""For answers that are whole. A followed log may be silent for ever."""
PIECE_BYTES: Final = 65536
SEE: Final = "see what there is: wirelet get pods -A -o wide"
"""The next step of whoever has asked for what is not there."""
_LEFT: Final = "the gateway left in the middle of the {what}; it has stopped or was restarted: ask again when it runs"


class ClientError(Exception):
    """Base of the two; never raised itself. The text is one line for the person at the terminal."""


class GatewayUnreachable(ClientError):
    """Nobody answers on the socket."""


class GatewayRefused(ClientError):
    """The gateway answered, and not with 200."""


def add_socket_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--socket", metavar="PATH", type=Path, help="the gateway's socket (default: $WIRELET_SOCKET, else where it is by default)"
    )


def socket_path(flag: Path | None, environment: Mapping[str, str] = os.environ, *, user_id: int | None = None) -> Path:
    """The flag, else WIRELET_SOCKET, else where a gateway of this user puts it (gateway.directories)."""
    if flag is not None:
        return flag
    if environment.get("WIRELET_SOCKET"):
        return Path(environment["WIRELET_SOCKET"])
    user = os.geteuid() if user_id is None else user_id
    if user == 0:
        return Path("/run/wirelet/wirelet.sock")
    if "XDG_RUNTIME_DIR" in environment:
        return Path(environment["XDG_RUNTIME_DIR"]) / "wirelet" / "wirelet.sock"
    return Path(f"/dev/shm/wirelet-{user}") / "wirelet.sock"


@dataclass(frozen=True, slots=True)
class Loan:
    """What the gateway tells somebody who has a device's port now."""

    port: str
    fence: Path
    """A file to lock, and to leave locked to the program: so the next gateway knows of the loan when this one is killed."""


class Client:
    """Requests to one gateway; a connection for each."""

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        """timeout_s is for answers that are whole."""
        self._path = path
        self._timeout_s = timeout_s

    @property
    def path(self) -> Path:
        return self._path

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The rows of /wirelet/<kind>."""
        with self._answer(f"/wirelet/{kind}", self._timeout_s) as answer, _told_when_it_leaves("answer"):
            text = answer.read()
        return list(self._said(text).get("items", []))

    def pieces(self, path: tuple[str, ...], query: Mapping[str, str], *, follow: bool) -> Iterator[bytes]:
        """The body of a log, as it comes. path is given in segments, unquoted."""
        target = "/" + "/".join(quote(segment, safe="") for segment in path)
        with self._answer(f"{target}?{urlencode(query)}" if query else target, None if follow else self._timeout_s) as answer:
            while True:
                with _told_when_it_leaves("log"):
                    piece = answer.read1(PIECE_BYTES)
                if not piece:
                    break
                yield piece
            if not answer.isclosed():
                raise GatewayUnreachable(_LEFT.format(what="log"))

    def do(self, device: str, what: str) -> None:
        """Reset a device, or switch its power; returns when it is done, which a hook of the class may take as long for as it wants."""
        with self._answer(f"/wirelet/devices/{quote(device, safe='')}/{what}", None, "POST") as answer, _told_when_it_leaves("work"):
            answer.read()

    @contextmanager
    def lent(self, device: str, borrower: str, link: str = "") -> Iterator[Loan]:
        """Nobody else uses the device's port inside, or that of its further link. Raises GatewayRefused."""
        query = urlencode({"borrower": borrower, "link": link})
        with self._answer(f"/wirelet/devices/{quote(device, safe='')}/lend?{query}", None, "POST") as answer:
            with _told_when_it_leaves("answer"):
                line = answer.readline()
            told = self._said(line or b"{}")
            if "port" not in told:
                raise GatewayRefused(told.get("error", "the gateway left before it lent the device; try again when it runs"))
            yield Loan(str(told["port"]), Path(told["fence"]))

    @contextmanager
    def _answer(self, target: str, timeout_s: float | None, method: str = "GET") -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self._path, timeout_s)
        try:
            try:
                connection.request(method, target)
                answer = connection.getresponse()
            except (http.client.HTTPException, OSError) as error:
                raise GatewayUnreachable(self.why(error)) from error
            with answer:
                if answer.status != 200:
                    text = answer.read(PIECE_BYTES).decode(errors="replace").strip()
                    raise GatewayRefused(text or f"the gateway answered {answer.status}")
                yield answer
        finally:
            connection.close()

    def _said(self, text: bytes) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise GatewayUnreachable(f"what answers at {self._path} is no gateway; is --socket its socket?")
        return found

    def why(self, error: Exception) -> str:
        """Why nobody answers, and what to do."""
        match error:
            case FileNotFoundError() | NotADirectoryError():
                return f"no gateway at {self._path}; start one with `wirelet run`, or name its socket with --socket or WIRELET_SOCKET"
            case ConnectionRefusedError() if not self._path.is_socket():
                return f"{self._path} is no socket; name that of the gateway with --socket or WIRELET_SOCKET"
            case ConnectionRefusedError():
                return f"the gateway of {self._path} is not running; start it with `wirelet run`, or name another with --socket"
            case PermissionError():
                return f"you may not use {self._path}; run this as the user the gateway runs as"
            case TimeoutError():
                return f"the gateway at {self._path} did not answer within {self._timeout_s:g} s; look at its log, and try again"
            case _:
                why = " ".join(str(error).split()) or type(error).__name__
                return f"cannot talk to the gateway at {self._path}: {why}; is --socket its socket?"


@contextmanager
def _told_when_it_leaves(what: str) -> Iterator[None]:
    try:
        yield
    except (http.client.HTTPException, OSError) as error:
        raise GatewayUnreachable(_LEFT.format(what=what)) from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("localhost")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(os.fspath(self._path))
