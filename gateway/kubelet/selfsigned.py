"""Makes a self-signed serving certificate: `python -m gateway.kubelet.selfsigned DIRECTORY NODE_NAME [ADDRESS...]`.

Run as a process of its own, because the library stays in memory once imported. It writes a certificate, its key (mode 0600) and, last, a
JSON file that says what the certificate holds.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import sys
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.kubelet.tls import SELF_SIGNED_CERT, SELF_SIGNED_FACTS, SELF_SIGNED_KEY

LIFETIME: Final = datetime.timedelta(days=3650)
"""Nobody can check a self-signed certificate but by its bytes, so a short life would only add outages."""
BACKDATED: Final = datetime.timedelta(days=1)
"""Clocks of small boards run behind until they have asked the network."""


def make(directory: Path, node_name: str, addresses: list[str]) -> None:
    """Write the three files. Raises OSError, or ValueError for an address that is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_name)])
    names: list[x509.GeneralName] = [x509.DNSName(node_name), *(x509.IPAddress(ipaddress.ip_address(text)) for text in addresses)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    facts = {
        "nodeName": node_name,
        "addresses": addresses,
        "notBefore": (now - BACKDATED).timestamp(),
        "notAfter": (now + LIFETIME).timestamp(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SELF_SIGNED_FACTS).unlink(missing_ok=True)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _replace(directory / SELF_SIGNED_KEY, private, 0o600)
    _replace(directory / SELF_SIGNED_CERT, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _replace(directory / SELF_SIGNED_FACTS, json.dumps(facts).encode(), 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """A reader sees the old file or the new one; the new one never had a wider mode."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def main(argv: list[str]) -> int:
    directory, node_name, *addresses = argv
    try:
        make(Path(directory), node_name, addresses)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
