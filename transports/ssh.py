"""A command on a machine with sshd as a Link: its standard input and output are the pipe. With transports.ssh_command the only door to
asyncssh.

What the command says on its standard error is no part of the pipe: its last line tells why it ended. Host keys are always checked, files
are read in a thread, and every step of a login has a deadline. A connection carries one command; nothing here knows what it speaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel
import asyncssh

from transports.blocking import BlockingCalls
from transports.errors import LinkError, LinkLost, LinkNotFound, LinkPermissionDenied, LinkTimeout
from transports.link import MAX_READ_BYTES, TerminalSize
from transports.ssh_command import SshCommand
from transports.ssh_keys import agent_socket, read_known_hosts, read_private_key
from transports.ssh_options import Hop, SshOptions, hops
from transports.tcp_link import connect_error, connect_first, look_up

FILES_DEADLINE_S: Final = 3.0
LOGIN_DEADLINE_S: Final = 8.0
"""For each machine on the way: name, connection, keys, login. sshd itself may take seconds on a small target."""
COMMAND_DEADLINE_S: Final = 5.0
CLOSE_DEADLINE_S: Final = 1.0
KEEPALIVE_TRIES: Final = 3
LOGINS_AT_ONCE: Final = 8
"""To one machine: an untouched sshd begins to drop at ten that are not logged in yet (MaxStartups)."""
MAX_UNREAD_BYTES: Final = 1 << 18
"""Then the channel's window closes, and the command waits."""
PIECE_BYTES: Final = 32768
"""What a packet carries."""
MAX_STDERR_BYTES: Final = 512

asyncssh.set_log_level("WARNING")

_NO_KEY: Final = (ValueError, OverflowError, re.error)
"""What a damaged file comes to: asyncssh lets through what reading its numbers and its first line raises."""

_Gates = dict[str, asyncio.Semaphore]
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gates] = WeakKeyDictionary()


class SshLinkOpener:
    """Logs in and starts the command, again and again. Key and known hosts are read anew at each attempt."""

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        self._hops = hops(options)
        self._name = self._hops[-1].name
        self._calls = BlockingCalls(self._name)

    @property
    def name(self) -> str:
        return self._name

    async def open(self) -> SshLink:
        """Raises LinkNotFound, LinkPermissionDenied, LinkTimeout, or LinkError, as for a host key that is not known."""
        connections: list[asyncssh.SSHClientConnection] = []
        try:
            for hop in self._hops:
                connections.append(await self._log_in(hop, connections))
            return await self._start(connections)
        except BaseException:
            for connection in reversed(connections):
                connection.abort()
            raise

    async def _log_in(self, hop: Hop, before: Sequence[asyncssh.SSHClientConnection]) -> asyncssh.SSHClientConnection:
        keys, known = await self._calls.run("reading of the keys", lambda: self._read_files(hop), deadline_s=FILES_DEADLINE_S)
        client = _Client(known)
        async with _gate(hop):
            with anyio.move_on_after(LOGIN_DEADLINE_S), _told_as_link_error(hop, client):
                async with _agent_keys(self._options.agent) as agent_keys:
                    login = functools.partial(self._connect, hop, client, [*keys, *agent_keys], known)
                    return await (login(tunnel=before[-1]) if before else self._connect_by_tcp(hop, login))
        raise LinkTimeout(f"{hop.name}: no {client.step} within {LOGIN_DEADLINE_S:g} s")

    async def _connect_by_tcp(
        self, hop: Hop, login: Callable[..., Awaitable[asyncssh.SSHClientConnection]]
    ) -> asyncssh.SSHClientConnection:
        addresses = await look_up(self._calls, hop.name, hop.host, hop.port, deadline_s=LOGIN_DEADLINE_S)
        connected = await connect_first(hop.name, addresses, lambda made: made.setblocking(False))
        try:
            return await login(connected=connected)
        except BaseException:
            connected.close()
            raise

    async def _connect(
        self,
        hop: Hop,
        client: _Client,
        keys: Sequence[asyncssh.SSHKey | asyncssh.SSHKeyPair],
        known: asyncssh.SSHKnownHosts,
        *,
        tunnel: asyncssh.SSHClientConnection | None = None,
        connected: socket.socket | None = None,
    ) -> asyncssh.SSHClientConnection:
        """Nothing of the user's own ~/.ssh counts: neither its configuration nor its keys."""
        return await asyncssh.connect(
            hop.host,
            hop.port,
            tunnel=tunnel,
            sock=connected,
            config=None,
            client_factory=lambda: client,
            known_hosts=known,
            username=hop.user,
            client_keys=keys,
            agent_path=None,
            password=None,
            preferred_auth="publickey",
            gss_host=None,
            compression_algs=None,
            keepalive_interval=self._options.keepalive,
            keepalive_count_max=KEEPALIVE_TRIES,
            login_timeout=0,
        )

    @staticmethod
    def _read_files(hop: Hop) -> tuple[list[asyncssh.SSHKey], asyncssh.SSHKnownHosts]:
        try:
            known = asyncssh.import_known_hosts(read_known_hosts(hop.known_hosts))
        except ValueError as error:
            raise LinkError(f"knownHosts {hop.known_hosts}: {error}") from error
        path = hop.identity_file
        if path is None:
            return [], known
        data = read_private_key(path)
        try:
            return [asyncssh.import_private_key(data)], known
        except asyncssh.KeyEncryptionError as error:
            raise LinkError(f"identityFile {path} has a passphrase; give it to an ssh-agent and write agent: instead") from error
        except _NO_KEY as error:
            if b"ENCRYPTED" in data or "assphrase" in str(error):
                raise LinkError(f"identityFile {path} has a passphrase; give it to an ssh-agent and write agent: instead") from error
            raise LinkError(f"identityFile {path} is no private key: {error}") from error

    async def _start(self, connections: list[asyncssh.SSHClientConnection]) -> SshLink:
        pipe = _Pipe()
        with anyio.move_on_after(COMMAND_DEADLINE_S):
            try:
                await connections[-1].create_session(lambda: pipe, self._options.command, encoding=None)
            except (asyncssh.ChannelOpenError, asyncssh.DisconnectError, OSError) as error:
                raise LinkError(f"{self._name}: logged in, but the command was not started: {error}") from error
            return SshLink(self._name, connections, pipe)
        raise LinkTimeout(f"{self._name}: logged in, but the command was not started within {COMMAND_DEADLINE_S:g} s")


class SshLink:
    """One command: a Link."""

    def __init__(self, name: str, connections: list[asyncssh.SSHClientConnection], pipe: _Pipe) -> None:
        self._name = name
        self._connections = connections
        self._pipe = pipe
        self._is_closed = False

    @property
    def name(self) -> str:
        return self._name

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        await anyio.lowlevel.checkpoint()  # a command that floods must leave others their turn
        while True:
            if not self._is_closed and (data := self._pipe.take(max_bytes)):
                return data
            self._raise_if_lost()
            await self._pipe.moved.wait()

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        rest = memoryview(data)
        while True:
            while self._pipe.is_full and self._pipe.lost is None and not self._is_closed:
                await self._pipe.moved.wait()
            self._raise_if_lost()
            if not rest:
                return
            try:
                self._pipe.write(bytes(rest[:PIECE_BYTES]))
            except OSError as error:
                raise LinkLost(f"{self._name}: {error.strerror or error}") from error
            rest = rest[PIECE_BYTES:]

    async def run(self, command: str, terminal: tuple[str, TerminalSize] | None) -> SshCommand:
        """See transports.link.CommandLink. An untouched sshd takes nine beside ours (MaxSessions)."""
        self._raise_if_lost()
        started = SshCommand(self._name)
        term, size = terminal if terminal is not None else ("", None)
        with anyio.move_on_after(COMMAND_DEADLINE_S):
            try:
                await self._connections[-1].create_session(
                    lambda: started,
                    command,
                    encoding=None,
                    request_pty="force" if terminal is not None else False,
                    term_type=term or None,
                    term_size=size or (),
                )
            except asyncssh.ChannelOpenError as error:
                raise LinkError(f"{self._name}: no more commands at once: {error}; MaxSessions of its sshd bounds them") from error
            except (asyncssh.DisconnectError, OSError) as error:
                raise LinkError(f"{self._name}: the command was not started: {error}") from error
            return started
        raise LinkTimeout(f"{self._name}: the command was not started within {COMMAND_DEADLINE_S:g} s")

    async def aclose(self) -> None:
        """Unsent bytes are dropped; the command sees the end of its input."""
        if self._is_closed:
            return
        self._is_closed = True
        self._pipe.ring()
        for connection in reversed(self._connections):
            connection.abort()
        with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
            for connection in reversed(self._connections):
                await connection.wait_closed()

    def _raise_if_lost(self) -> None:
        if self._is_closed:
            raise LinkLost(f"{self._name}: closed")
        if self._pipe.lost is not None:
            raise LinkLost(f"{self._name}: {self._pipe.lost}")


class _Pipe(asyncssh.SSHClientSession[bytes]):
    """The channel's callbacks: bytes that came, and why no more will."""

    def __init__(self) -> None:
        self.lost: str | None = None
        self.is_full = False
        """What was written last is still on its way."""
        self.moved = anyio.Event()
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._is_paused = False
        self._stderr = b""
        self._ended = ""

    def take(self, max_bytes: int) -> bytes:
        """The next bytes; nothing when there are none now."""
        if not self._unread:
            return b""
        data = self._unread.popleft()
        if len(data) > max_bytes:
            self._unread.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._unread_bytes -= len(data)
        if self._is_paused and self._unread_bytes < MAX_UNREAD_BYTES // 2 and self._channel is not None:
            self._is_paused = False
            self._channel.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        """Raises OSError when the channel is closed."""
        if self._channel is not None:
            self._channel.write(data)

    def ring(self) -> None:
        self.moved.set()
        self.moved = anyio.Event()

    # -- asyncssh.SSHClientSession

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        chan.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._stderr = (self._stderr + data)[-MAX_STDERR_BYTES:]
            return
        self._unread.append(data)
        self._unread_bytes += len(data)
        if not self._is_paused and self._unread_bytes > MAX_UNREAD_BYTES and self._channel is not None:
            self._is_paused = True
            self._channel.pause_reading()
        self.ring()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self.ring()

    def exit_status_received(self, status: int) -> None:
        self._ended = f"the command ended with status {status}"

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._ended = f"the command was ended by signal {signal}"

    def eof_received(self) -> bool:
        """False: a command that says no more is of no use, and the channel closes both ways."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self._why(exc)
        self.ring()

    def _why(self, error: Exception | None) -> str:
        if error is not None:
            return f"the connection was lost: {error or type(error).__name__}"
        said = self._stderr.decode("utf-8", "replace").strip().splitlines()
        words = "".join(c if c.isprintable() else " " for c in said[-1]) if said else ""
        ended = self._ended or "the command closed its output"
        return f"{ended}: {words}" if words else ended


class _Client(asyncssh.SSHClient):
    """Follows one login, for the words of an error."""

    def __init__(self, known: asyncssh.SSHKnownHosts) -> None:
        self.step = "connection"
        self.refused_key: asyncssh.SSHKey | None = None
        self.known_keys: list[asyncssh.SSHKey] = []
        self._known = known

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.step = "login"

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked for a key that is not known for the host; the answer is no."""
        trusted: Sequence[Any] = asyncssh.match_known_hosts(self._known, host, addr, port)[0]
        self.refused_key, self.known_keys = key, list(trusted)
        return False


@contextlib.asynccontextmanager
async def _agent_keys(agent: str | None) -> AsyncIterator[Sequence[asyncssh.SSHKeyPair]]:
    """The keys of an agent, which it uses for us while we are here. Raises LinkError."""
    path = agent_socket(agent)
    if path is None:
        yield ()
        return
    try:
        client = await asyncssh.connect_agent(path)
    except OSError as error:
        raise LinkError(f"agent {path}: {error.strerror or error}") from error
    async with client:
        try:
            keys = await client.get_keys()
        except ValueError as error:  # how asyncssh says that it hung up, or that its answer is none
            raise LinkError(f"agent {path} does not answer as one: {error}") from error
        if not keys:
            raise LinkError(f"agent {path} holds no keys; ssh-add one")
        yield keys


@contextlib.contextmanager
def _told_as_link_error(hop: Hop, client: _Client) -> Iterator[None]:
    """Every way in which a login fails, in words that say what to do."""
    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise LinkError(f"{hop.name}: {_about_host_key(hop, client) or error}") from error
    except asyncssh.PermissionDenied as error:
        tried = f"identityFile {hop.identity_file}" if hop.identity_file else "the keys of the agent"
        raise LinkPermissionDenied(
            f"{hop.name}: {tried} may not log in; put the public key into ~{hop.user}/.ssh/authorized_keys there"
        ) from error
    except asyncssh.ChannelOpenError as error:
        raise LinkNotFound(f"{hop.name}: the jump host cannot reach it: {error}") from error
    except asyncssh.DisconnectError as error:
        raise LinkError(f"{hop.name}: hung up during {client.step}: {error.reason}") from error
    except (OSError, asyncssh.Error) as error:
        raise _of_os_error(hop, error) from error


def _of_os_error(hop: Hop, error: Exception) -> LinkError:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return connect_error(hop.name, error)
    return LinkNotFound(f"{hop.name}: nobody listens there: {error}")


def _about_host_key(hop: Hop, client: _Client) -> str:
    key = client.refused_key
    if key is None:
        return ""
    told = f"{key.get_fingerprint()} ({key.get_algorithm()})"
    if not client.known_keys:
        return (
            f"its host key {told} is not in {hop.known_hosts}; if `ssh-keygen -l -f` of the key on the target shows the same, add it: "
            f"ssh-keyscan -p {hop.port} {hop.host} >> {hop.known_hosts}"
        )
    known = ", ".join(each.get_fingerprint() for each in client.known_keys)
    return (
        f"its host key is {told}, but {hop.known_hosts} has {known}: the machine was installed anew, or another one answers; "
        f"if you know why, remove the old key: ssh-keygen -f {hop.known_hosts} -R '{hop.known_as}'"
    )


def _gate(hop: Hop) -> asyncio.Semaphore:
    """Logins to one machine wait for each other, whatever device they are for."""
    gates = _gates.setdefault(asyncio.get_running_loop(), {})
    return gates.setdefault(f"{hop.host}:{hop.port}", asyncio.Semaphore(LOGINS_AT_ONCE))
