"""What may stand below `link: {ssh: ...}`, and what a person calls such a link. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from transports.driver import BadOption, DurationS

DEFAULT_PORT: Final = 22
MAX_PORT: Final = 65535
DEFAULT_KEEPALIVE: Final = DurationS(5.0)
MIN_KEEPALIVE_S: Final = 1.0
MAX_KEEPALIVE_S: Final = 300.0
"""Longer, and a router between forgets the connection before anybody asks."""
MAX_COMMAND_CHARS: Final = 4096
_HOST: Final = re.compile(r"[^\s/\[\]@\0]{1,253}")
"""A name or an address; the longest name of the DNS."""
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpOptions:
    """A host on the way. What it does not say is as for the target."""

    host: str
    user: str
    port: int = DEFAULT_PORT
    identity_file: str | None = None
    known_hosts: str | None = None

    def __post_init__(self) -> None:
        _check_place(self.host, self.user, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    host: str
    user: str
    known_hosts: str
    """The file with the host keys that are believed; there is no way to do without."""
    port: int = DEFAULT_PORT
    identity_file: str | None = None
    """A private key without a passphrase, which only its owner can read."""
    agent: str | None = None
    """The socket of an ssh-agent; `env`: the one of SSH_AUTH_SOCK."""
    jump: JumpOptions | None = None
    command: str = "exec /bin/sh"
    """What runs on the target at the other end of the pipe."""
    keepalive: DurationS = DEFAULT_KEEPALIVE
    """Silence of three of these is a lost link."""

    def __post_init__(self) -> None:
        _check_place(self.host, self.user, self.port)
        if self.identity_file is None and self.agent is None:
            raise ValueError("needs identityFile, or agent: Wirelet logs in by a key")
        if not MIN_KEEPALIVE_S <= self.keepalive <= MAX_KEEPALIVE_S:
            raise BadOption("keepalive", f"must be {MIN_KEEPALIVE_S:g}s to {MAX_KEEPALIVE_S:g}s, not {self.keepalive:g}s")
        if not self.command.strip() or "\0" in self.command or len(self.command) > MAX_COMMAND_CHARS:
            raise BadOption("command", f"must be a command of at most {MAX_COMMAND_CHARS} characters")


@dataclass(frozen=True, slots=True)
class Hop:
    """One machine to log in to, with everything that is needed for it."""

    host: str
    port: int
    user: str
    identity_file: str | None
    known_hosts: str

    @property
    def name(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user}@{host}" + (f":{self.port}" if self.port != DEFAULT_PORT else "")

    @property
    def known_as(self) -> str:
        """How known_hosts writes it."""
        return self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"


def hops(options: SshOptions) -> tuple[Hop, ...]:
    """The machines on the way, the target last."""
    target = Hop(options.host, options.port, options.user, options.identity_file, options.known_hosts)
    jump = options.jump
    if jump is None:
        return (target,)
    key, known = jump.identity_file or options.identity_file, jump.known_hosts or options.known_hosts
    return Hop(jump.host, jump.port, jump.user, key, known), target


def _check_place(host: str, user: str, port: int) -> None:
    if not _HOST.fullmatch(host):
        raise BadOption("host", f"must be a name or an address such as rack2.lab, not {host!r}")
    if not _USER.fullmatch(user):
        raise BadOption("user", f"must be the name of a user, not {user!r}")
    if not 1 <= port <= MAX_PORT:
        raise BadOption("port", f"must be 1 to {MAX_PORT}, not {port}")
