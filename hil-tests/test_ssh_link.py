"""The ssh link against a real sshd: the Link contract, and what a login is refused for."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
import anyio.to_thread
import pytest
from processes import Process, Reaper, free_port
from sshd import Sshd, make_key, running

from transports.driver import DurationS
from transports.errors import LinkError, LinkLost, LinkNotFound, LinkPermissionDenied
from transports.link import Link, LinkOpener
from transports.ssh import SshLinkOpener
from transports.ssh_options import JumpOptions, SshOptions
from transports.testing.link_contract import FarEnd, LinkContract, opened, other_work_goes_on, read_exactly

RELAY: Final = """
import os, socket, sys, threading
far = socket.socket(socket.AF_UNIX)
far.connect(sys.argv[1])
def copy():
    while data := far.recv(65536):
        while data:
            data = data[os.write(1, data):]
    os._exit(0)
threading.Thread(target=copy, daemon=True).start()
while data := os.read(0, 65536):
    far.sendall(data)
"""
"""The command: both ends of its pipe go to a socket of the test, each way on its own."""


def options(sshd: Sshd, **more: Any) -> SshOptions:
    usual = SshOptions(
        host="127.0.0.1", port=sshd.port, user=sshd.user, identity_file=str(sshd.identity), known_hosts=str(sshd.known_hosts)
    )
    return replace(usual, **more)


class CommandEnd:
    """Opens the link with a command of its own each time, so that nobody mistakes an earlier command's end for this one's."""

    def __init__(self, folder: Path, usual: SshOptions) -> None:
        self._folder = folder
        self._usual = usual
        self._count = 0
        self._far: socket.socket | None = None
        self.name = SshLinkOpener(usual).name

    async def open(self) -> Link:
        self._count += 1
        path = self._folder / str(self._count)
        relay = f"exec {sys.executable} -I -S {self._folder / 'relay.py'} {path}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.setblocking(False)
            link = await SshLinkOpener(replace(self._usual, command=relay)).open()
            try:
                await anyio.wait_readable(listener)
            except BaseException:
                await link.aclose()
                raise
            self.close()
            self._far, _ = listener.accept()
        self._far.setblocking(False)
        return link

    async def send(self, data: bytes) -> None:
        assert self._far is not None
        while data:
            try:
                data = data[self._far.send(data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._far)

    async def receive(self) -> bytes:
        assert self._far is not None
        while True:
            try:
                return self._far.recv(65536)
            except BlockingIOError:
                await anyio.wait_readable(self._far)

    async def hang_up(self) -> None:
        """The command is gone."""
        self.close()

    def close(self) -> None:
        if self._far is not None:
            self._far.close()


class SshStand:
    def __init__(self, folder: Path, sshd: Sshd) -> None:
        self._folder = folder
        self._sshd = sshd
        self._ends: list[CommandEnd] = []
        end = self._make()
        self.opener: LinkOpener = end
        self.far: FarEnd = end

    def missing(self) -> LinkOpener:
        return SshLinkOpener(options(self._sshd, port=free_port()))

    def forbidden(self) -> LinkOpener:
        return SshLinkOpener(options(self._sshd, identity_file=str(self._sshd.stranger)))

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        ends = await anyio.to_thread.run_sync(lambda: [self._make() for _ in range(count)])
        return [(end, end) for end in ends]

    def close(self) -> None:
        for end in self._ends:
            end.close()

    def _make(self) -> CommandEnd:
        folder = self._folder / str(len(self._ends))
        folder.mkdir()
        (folder / "relay.py").write_text(RELAY)
        self._ends.append(CommandEnd(folder, options(self._sshd)))
        return self._ends[-1]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A unix socket's path has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="wirelet-ssh-") as folder:
        yield Path(folder)


TAKES_AHEAD = "sshd takes 2 MiB for a command that does not read, more than the case sends; test_a_command_that_stops_reading has its own"


class TestSsh(LinkContract):
    driver, over = "ssh", "sshd"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_what_the_device_said_before_the_open_is_kept": "the command begins with the link, and has said nothing before",
        "test_a_second_opener_is_told_that_the_port_is_busy": "each opener has a command of its own; nobody is in the way",
        "test_a_device_that_stops_reading_holds_up_only_the_sender": TAKES_AHEAD,
        "test_a_hang_up_ends_a_stalled_send": TAKES_AHEAD,
        "test_a_hang_up_ends_reader_and_writer_at_once": TAKES_AHEAD,
        "test_what_came_before_the_hang_up_is_delivered_before_the_loss": TAKES_AHEAD,
    }

    @pytest.fixture
    def stand(self, short_folder: Path, need: Callable[[str], None], request: pytest.FixtureRequest) -> Iterator[SshStand]:
        need("sshd")
        stand = SshStand(short_folder, request.getfixturevalue("sshd"))
        yield stand
        stand.close()


# -- more than the contract


@pytest.fixture
def server(tmp_path: Path, need: Callable[[str], None]) -> Iterator[Sshd]:
    """A server for one test, which may do with it what it likes."""
    need("sshd")
    with running(tmp_path / "sshd") as server:
        yield server


async def refusal(wanted: SshOptions, kind: type[LinkError] = LinkError) -> str:
    with pytest.raises(kind) as caught:
        await SshLinkOpener(wanted).open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_a_command_that_stops_reading_holds_up_only_the_sender(server: Sshd) -> None:
    sent = anyio.Event()
    command = "read first; echo go; exec sleep 1000"
    async with opened(SshLinkOpener(options(server, command=command))) as link, anyio.create_task_group() as tasks:

        async def send() -> None:
            await link.send(b"first\n" + bytes(8 << 20))
            sent.set()

        tasks.start_soon(send)
        assert await read_exactly(link, 3) == b"go\n"
        await other_work_goes_on()
        assert not sent.is_set()
        tasks.cancel_scope.cancel()


async def test_a_killed_session_ends_an_idle_receive_and_a_stalled_send(server: Sshd) -> None:
    lost: list[str] = []

    async def expect_loss(attempt: Any) -> None:
        with pytest.raises(LinkLost) as caught:
            await attempt
        lost.append(str(caught.value))

    async with opened(SshLinkOpener(options(server, command="echo go; exec sleep 1000"))) as link:
        assert await read_exactly(link, 3) == b"go\n"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expect_loss, link.receive())
            tasks.start_soon(expect_loss, link.send(bytes(8 << 20)))
            await other_work_goes_on()
            await anyio.to_thread.run_sync(server.drop_connections)
    assert len(lost) == 2
    assert all("the connection was lost" in each for each in lost)


async def test_more_devices_than_an_sshd_lets_in_at_once_wait_for_each_other(server: Sshd) -> None:
    """An untouched one drops connections from the tenth on that is not logged in yet, at random (MaxStartups)."""
    said: list[bytes] = []

    async def log_in() -> None:
        async with opened(SshLinkOpener(options(server, command="echo in; exec cat"))) as link:
            said.append(await read_exactly(link, 3))

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(log_in)
    assert said == [b"in\n"] * 40


async def test_a_command_that_ends_says_why(server: Sshd) -> None:
    async with opened(SshLinkOpener(options(server, command="no-such-program-here"))) as link:
        with pytest.raises(LinkLost, match=r"the command ended with status 127: .*no-such-program-here.*not found"):
            await link.receive()


async def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_what_to_do(server: Sshd) -> None:
    server.known_hosts.write_text("")
    told = await refusal(options(server))
    shown = await anyio.run_process(["ssh-keygen", "-l", "-f", str(server.folder / "host_key.pub")])
    fingerprint = shown.stdout.decode().split()[1]
    assert f"its host key {fingerprint} (ssh-ed25519) is not in {server.known_hosts}" in told
    remedy = told.rpartition("add it: ")[2]
    await anyio.run_process(remedy)
    async with opened(SshLinkOpener(options(server, command="echo in"))) as link:
        assert await read_exactly(link, 3) == b"in\n"


async def test_a_changed_host_key_is_refused_and_not_asked_for_a_login(server: Sshd) -> None:
    before = server.known_hosts.read_text()
    server.stop()
    server.new_host_key()
    server.start()
    told = await refusal(options(server))
    assert "another one answers" in told
    assert f"ssh-keygen -f {server.known_hosts} -R '[127.0.0.1]:{server.port}'" in told
    assert server.known_hosts.read_text() == before
    assert "Accepted publickey" not in server.process.log_tail(1000)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
async def test_a_key_that_others_can_read_is_refused(server: Sshd, mode: int) -> None:
    server.identity.chmod(mode)
    told = await refusal(options(server), LinkPermissionDenied)
    assert told == f"identityFile {server.identity} can be read by others (mode {mode:o}); chmod 600 {server.identity}"


async def test_a_key_with_a_passphrase_is_for_an_agent(server: Sshd, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    make_key(locked, passphrase="secret word")
    told = await refusal(options(server, identity_file=str(locked)))
    assert told == f"identityFile {locked} has a passphrase; give it to an ssh-agent and write agent: instead"


async def test_files_that_are_no_keys_are_told(server: Sshd, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_text("no key")
    noise.chmod(0o600)
    assert "is no private key" in await refusal(options(server, identity_file=str(noise)))
    assert "No such file" in await refusal(options(server, identity_file=str(tmp_path / "absent")))
    assert "No such file" in await refusal(options(server, known_hosts=str(tmp_path / "absent")))


@pytest.fixture
def agent_socket(short_folder: Path) -> Iterator[Path]:
    """Of a real ssh-agent."""
    path = short_folder / "agent"
    with contextlib.closing(Reaper()) as reaper:
        agent = Process("ssh-agent", ["ssh-agent", "-D", "-a", str(path)], short_folder / "agent.log", reaper)
        agent.start()
        agent.wait_for(path.exists, "its socket")
        yield path
        agent.stop()


async def test_an_agent_gives_the_key(server: Sshd, agent_socket: Path) -> None:
    wanted = options(server, identity_file=None, agent=str(agent_socket), command="echo in")
    assert await refusal(wanted) == f"agent {agent_socket} holds no keys; ssh-add one"
    await anyio.run_process(["ssh-add", "-q", str(server.identity)], env={**os.environ, "SSH_AUTH_SOCK": str(agent_socket)})
    async with opened(SshLinkOpener(wanted)) as link:
        assert await read_exactly(link, 3) == b"in\n"


async def test_an_agent_that_is_not_there_is_told(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such file" in await refusal(options(server, identity_file=None, agent=str(tmp_path / "absent")))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert "there is no SSH_AUTH_SOCK" in await refusal(options(server, identity_file=None, agent="env"))


@pytest.fixture
def jump_host(tmp_path: Path, server: Sshd) -> Iterator[Sshd]:
    with running(tmp_path / "jump") as jump:
        yield jump


def by_way_of(jump: Sshd, server: Sshd, **more: Any) -> SshOptions:
    way = JumpOptions(host="127.0.0.1", port=jump.port, user=jump.user, identity_file=str(jump.identity), known_hosts=str(jump.known_hosts))
    return options(server, jump=way, **more)


async def test_a_jump_host_is_on_the_way_and_its_key_is_checked_too(server: Sshd, jump_host: Sshd) -> None:
    async with opened(SshLinkOpener(by_way_of(jump_host, server, command='echo "$SSH_CONNECTION"'))) as link:
        assert (await link.receive()).split()[3] == str(server.port).encode()
        assert len(jump_host.connections()) > 0
        await anyio.to_thread.run_sync(jump_host.drop_connections)
        with pytest.raises(LinkLost):
            await link.receive()
    jump_host.known_hosts.write_text("")
    told = await refusal(by_way_of(jump_host, server))
    assert told.startswith(f"ssh://{jump_host.user}@127.0.0.1:{jump_host.port}: its host key")


async def test_a_target_that_the_jump_host_cannot_reach_is_not_found(server: Sshd, jump_host: Sshd) -> None:
    absent = replace(by_way_of(jump_host, server), port=free_port())
    assert "the jump host cannot reach it" in await refusal(absent, LinkNotFound)


@contextlib.asynccontextmanager
async def silent_port(says: bytes) -> AsyncIterator[int]:
    """Accepts, says that, and then nothing."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(says)
            await anyio.sleep_forever()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-slow\r\n"])
async def test_a_server_that_says_no_more_costs_a_deadline(server: Sshd, monkeypatch: pytest.MonkeyPatch, says: bytes) -> None:
    monkeypatch.setattr("transports.ssh.LOGIN_DEADLINE_S", 0.3)
    async with silent_port(says) as port:
        told = await refusal(options(server, port=port))
    assert "no login within 0.3 s" in told


async def test_a_frozen_server_is_a_lost_link(server: Sshd) -> None:
    """Its machine answers no more, and nothing says so: keepalive does."""
    wanted = options(server, command="echo go; exec sleep 1000", keepalive=DurationS(1.0))
    async with opened(SshLinkOpener(wanted)) as link:
        assert await read_exactly(link, 3) == b"go\n"
        await anyio.to_thread.run_sync(server.freeze_connections)
        with pytest.raises(LinkLost):
            await link.receive()
