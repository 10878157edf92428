"""The serving certificate and who may be a client: TLS 1.2 or newer, HTTP/1.1, certificates of clients checked against the client CA.

The files are looked at again while serving, so a renewed certificate or CA is used for the next connection without a restart. Without
configured files a self-signed certificate is made by a short-lived process of its own (gateway.kubelet.selfsigned: the library for it
takes 10 MiB, which go away with the process). Key files that others may read are refused.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import anyio
from anyio import to_thread

from gateway.errors import ConfigError

_logger = logging.getLogger(__name__)

CHECK_INTERVAL_S: Final = 10.0
"""How long a replaced file may stay unnoticed."""
SELF_SIGNED_CERT: Final = "serving-self-signed.crt"
SELF_SIGNED_KEY: Final = "serving-self-signed.key"
SELF_SIGNED_FACTS: Final = "serving-self-signed.json"
"""What the certificate says, so that nothing has to parse X.509 here; written last, so it vouches for the other two."""
_RENEW_BEFORE_S: Final = 30 * 86400.0
_GENERATION_DEADLINE_S: Final = 60.0
"""A cold start of Python and the library on a small board takes seconds."""

_Stamps = tuple[tuple[int, int, int], ...]


@dataclass(eq=False)
class ServingTls:
    """The TLS side of the HTTPS port. `context` is the source that HttpServer asks."""

    cert_file: Path
    key_file: Path
    client_ca: Path | None = None
    """Without it no client certificate is asked for; tokens are the only way in."""
    is_self_signed: bool = False
    check_interval_s: float = CHECK_INTERVAL_S
    _context: ssl.SSLContext = field(init=False)
    _stamps: _Stamps = field(init=False)
    _checked_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Reads the files. Raises ConfigError that names the key of the configuration."""
        self._stamps = self._look()
        self._context = self._build()

    async def context(self) -> ssl.SSLContext:
        """The context for the next connection. A replacement that cannot be used is logged, and the one before stays."""
        now = anyio.current_time()
        if now - self._checked_at >= self.check_interval_s:
            self._checked_at = now
            await to_thread.run_sync(self._refresh)
        return self._context

    def _refresh(self) -> None:
        try:
            stamps = self._look()
            if stamps == self._stamps:
                return
            self._context, self._stamps = self._build(), stamps
            _logger.info("the serving certificate or the client CA was replaced")
        except ConfigError as error:
            # A pair is replaced one file after the other: the next look will find it whole.
            _logger.warning("keeping the serving certificate in use: %s", error)

    def _look(self) -> _Stamps:
        files = [("server.certFile", self.cert_file), ("server.keyFile", self.key_file)]
        if self.client_ca is not None:
            files.append(("server.clientCA", self.client_ca))
        return tuple(_stamp(key, path) for key, path in files)

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A resumed session would keep a client in that a new client CA no longer knows.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            _refuse_shared_key(self.key_file)
            context.load_cert_chain(self.cert_file, self.key_file, password=lambda: _no_password(self.key_file))
        except ssl.SSLError as error:
            reason = "do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "are not a PEM certificate and its key"
            raise ConfigError([("server.certFile", f"{self.cert_file} and {self.key_file} {reason}")]) from error
        except OSError as error:  # OpenSSL does not say which of the two
            files = f"{self.cert_file} or {self.key_file}"
            raise ConfigError([("server.certFile", f"{files} cannot be read by the gateway's user: {error.strerror}")]) from error
        if self.client_ca is not None:
            _trust_clients(context, self.client_ca)
        return context


async def serving_tls(
    *, cert_file: str | None, key_file: str | None, client_ca: str | None, state_directory: Path, node_name: str, addresses: Sequence[str]
) -> ServingTls:
    """The TLS side as configured; without certFile a self-signed certificate for node_name and addresses, kept in state_directory.

    Raises ConfigError.
    """
    ca = None if client_ca is None else Path(client_ca)
    if cert_file is not None and key_file is not None:
        return await to_thread.run_sync(lambda: ServingTls(Path(cert_file), Path(key_file), ca))
    await to_thread.run_sync(_ensure_self_signed, state_directory, node_name, tuple(addresses))
    cert, key = state_directory / SELF_SIGNED_CERT, state_directory / SELF_SIGNED_KEY
    return await to_thread.run_sync(lambda: ServingTls(cert, key, ca, is_self_signed=True))


def _ensure_self_signed(directory: Path, node_name: str, addresses: tuple[str, ...]) -> None:
    if _still_good(directory, node_name, addresses):
        return
    # -P: the working directory must not be able to replace our modules.
    command = [sys.executable, "-P", "-m", "gateway.kubelet.selfsigned", str(directory), node_name, *addresses]
    try:
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_GENERATION_DEADLINE_S)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ConfigError([("stateDirectory", f"cannot make a serving certificate in {directory}: {lines[-1]}")]) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError([("stateDirectory", f"making a serving certificate took over {_GENERATION_DEADLINE_S:g} s")]) from error


def _still_good(directory: Path, node_name: str, addresses: tuple[str, ...]) -> bool:
    try:
        facts = json.loads((directory / SELF_SIGNED_FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not (directory / SELF_SIGNED_CERT).exists() or not (directory / SELF_SIGNED_KEY).exists():
        return False
    same = facts.get("nodeName") == node_name and facts.get("addresses") == list(addresses)
    return bool(same and facts.get("notBefore", 0) <= time.time() < facts.get("notAfter", 0) - _RENEW_BEFORE_S)


def _stamp(key: str, path: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise ConfigError([(key, f"cannot read {path}: {error.strerror}")]) from error
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _refuse_shared_key(path: Path) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        raise ConfigError([("server.keyFile", f"{path} may be used by others (mode {mode:04o}); make it private: chmod 600 {path}")])


def _no_password(path: Path) -> NoReturn:
    """Without this, OpenSSL would ask on the terminal."""
    raise ConfigError([("server.keyFile", f"{path} is encrypted; a key without a password is needed")])


def _trust_clients(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise ConfigError([("server.clientCA", f"{client_ca} holds no PEM certificate")]) from error
    except OSError as error:
        raise ConfigError([("server.clientCA", f"cannot read {client_ca}: {error.strerror}")]) from error
    # As Go: every certificate in the file is a root, also an intermediate one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_OPTIONAL
