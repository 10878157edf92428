"""Takes secrets out of what a console says, however it is cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

REPLACEMENT: Final = b"*****"


class Redactor:
    """feed() gives what may be shown so far; end() the rest, when no secret is expected any more."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        text = self._held + data
        for secret in self._secrets:
            text = text.replace(secret, REPLACEMENT)
        held = max((_begun(secret, text) for secret in self._secrets), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return held


def _begun(secret: bytes, text: bytes) -> int:
    """How many bytes at the end of text may be the begin of secret."""
    return next((size for size in range(min(len(secret) - 1, len(text)), 0, -1) if text.endswith(secret[:size])), 0)
