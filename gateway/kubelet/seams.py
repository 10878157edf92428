"""What the endpoint's handlers ask of their surroundings. app.py gives each one an object; none of them knows HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gateway.kubelet.exposition import Family
from gateway.logs.reader import LogOptions


class LogsUnavailable(Exception):
    """There is no log to read now. text is the whole answer; kubectl shows it after "Error from server"."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class PodDirectory(Protocol):
    """The pods of this node as plain Kubernetes objects, each with the newest status this node knows."""

    def find(self, namespace: str, name: str) -> dict[str, Any] | None: ...

    def all(self) -> Sequence[dict[str, Any]]: ...


class ContainerLogs(Protocol):
    """Logs of attempts."""

    async def open(self, pod: dict[str, Any], container: str, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        """The log of one attempt. container_id is the one that the pod's status names (`wirelet://...`) for what options.previous asks.

        Raises LogsUnavailable when there is none any more; the iterator itself raises nothing."""
        ...


class DeviceLogs(Protocol):
    """Console text and the device's own log."""

    async def open(self, device: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Raises LogsUnavailable (404) when no device has that name."""
        ...


@dataclass(frozen=True, slots=True)
class SideLinkRow:
    """A further link of a device."""

    role: str
    link: str
    """Where it is, as for the device's own."""
    message: str = ""
    """Who has it now, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One configured device, as people ask about it."""

    name: str
    class_name: str
    link: str
    """Where it is: `serial:/dev/ttyUSB0`, `simulated:seed=1`."""
    state: str
    """One CamelCase word: Ready, Connecting, Disconnected, Lent, Off, Dirty, Faulted."""
    message: str = ""
    """Why it is not Ready; one line."""
    slots_used: int = 0
    slots_total: int = 1
    boot: str = ""
    """The boot id of the device as the session knows it; empty before the first session."""
    programs: tuple[str, ...] = ()
    """What its INVENTORY lists."""
    last_seen_s: float | None = None
    """Unix seconds of the last message; None if never."""
    device_id: str = ""
    """Of the board that answered last, in hexadecimal; empty if none ever did."""
    port: str = ""
    """Where that is, or was, plugged in."""
    typists: tuple[str, ...] = ()
    """Who types to what runs on it, now."""
    links: tuple[SideLinkRow, ...] = ()
    """Besides its own."""


@dataclass(frozen=True, slots=True)
class PortRow:
    """A port of this machine that no configured device uses."""

    description: str
    node: str
    """For a person at this machine, now."""
    match: Mapping[str, object]
    """What finds it and no other port, in the configuration's keys; empty when nothing does."""
    link: str = "serial"
    """The kind of link that it is for: serial or usb."""


class PortsUnknown(Exception):
    """The ports cannot be told; the text says why."""


class DeviceTable(Protocol):
    def rows(self) -> Sequence[DeviceRow]:
        """In the order of the configuration."""
        ...

    async def unused_ports(self) -> Sequence[PortRow]:
        """Ports that are offered and never opened. Raises PortsUnknown."""
        ...


class CareRefused(Exception):
    """What was asked for a device cannot be done. text is the whole answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class DeviceCare(Protocol):
    """What a person at this machine does to a device."""

    def lend(self, device: str, borrower: str, link: str) -> AsyncIterator[bytes]:
        """A line of JSON, `{"port": ..., "fence": ...}` with the file that the borrower locks, or `{"error": ...}` at the end of it; then
        nothing, for as long as the port is lent: until the iterator is closed. link is the role of a further link,
        or empty. Raises nothing."""
        ...

    async def do(self, device: str, what: str) -> None:
        """`reset`, or `power.on`, `power.off`, `power.cycle`. Raises CareRefused."""
        ...


class ConversationRefused(Exception):
    """It cannot begin, or not go on. text is the whole answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Output(NamedTuple):
    data: bytes
    is_error: bool


class TerminalWish(NamedTuple):
    term: str
    """What TERM says."""
    columns: int
    rows: int


class Conversation(Protocol):
    """With a container. One task may receive while another sends; both raise ConversationRefused."""

    async def receive(self) -> Output | int | None:
        """Output as it comes; at the end the command's exit code, or None where there is none to tell."""
        ...

    async def send(self, data: bytes, *, is_end: bool = False) -> None:
        """Return when there is room for more."""
        ...

    def resize(self, columns: int, rows: int) -> None: ...


class Conversations(Protocol):
    """Entering raises ConversationRefused."""

    def attach(
        self, pod: dict[str, Any], container: str, typist: str | None, *, is_terminal: bool
    ) -> AbstractAsyncContextManager[Conversation]:
        """Look on; typist is who types, too, for others to see. is_terminal: the output is for a terminal in raw mode."""
        ...

    def exec(
        self, pod: dict[str, Any], container: str, argv: Sequence[str], terminal: TerminalWish | None
    ) -> AbstractAsyncContextManager[Conversation]:
        """Run argv beside the container's own program."""
        ...


class EventTable(Protocol):
    def events(self) -> Sequence[dict[str, Any]]:
        """The newest events of this gateway, oldest first, shaped as core/v1 Events."""
        ...


class Vitals(Protocol):
    """What monitoring asks: the gateway's counters, what node and containers use, and the configuration."""

    async def metrics(self) -> Sequence[Family]: ...

    async def resources(self) -> Sequence[Family]:
        """What metrics-server reads."""
        ...

    async def summary(self) -> dict[str, Any]: ...

    def configuration(self) -> dict[str, Any]:
        """Without secrets: any user who may read nodes/configz sees it."""
        ...


class ReviewApi(Protocol):
    """The API server, for TokenReview and SubjectAccessReview."""

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST body and return the object. Raises GatewayError or OSError when the API server cannot be asked or refuses."""
        ...
