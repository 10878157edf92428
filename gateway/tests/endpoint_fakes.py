"""What the endpoint's tests share: a server that runs, clients that speak raw HTTP, certificates, and surroundings that tell the truth."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import ByteStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import GatewayError
from gateway.kubelet.exposition import Family, Kind, Sample
from gateway.kubelet.seams import (
    CareRefused,
    ConversationRefused,
    DeviceRow,
    LogsUnavailable,
    Output,
    PortRow,
    PortsUnknown,
    TerminalWish,
)
from gateway.kubelet.server import HttpServer
from gateway.logs.reader import LogOptions

DEADLINE_S: Final = 4
"""Never reached when things work; a broken test ends with it."""


@asynccontextmanager
async def serving(server: HttpServer, *listeners: socket.socket) -> AsyncIterator[Any]:
    """The server runs until the block ends. Gives the port, or the path of a unix socket."""
    name = listeners[0].getsockname()
    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(server.serve, *listeners))
        yield name[1] if isinstance(name, tuple) else name
        tasks.cancel_scope.cancel()


async def read_to_end(stream: ByteStream) -> bytes:
    received = b""
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                received += await stream.receive()
            except anyio.EndOfStream:
                return received
    raise AssertionError("not reached: fail_after raises")


async def read_until(stream: ByteStream, mark: bytes) -> bytes:
    received = b""
    with anyio.fail_after(DEADLINE_S):
        while mark not in received:
            received += await stream.receive()
    return received


async def talk(path: str | int, data: bytes) -> bytes:
    """Send data to a unix socket and read until the server closes."""
    async with await anyio.connect_unix(str(path)) as stream:
        await stream.send(data)
        return await read_to_end(stream)


@dataclass(frozen=True, slots=True)
class Issued:
    """Files of one certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key, is_ca=True).sign(self._key, hashes.SHA256())
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def client(self, user: str, *groups: str, is_server: bool = False) -> Issued:
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        usage = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
        return self._issue(user.replace(":", "_"), subject, x509.ExtendedKeyUsage([usage]))

    def server(self, name: str = "127.0.0.1", *, filename: str = "server") -> Issued:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return self._issue(filename, subject, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), names)

    def _issue(self, filename: str, subject: x509.Name, *extensions: x509.ExtensionType) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._build(subject, key, is_ca=False)
        named = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(named, critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        issued = Issued(self._directory / f"{filename}.crt", self._directory / f"{filename}.key")
        issued.cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        issued.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        issued.key.chmod(0o600)
        return issued

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        usage |= {"digital_signature": True, "key_cert_sign": is_ca, "crl_sign": is_ca, "encipher_only": False, "decipher_only": False}
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def client_context(authority: Authority, issued: Issued | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if issued is not None:
        context.load_cert_chain(issued.cert, issued.key)
    return context


class ApiServerDown(GatewayError):
    """What a client of a dead API server raises."""


@dataclass
class FakeReviews:
    """The two review APIs of an API server: tokens it knows, and who may do what on nodes/<subresource>."""

    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    allowed: set[tuple[str, str, str]] = field(default_factory=set)
    is_down: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        if self.is_down:
            raise ApiServerDown("connection refused")
        self.asked.append(body)
        spec = body["spec"]
        if path == "/apis/authentication.k8s.io/v1/tokenreviews" and body["kind"] == "TokenReview":
            user = self.tokens.get(spec["token"])
            status = {"authenticated": True, "user": user} if user else {"authenticated": False, "error": "invalid bearer token"}
        elif path == "/apis/authorization.k8s.io/v1/subjectaccessreviews" and body["kind"] == "SubjectAccessReview":
            wanted = spec["resourceAttributes"]
            status = {"allowed": (spec["user"], wanted["verb"], wanted["subresource"]) in self.allowed}
        else:
            raise AssertionError(f"no API server would know {path} with {body}")
        return {**body, "status": status}

    def reviews(self, kind: str) -> list[dict[str, Any]]:
        return [body["spec"] for body in self.asked if body["kind"] == kind]


def pod(name: str = "hello", *containers: str, namespace: str = "default", **status: Any) -> dict[str, Any]:
    """A pod object; by default one running container."""
    names = containers or ("main",)
    running = [{"name": each, "containerID": f"wirelet://{name}-{each}-1", "state": {"running": {}}, "ready": True} for each in names]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}"},
        "spec": {"containers": [{"name": each, "image": each} for each in names]},
        "status": {"phase": "Running", "containerStatuses": running, **status},
    }


@dataclass
class FakePods:
    pods: list[dict[str, Any]] = field(default_factory=list)

    def find(self, namespace: str, name: str) -> dict[str, Any] | None:
        matches = [each for each in self.pods if (each["metadata"]["namespace"], each["metadata"]["name"]) == (namespace, name)]
        return matches[0] if matches else None

    def all(self) -> Sequence[dict[str, Any]]:
        return self.pods


@dataclass
class FakeLogs:
    """Attempts by containerID. A follower waits for more after the text; `left` is set when it stops waiting."""

    texts: dict[str, bytes] = field(default_factory=dict)
    left: anyio.Event = field(default_factory=anyio.Event)
    asked: list[tuple[str, LogOptions]] = field(default_factory=list)

    async def open(self, pod: dict[str, Any], container: str, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        self.asked.append((container_id, options))
        if container_id not in self.texts:
            raise LogsUnavailable(400, f'the log of container "{container}" is gone')
        return self._read(self.texts[container_id], options)

    async def _read(self, text: bytes, options: LogOptions) -> AsyncIterator[bytes]:
        try:
            if text:
                yield text
            if options.follow:
                await anyio.sleep_forever()
        finally:
            self.left.set()


@dataclass(frozen=True)
class FixedDevices:
    listed: Sequence[DeviceRow]
    ports: Sequence[PortRow] | None = ()
    """None: nobody can tell them."""

    def rows(self) -> Sequence[DeviceRow]:
        return self.listed

    async def unused_ports(self) -> Sequence[PortRow]:
        if self.ports is None:
            raise PortsUnknown("udev hangs")
        return self.ports


class FakeCare:
    """Lends board-a on /dev/ttyUSB0 and resets it; has nothing else."""

    def __init__(self, fence: Path = Path("/dev/null")) -> None:
        self.fence = fence
        self.lent: list[str] = []
        self.done: list[tuple[str, str]] = []
        self.is_free = anyio.Event()
        """A device was lent, and is not any more."""

    async def lend(self, device: str, borrower: str, link: str) -> AsyncIterator[bytes]:
        if device != "board-a" or link not in ("", "debug"):
            yield b'{"error": "there is no device"}\n'
            return
        self.lent.append(borrower)
        try:
            yield json.dumps({"port": "/dev/ttyUSB0", "fence": str(self.fence)}).encode() + b"\n"
            await anyio.sleep_forever()
        finally:
            self.lent.remove(borrower)
            self.is_free.set()

    async def do(self, device: str, what: str) -> None:
        if (device, what) != ("board-a", "reset"):
            raise CareRefused(409, f"{device} has nothing for {what}")
        self.done.append((device, what))


@dataclass(frozen=True)
class FixedEvents:
    listed: Sequence[dict[str, Any]]

    def events(self) -> Sequence[dict[str, Any]]:
        return self.listed


@dataclass(frozen=True)
class FakeDeviceLogs:
    texts: dict[str, bytes]

    async def open(self, device: str, options: LogOptions) -> AsyncIterator[bytes]:
        if device not in self.texts:
            raise LogsUnavailable(404, f'no device "{device}"')
        return self._read(self.texts[device])

    async def _read(self, text: bytes) -> AsyncIterator[bytes]:
        yield text


@dataclass(frozen=True)
class FixedVitals:
    """A gateway at rest."""

    async def metrics(self) -> Sequence[Family]:
        return [Family("wirelet_sessions_total", Kind.COUNTER, "Sessions.", [Sample(3, {"device": "board-a"})])]

    async def resources(self) -> Sequence[Family]:
        return [Family("node_cpu_usage_seconds_total", Kind.COUNTER, "Processor time.", [Sample(1.5, stamp_ms=1000)])]

    async def summary(self) -> dict[str, Any]:
        return {"node": {"nodeName": "pi-lab-3"}, "pods": []}

    def configuration(self) -> dict[str, Any]:
        return {"wirelet": {"kind": "GatewayConfiguration"}}


class FakeConversations:
    """`cat CODE` gives back what it is sent, errors apart, and ends with CODE when nothing more comes. Attaching does so, too."""

    def __init__(self) -> None:
        self.begun: list[tuple[object, ...]] = []
        self.open = 0

    @asynccontextmanager
    async def attach(self, pod: dict[str, Any], container: str, typist: str | None, *, is_terminal: bool) -> AsyncIterator[Echo]:
        self.begun.append(("attach", pod["metadata"]["name"], container, typist, is_terminal))
        async with self._echo(None) as echo:
            yield echo

    @asynccontextmanager
    async def exec(self, pod: dict[str, Any], container: str, argv: Sequence[str], terminal: TerminalWish | None) -> AsyncIterator[Echo]:
        self.begun.append(("exec", pod["metadata"]["name"], container, tuple(argv), terminal))
        if argv[0] != "cat":
            raise ConversationRefused(f"there is no {argv[0]}")
        async with self._echo(int(argv[1])) as echo:
            yield echo

    @asynccontextmanager
    async def _echo(self, code: int | None) -> AsyncIterator[Echo]:
        self.open += 1
        echo = Echo(code)
        try:
            yield echo
        finally:
            echo.close()
            self.open -= 1


class Echo:
    """See gateway.kubelet.seams.Conversation."""

    def __init__(self, code: int | None) -> None:
        self._code = code
        self._put, self._taken = anyio.create_memory_object_stream[Output](100)

    def close(self) -> None:
        self._put.close()
        self._taken.close()

    async def receive(self) -> Output | int | None:
        try:
            return await self._taken.receive()
        except anyio.EndOfStream:
            return self._code

    async def send(self, data: bytes, *, is_end: bool = False) -> None:
        if data == b"break":
            raise ConversationRefused("the device is gone")
        if data == b"never read":
            await anyio.sleep_forever()
        if data:
            await self._put.send(Output(data, is_error=data.startswith(b"!")))
        if is_end:
            self._put.close()

    def resize(self, columns: int, rows: int) -> None:
        self._put.send_nowait(Output(b"%dx%d" % (columns, rows), is_error=False))
