"""What keeps a login from beginning is one error of one device, whatever it is. Real logins are in hil-tests/test_ssh_link.py."""

from __future__ import annotations

import asyncio
import binascii
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import asyncssh
import pytest

from transports import ssh
from transports.errors import LinkError, LinkNotFound, LinkTimeout
from transports.ssh import SshLinkOpener
from transports.ssh_options import SshOptions

pytestmark = pytest.mark.anyio
SHORT_S: Final = 0.05
PATIENCE_S: Final = 5.0
MORE_THAN_ANY_POOL: Final = 40


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    path.chmod(0o600)
    return path


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    path = tmp_path / "known_hosts"
    path.write_text("")
    return path


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("option", ["identityFile", "knownHosts"])
async def test_a_folder_in_the_place_of_a_file_is_told_and_leaves_no_descriptor(
    option: str, key: Path, known_hosts: Path, tmp_path: Path
) -> None:
    files = {"identityFile": key, "knownHosts": known_hosts} | {option: tmp_path}
    opener = SshLinkOpener(
        SshOptions(host="127.0.0.1", user="u", known_hosts=str(files["knownHosts"]), identity_file=str(files["identityFile"]))
    )
    before = open_files()
    with pytest.raises(LinkError, match=f"^{option} {tmp_path}: Is a directory$"):
        await opener.open()
    assert open_files() == before


async def test_a_damaged_key_is_told(key: Path, known_hosts: Path) -> None:
    head, *base64, tail = asyncssh.generate_private_key("ssh-rsa", key_size=1024).export_private_key("pkcs8-pem").splitlines()
    numbers = bytearray(binascii.a2b_base64(b"".join(base64)))
    numbers[-1] ^= 1
    await anyio.Path(key).write_bytes(b"\n".join([head, binascii.b2a_base64(numbers, newline=False), tail, b""]))
    with pytest.raises(LinkError, match=f"^identityFile {key} is no private key: "):
        await SshLinkOpener(SshOptions(host="127.0.0.1", user="u", known_hosts=str(known_hosts), identity_file=str(key))).open()


async def test_a_host_that_cannot_be_a_name_is_not_found(key: Path, known_hosts: Path) -> None:
    opener = SshLinkOpener(SshOptions(host="rack2..lab", user="u", known_hosts=str(known_hosts), identity_file=str(key)))
    with pytest.raises(LinkNotFound, match=r"^ssh://u@rack2..lab: no such host"):
        await opener.open()


@asynccontextmanager
async def agent(path: Path, *answers: bytes) -> AsyncIterator[None]:
    """Answers so, and hangs up at the request after that."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (*answers, b""):
            await reader.read(65536)
            writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(handle, path):
        yield


def packet(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize("answers", [[], [packet(b"\5")], [packet(b"\x0c\0\0\0\1")], [packet(b"")]])
async def test_an_agent_that_ends_or_talks_nonsense_is_told(answers: list[bytes], known_hosts: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    opener = SshLinkOpener(SshOptions(host="127.0.0.1", user="u", known_hosts=str(known_hosts), agent=str(path)))
    async with agent(path, *answers):
        with pytest.raises(LinkError, match=f"^agent {path} "):
            await opener.open()


async def test_an_agent_that_ends_before_it_signs_is_told(known_hosts: Path, tmp_path: Path) -> None:
    path, mine, theirs = tmp_path / "agent", *(asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    await anyio.Path(tmp_path / "authorized").write_bytes(mine.export_public_key())
    keys = packet(b"\x0c" + (1).to_bytes(4, "big") + packet(mine.public_data) + packet(b"mine"))
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[theirs], authorized_client_keys=str(tmp_path / "authorized"))
    async with server, agent(path, keys):
        await anyio.Path(known_hosts).write_bytes(b"[127.0.0.1]:%d " % server.get_port() + theirs.export_public_key())
        options = SshOptions(host="127.0.0.1", user="u", known_hosts=str(known_hosts), agent=str(path), port=server.get_port())
        with pytest.raises(LinkError, match=f"^ssh://u@127.0.0.1:{options.port}: "):
            await SshLinkOpener(options).open()


@pytest.fixture
def names_that_hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No name server answers for dead.lab."""
    may_end = threading.Event()
    look_up = socket.getaddrinfo

    def hang(host: Any, *args: Any, **more: Any) -> Any:
        if host == "dead.lab":
            may_end.wait()
        return look_up(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield
    may_end.set()


async def test_names_that_nobody_answers_for_hold_up_no_other_device(
    names_that_hang: None, key: Path, known_hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "LOGIN_DEADLINE_S", SHORT_S)

    async def fail(opener: SshLinkOpener) -> None:
        with pytest.raises(LinkTimeout):
            await opener.open()

    def opener_of(host: str) -> SshLinkOpener:
        return SshLinkOpener(SshOptions(host=host, user="u", known_hosts=str(known_hosts), identity_file=str(key), port=1))

    async with anyio.create_task_group() as tasks:
        for _ in range(MORE_THAN_ANY_POOL):
            tasks.start_soon(fail, opener_of("dead.lab"))
    monkeypatch.setattr(ssh, "LOGIN_DEADLINE_S", PATIENCE_S)
    with pytest.raises(LinkNotFound, match="nobody listens there"):
        await opener_of("localhost").open()
