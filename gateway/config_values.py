"""The values that a configuration is made of: durations, sizes, names, addresses, quantities; each with its check.

A value that could only fail later, at the API server or at a port, is refused here. Every check raises ValueError that says what is
allowed; the path of the key is config.py's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

MAX_NODE_NAME: Final = 253
KEEPALIVE_S: Final = (0.1, 65.0)
"""Below, the frames alone fill a slow line; the wire says it in 16 bits of milliseconds (SPEC.md, WELCOME)."""
DEADLINE_S: Final = (0.1, 3600.0)
"""Of a hook: it must have time to be started, and must not hold a board for ever."""
EXAMINED_S: Final = (1.0, 24 * 3600.0)
"""A look costs some ten milliseconds; what nobody has looked for in a day is not looked after."""
MAX_GRACE_S: Final = 365 * 24 * 3600.0
LOG_BYTES: Final = (64 * 2**10, 2**40)
"""From one segment of a ring."""

_DURATION: Final = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h))+", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)(Ki|Mi|Gi|Ti|k|M|G|T|)", re.ASCII)
_QUANTITY: Final = re.compile(r"\d{1,18}(\.\d{1,18})?(e\d|[mkMGTPE]|[KMGTPE]i|)", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_TAINT: Final = re.compile(r"([^=:]+)(?:=([^=:]*))?:(?:NoSchedule|PreferNoSchedule|NoExecute)")
_VID_PID: Final = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}")
_DEVICE_ID: Final = re.compile(r"(?:[0-9a-f]{2}){4,12}")
ANY_DEVICE: Final = "any"
_FACTORS: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_duration_s(value: object) -> float:
    """Seconds of `10s`, `1m30s` or `500ms`."""
    text = value if isinstance(value, str) else ""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"must be a duration such as 10s, 500ms or 2m, not {value!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def _within_s(least: float, most: float) -> Callable[[float], float]:
    def check(seconds: float) -> float:
        if not least <= seconds <= most:
            raise ValueError(f"must be {_duration(least)} to {_duration(most)}, not {_duration(seconds)}")
        return seconds

    return check


def _bytes(value: object) -> int:
    match = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None:
        raise ValueError(f"must be a size such as 64Mi, not {value!r}")
    return int(float(match[1]) * _FACTORS[match[2]])


def _within_bytes(least: int, most: int) -> Callable[[int], int]:
    def check(size: int) -> int:
        if not least <= size <= most:
            raise ValueError(f"must be {_size(least)} to {_size(most)}, not {_size(size)}")
        return size

    return check


def _size(size: int) -> str:
    unit = next((unit for unit in ("Ti", "Gi", "Mi", "Ki") if size and size % _FACTORS[unit] == 0), "")
    return f"{size // _FACTORS[unit]}{unit}"


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"must be lower-case letters, digits and '-', at most 63, not {value!r}")
    return value


def _node_name(value: str) -> str:
    if not _is_domain(value):
        raise ValueError(f"must be a DNS name in lower case, not {value!r}")
    return value


def _is_domain(value: str) -> bool:
    return len(value) <= MAX_NODE_NAME and all(_NAME.fullmatch(part) for part in value.split("."))


def _taint(value: str | None) -> str | None:
    if value is None:
        return None
    match = _TAINT.fullmatch(value)
    if match is None or not _is_qualified(match[1]) or not _LABEL.fullmatch(match[2] or "x"):
        raise ValueError(f"must be key=value:Effect with NoSchedule, PreferNoSchedule or NoExecute, not {value!r}")
    return value


def _text(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError(f"must not be empty or hold a zero byte, not {value!r}")
    return value


def _address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"must be an IP address, not {value!r}") from None
    return value


def _argv(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0]:
        raise ValueError("must name a program, then its arguments")
    return value


def _quantity(value: str) -> str:
    if not _QUANTITY.fullmatch(value):
        raise ValueError(f"must be a quantity such as 4, 500m or 64Gi, not {value!r}")
    return value


def _label_value(value: str) -> str:
    if value and not _LABEL.fullmatch(value):
        raise ValueError(f"must be at most 63 letters, digits, '-', '_' and '.', not {value!r}")
    return value


def _vid_pid(value: str) -> str:
    if not _VID_PID.fullmatch(value):
        raise ValueError(f"must be four hexadecimal digits twice, such as 303a:1001, not {value!r}")
    return value.lower()


def _device_id(value: str) -> str:
    if value != ANY_DEVICE and not _DEVICE_ID.fullmatch(value):
        raise ValueError(f"must be `any`, or 4 to 12 bytes in lower-case hexadecimal as `wirelet get devices -o wide` shows, not {value!r}")
    return value


def _is_qualified(key: str) -> bool:
    """What Kubernetes takes as the key of a label, resource or taint: a name, or a domain, a slash and a name."""
    domain, slash, name = key.rpartition("/")
    return _LABEL.fullmatch(name) is not None and (not slash or _is_domain(domain))


def _qualified(values: dict[str, str]) -> dict[str, str]:
    for key in values:
        if not _is_qualified(key):
            raise ValueError(f"has the key {key!r}; it must be a name such as site, or example.com/site")
    return values


DurationS = Annotated[float, BeforeValidator(parse_duration_s), AfterValidator(_within_s(0, MAX_GRACE_S)), PlainSerializer(_duration)]
Keepalive = Annotated[DurationS, AfterValidator(_within_s(*KEEPALIVE_S))]
Deadline = Annotated[DurationS, AfterValidator(_within_s(*DEADLINE_S))]
Examined = Annotated[DurationS, AfterValidator(_within_s(*EXAMINED_S))]
SizeBytes = Annotated[int, BeforeValidator(_bytes)]
LogSize = Annotated[SizeBytes, AfterValidator(_within_bytes(*LOG_BYTES))]
Text = Annotated[str, AfterValidator(_text)]
Address = Annotated[str, AfterValidator(_address)]
Name = Annotated[str, AfterValidator(_name)]
NodeName = Annotated[str, AfterValidator(_node_name)]
Taint = Annotated[str | None, AfterValidator(_taint)]
Argv = Annotated[tuple[str, ...], AfterValidator(_argv)]
Resources = Annotated[dict[str, Annotated[str, AfterValidator(_quantity)]], AfterValidator(_qualified)]
Labels = Annotated[dict[str, Annotated[str, AfterValidator(_label_value)]], AfterValidator(_qualified)]
VidPid = Annotated[str, AfterValidator(_vid_pid)]
DeviceId = Annotated[str, AfterValidator(_device_id)]
