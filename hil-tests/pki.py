"""A certificate authority for one test run: keys, certificates and kubeconfigs as files in a folder that goes away with the run.

One CA signs everything: the API server, its clients, and the kubelets' serving certificates. Nothing here is fit for a real cluster.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = datetime.timedelta(days=1)
"""No test run lasts longer."""
CLOCK_SKEW: Final = datetime.timedelta(minutes=5)
"""A machine whose clock is set back a little during the run still finds the certificates valid."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM files; the key's mode is 0600."""

    cert: Path
    key: Path


class CertificateAuthority:
    """Writes `ca.crt` and every certificate that it issues into folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("wirelet-test-ca", ())
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        self._cert = builder.sign(self._key, hashes.SHA256())
        self.files = self._write("ca", self._cert, self._key)

    def client(self, file_name: str, user: str, groups: Sequence[str] = (), lifetime: datetime.timedelta = LIFETIME) -> KeyPair:
        """A certificate that authenticates as user in groups."""
        return self._issue(file_name, _name(user, groups), (), (ExtendedKeyUsageOID.CLIENT_AUTH,), lifetime)

    def server(self, file_name: str, common_name: str, dns: Sequence[str], ips: Sequence[str], groups: Sequence[str] = ()) -> KeyPair:
        """A serving certificate for the names and addresses."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        return self._issue(file_name, _name(common_name, groups), names, (ExtendedKeyUsageOID.SERVER_AUTH,))

    def signing_key(self, file_name: str) -> KeyPair:
        """A key for service account tokens; `cert` is the bare public key."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = self._folder / f"{file_name}.pub"
        public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        return KeyPair(public, self._write_key(file_name, key))

    def _issue(
        self,
        file_name: str,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        lifetime: datetime.timedelta = LIFETIME,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._name, key.public_key(), lifetime)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return self._write(file_name, builder.sign(self._key, hashes.SHA256()), key)

    def _write(self, file_name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
        cert_path = self._folder / f"{file_name}.crt"
        cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        return KeyPair(cert_path, self._write_key(file_name, key))

    def _write_key(self, file_name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        path = self._folder / f"{file_name}.key"
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return path


def write_kubeconfig(path: Path, server: str, ca: Path, client: KeyPair) -> Path:
    """A kubeconfig that needs no other file."""
    user = {"client-certificate-data": _base64(client.cert), "client-key-data": _base64(client.key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": _base64(ca)}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _name(common_name: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta = LIFETIME
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
