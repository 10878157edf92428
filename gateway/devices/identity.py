"""Who a run is: numbers derived from the pod and the container, never allocated, so that they survive the loss of any store."""

from __future__ import annotations

import hashlib
import uuid
import zlib
from typing import Final

TAG_BYTES: Final = 24
"""16 of the pod's uid and 8 of the container's name: SPEC.md allows 24."""
_UNNAMED: Final = "?"
"""No container's name can begin with it."""


def workload_id(uid: str, container: str) -> int:
    """The 32-bit wid of a container: 0 is never one, since devices use it for "none"."""
    return zlib.crc32(f"{uid}/{container}".encode()) or 1


def workload_tag(uid: str, container: str) -> bytes:
    """What the device keeps and gives back, so that a run is recognised when the ledger is lost."""
    return _uid_bytes(uid) + hashlib.blake2b(container.encode(), digest_size=8).digest()


def uid_of_tag(tag: bytes) -> str | None:
    """The pod uid in a tag, or None if the tag is not ours."""
    return str(uuid.UUID(bytes=tag[:16])) if len(tag) == TAG_BYTES else None


def uid_without_tag(wid: int) -> str:
    """Stands for the pod of a run that nobody signed: no pod has this uid, so the run counts and can be ended."""
    return f"unknown-{wid:08x}"


def unnamed(wid: int) -> str:
    """Stands for a container's name while only its hash is known."""
    return f"{_UNNAMED}{wid:08x}"


def is_unnamed(container: str) -> bool:
    return container.startswith(_UNNAMED)


def container_id(wid: int, gen: int) -> str:
    """containerID of one attempt, the same after a restart of the gateway."""
    return f"wirelet://{wid:08x}-{gen}"


def _uid_bytes(uid: str) -> bytes:
    try:
        return uuid.UUID(uid).bytes
    except ValueError:
        return hashlib.blake2b(uid.encode(), digest_size=16).digest()
