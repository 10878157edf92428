"""Times as Kubernetes writes them: RFC 3339 in UTC, whole seconds. Pure."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, Final

REMEMBERED_SECONDS: Final = 1024
"""A pod's status repeats the same few times in every look, and hundreds of pods begin in the same second."""


def format_time(unix_s: float) -> str:
    """2026-01-02T03:04:05Z"""
    return _format_second(int(unix_s))


@functools.lru_cache(REMEMBERED_SECONDS)
def _format_second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(value: Any) -> float | None:
    """Unix seconds; None for what is absent or no time. YAML reads a plain time as a datetime, with or without a zone."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
