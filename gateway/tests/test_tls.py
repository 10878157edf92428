"""The HTTPS port with real certificates: who gets a session, what is said about unusable files, and renewal without a restart."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.errors import ConfigError
from gateway.kubelet.auth import user_of_certificate
from gateway.kubelet.exchange import Answer, Reply, Request
from gateway.kubelet.listeners import listen_tcp
from gateway.kubelet.server import HttpServer, Limits
from gateway.kubelet.tls import ServingTls, serving_tls
from gateway.tests.endpoint_fakes import Authority, client_context, read_to_end, serving

ROOMY = Limits(linger_s=0.05)


async def name_of_client(request: Request) -> Answer:
    user = user_of_certificate(request.peer.certificate) if request.peer.certificate else None
    return Reply(200, repr(user and (user.name, user.groups)).encode())


@asynccontextmanager
async def https(tls: ServingTls, limits: Limits = ROOMY) -> AsyncIterator[int]:
    async with serving(HttpServer(name_of_client, tls=tls.context, limits=limits), await listen_tcp("127.0.0.1", 0)) as port:
        yield port


async def ask(port: int, context: ssl.SSLContext) -> str:
    def blocking() -> str:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    return await to_thread.run_sync(blocking)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "cluster-ca")


@pytest.fixture
def tls(authority: Authority) -> ServingTls:
    issued = authority.server()
    return ServingTls(issued.cert, issued.key, authority.file, check_interval_s=0.0)


async def test_a_client_certificate_names_user_and_groups(tls: ServingTls, authority: Authority) -> None:
    alice = authority.client("alice", "dev", "ops")
    async with https(tls) as port:
        assert await ask(port, client_context(authority, alice)) == "('alice', ('dev', 'ops'))"


async def test_a_client_without_certificate_gets_a_session_without_a_name(tls: ServingTls, authority: Authority) -> None:
    async with https(tls) as port:
        assert await ask(port, client_context(authority)) == "None"


@pytest.fixture
def trusting_nobody(authority: Authority) -> ServingTls:
    issued = authority.server()
    return ServingTls(issued.cert, issued.key)


async def test_without_a_client_ca_a_certificate_proves_nothing(trusting_nobody: ServingTls, authority: Authority) -> None:
    async with https(trusting_nobody) as port:
        assert await ask(port, client_context(authority, authority.client("alice"))) == "None"


@pytest.mark.parametrize("case", ["of another authority", "for servers"])
async def test_a_certificate_that_proves_nothing_ends_the_session(tls: ServingTls, authority: Authority, case: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    issued = Authority(other, "other-ca").client("alice") if case == "of another authority" else authority.client("alice", is_server=True)
    async with https(tls) as port:
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            await ask(port, client_context(authority, issued))
        assert await ask(port, client_context(authority)) == "None"


async def test_only_tls_1_2_and_newer_and_http_1_1(tls: ServingTls, authority: Authority) -> None:
    context = client_context(authority)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def handshake(port: int) -> tuple[str | None, str | None]:

        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
        ):
            return secure.selected_alpn_protocol(), secure.version()

    async with https(tls) as port:
        protocol, version = await to_thread.run_sync(handshake, port)
        assert protocol == "http/1.1"
        assert version == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert (await to_thread.run_sync(handshake, port))[1] == "TLSv1.2"
    assert (await tls.context()).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_session_can_be_resumed(tls: ServingTls, authority: Authority, version: ssl.TLSVersion) -> None:
    """What was proved once has to be proved again: a certificate may have expired meanwhile."""
    context = client_context(authority, authority.client("alice"))
    context.maximum_version = version

    def connect(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert secure.recv(1)
            return secure.session, secure.session_reused

    async with https(tls) as port:
        session, _ = await to_thread.run_sync(connect, port, None)
        _, is_resumed = await to_thread.run_sync(connect, port, session)
    assert not is_resumed


async def test_plain_http_on_the_https_port_is_told_so(tls: ServingTls) -> None:
    async with https(tls) as port, await anyio.connect_tcp("127.0.0.1", port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.0 400 Bad Request")
    assert answer.endswith(b"this port speaks HTTPS; the request was plain HTTP\n")


async def test_a_client_that_never_says_hello_is_left(tls: ServingTls) -> None:
    limits = Limits(handshake_s=0.05)
    async with https(tls, limits) as port, await anyio.connect_tcp("127.0.0.1", port) as client:
        assert await read_to_end(client) == b""


async def test_a_renewed_certificate_is_used_for_the_next_connection(tls: ServingTls, authority: Authority, tmp_path: Path) -> None:
    async with https(tls) as port:
        before = await serial_number(port, authority)
        renewed = authority.server(filename="renewed")
        os.replace(renewed.cert, tmp_path / "server.crt")
        assert await serial_number(port, authority) == before  # the pair is not whole yet
        os.replace(renewed.key, tmp_path / "server.key")
        assert await serial_number(port, authority) != before


async def test_a_replaced_client_ca_is_used_for_the_next_connection(tls: ServingTls, authority: Authority, tmp_path: Path) -> None:
    alice = authority.client("alice")
    (tmp_path / "other").mkdir()
    successor = Authority(tmp_path / "other", "next-ca")
    trust = client_context(authority, alice)
    async with https(tls) as port:
        assert await ask(port, trust) == "('alice', ())"
        os.replace(successor.file, authority.file)
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            await ask(port, trust)


async def serial_number(port: int, authority: Authority) -> int:
    def blocking() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port), ca_certs=None, timeout=10)

    return x509.load_pem_x509_certificate((await to_thread.run_sync(blocking)).encode()).serial_number


def unreadable(file: Path) -> None:
    """It is there, and reading it fails; root, who may run this test, may read every file."""
    file.unlink()
    file.mkdir(mode=0o700)


async def test_a_renewed_key_that_cannot_be_read_leaves_the_one_in_use(
    tls: ServingTls, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with https(tls) as port:
        unreadable(tls.key_file)
        assert await ask(port, client_context(authority)) == "None"
        assert await ask(port, client_context(authority)) == "None"
    assert "keeping the serving certificate in use" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "path", "text"),
    [
        (lambda issued, ca: issued.key.chmod(0o640), "server.keyFile", "mode 0640); make it private: chmod 600"),
        (lambda issued, ca: issued.key.unlink(), "server.keyFile", "No such file"),
        (lambda issued, ca: issued.cert.unlink(), "server.certFile", "No such file"),
        (lambda issued, ca: issued.cert.write_text("x"), "server.certFile", "are not a PEM certificate and its key"),
        (lambda issued, ca: ca.write_text("x"), "server.clientCA", "holds no PEM certificate"),
        (lambda issued, ca: ca.unlink(), "server.clientCA", "No such file"),
        (lambda issued, ca: unreadable(issued.key), "server.certFile", "cannot be read by the gateway's user"),
    ],
)
def test_unusable_files_are_named_with_their_key(authority: Authority, spoil: Any, path: str, text: str) -> None:
    issued = authority.server()
    spoil(issued, authority.file)
    with pytest.raises(ConfigError) as caught:
        ServingTls(issued.cert, issued.key, authority.file)
    ((where, what),) = caught.value.problems
    assert where == path
    assert text in what


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, two = authority.server(filename="one"), authority.server(filename="two")
    with pytest.raises(ConfigError, match="do not belong together"):
        ServingTls(one.cert, two.key)


def test_an_encrypted_key_is_refused_without_asking_for_a_password(authority: Authority) -> None:
    issued = authority.server()
    key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
    form = serialization.BestAvailableEncryption(b"secret")
    issued.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form))
    with pytest.raises(ConfigError, match="is encrypted"):
        ServingTls(issued.cert, issued.key)


async def self_signed(directory: Path, *addresses: str, name: str = "pi-lab-3") -> ServingTls:
    return await serving_tls(
        cert_file=None, key_file=None, client_ca=None, state_directory=directory, node_name=name, addresses=addresses or ("127.0.0.1",)
    )


async def test_without_files_a_self_signed_certificate_is_made_and_kept(tmp_path: Path) -> None:
    tls = await self_signed(tmp_path / "state", "127.0.0.1", "10.0.0.7")
    assert tls.is_self_signed
    assert tls.key_file.stat().st_mode & 0o777 == 0o600
    certificate = x509.load_pem_x509_certificate(tls.cert_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["pi-lab-3"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.0.0.7"]
    again = await self_signed(tmp_path / "state", "127.0.0.1", "10.0.0.7")
    assert again.cert_file.read_bytes() == tls.cert_file.read_bytes()
    async with https(again) as port:
        pinned = ssl.create_default_context(cafile=str(again.cert_file))
        assert await ask(port, pinned) == "None"


async def test_a_self_signed_certificate_is_made_anew_when_the_names_change(tmp_path: Path) -> None:
    first = (await self_signed(tmp_path)).cert_file.read_bytes()
    moved = (await self_signed(tmp_path, "127.0.0.1", "10.0.0.8")).cert_file.read_bytes()
    renamed = (await self_signed(tmp_path, "127.0.0.1", "10.0.0.8", name="pi-lab-4")).cert_file.read_bytes()
    assert len({first, moved, renamed}) == 3


async def test_an_address_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'not-an-ip' does not appear to be an IPv4 or IPv6 address") as caught:
        await self_signed(tmp_path, "not-an-ip")
    assert "\n" not in str(caught.value)


async def test_the_library_that_makes_certificates_stays_out_of_the_gateway(tmp_path: Path) -> None:
    await self_signed(tmp_path)
    program = "import gateway.kubelet.tls, gateway.kubelet.server, gateway.kubelet.routes, sys; print('cryptography' in sys.modules)"
    result = await anyio.run_process([sys.executable, "-c", program])
    assert result.stdout.strip() == b"False"
