"""GatewayConfiguration v1alpha1: the file's shape, its checks, and what every key means.

Everything is checked before anything is opened. A problem is one line: the path of the key and what is allowed there. No secret stands
in the file; it names files that hold them. Durations are written `10s`, `500ms`, `2m`; in Python they are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from gateway import drivers
from gateway.config_links import ConfiguredLink, LinkDefaults, with_defaults
from gateway.config_problems import Nested, Section, path_of, problems_of
from gateway.config_protocols import ConfiguredProtocol
from gateway.config_values import (
    Address,
    Argv,
    Deadline,
    DeviceId,
    DurationS,
    Examined,
    Keepalive,
    Labels,
    LogSize,
    Name,
    NodeName,
    Resources,
    Taint,
    Text,
    VidPid,
)
from gateway.errors import ConfigError
from gateway.strict_yaml import StrictLoader, problem_of

API_VERSION: Final = "wirelet.dev/v1alpha1"
KIND: Final = "GatewayConfiguration"
MAX_SLOTS: Final = 31
"""A LOG record's source has five bits for the slot, and slot 31 is the device itself."""


class NodeSection(Section):
    name: NodeName
    """The Node's name; the credentials must be those of system:node:<name>."""
    address: Address = "127.0.0.1"
    """InternalIP of the Node, where the API server reaches the endpoint; also the podIP of pods on serial devices."""
    capacity: Resources = Field(default_factory=lambda: {"cpu": "100", "memory": "100Gi", "pods": "100"})
    """Ordinary resources, so that pods with usual requests fit; device classes are added by themselves."""
    labels: Labels = Field(default_factory=dict)
    taint: Taint = "virtual-kubelet.io/provider=wirelet:NoSchedule"
    """key=value:Effect, set when the Node is created; null for none."""
    operating_system: Literal["linux", "windows"] = "linux"


class ClusterSection(Section):
    kubeconfig: Text
    namespace: Name | None = None
    """Only pods of this namespace; null for all."""


class ServerSection(Section):
    address: Address = "0.0.0.0"
    port: int = Field(default=10250, ge=0, le=65535)
    """0 takes a free one, for tests."""
    client_ca: Text | None = Field(default=None, alias="clientCA")
    """Certificates signed by this CA are users of the endpoint; the cluster's client CA."""
    cert_file: Text | None = None
    key_file: Text | None = None

    @model_validator(mode="after")
    def _pair(self) -> ServerSection:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile come together")
        return self


class LogsSection(Section):
    budget: LogSize = 64 * 2**20
    """Bytes of memory for all rings together."""
    ring: LogSize = 4 * 2**20
    """The most that one container's ring takes of it."""


class DoctorSection(Section):
    every: Examined = 600.0
    """How often a node looks at its own machine, as `wirelet doctor` does."""


class HookSection(Section):
    command: Argv
    """argv; it is run without a shell, with WIRELET_DEVICE in its environment."""
    deadline: Deadline = 10.0


class PowerSection(Section):
    on: HookSection | None = None
    off: HookSection | None = None
    cycle: HookSection | None = None

    @model_validator(mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """YAML 1.1 reads the keys `on` and `off` as true and false."""
        words = {True: "on", False: "off"}
        return {words.get(key, key): section for key, section in value.items()} if isinstance(value, dict) else value


class HooksSection(Section):
    reset: HookSection | None = None
    power: PowerSection | None = None


class ClassSection(Section):
    name: Name
    protocol: ConfiguredProtocol = Field(default="framed", validate_default=True)
    """The name of the driver, which says what may stand below it: transports.driver."""
    slots: int = Field(default=1, ge=1, le=MAX_SLOTS)
    """Workloads at once on each device."""
    shared: bool = False
    """Pods without a request may use a free slot."""
    grace: DurationS = 30.0
    """How long a device may be away before its slots leave allocatable."""
    keepalive: Keepalive = 1.0
    vid_pids: tuple[VidPid, ...] = ()
    """Further USB ids of the same board, which it has for a while: its boot modes."""
    hooks: HooksSection = HooksSection()
    link: LinkDefaults = Field(default_factory=dict)
    """Options that the links of its devices have when they do not say otherwise, below the name of the link."""

    @model_validator(mode="after")
    def _slots_of_protocol(self) -> ClassSection:
        most = drivers.max_slots(self.protocol.driver)
        if most is not None and self.slots > most:
            raise Nested([(("slots",), f"must be at most {most} with protocol {self.protocol.driver}, not {self.slots}")])
        return self


class SideLinkSection(Section):
    role: Literal["console", "debug"]
    link: ConfiguredLink


class DeviceSection(Section):
    name: Name
    class_: str = Field(alias="class")
    device_id: DeviceId | None = None
    """Which board may answer, by its HELLO; `any`: whichever does. Without it the first one that did, where the link names a board."""
    link: ConfiguredLink
    """The key below it names the driver, which says what may stand there: transports.driver."""
    links: tuple[SideLinkSection, ...] = ()
    """Further ones of the board: a console that is recorded, a debug port that is lent."""

    @model_validator(mode="after")
    def _one_of_a_role(self) -> DeviceSection:
        roles = [section.role for section in self.links]
        told = "is the role of another link of this device, too"
        repeated = [(("links", index, "role"), f"{role} {told}") for index, role in enumerate(roles) if role in roles[:index]]
        if repeated:
            raise Nested(repeated)
        return self


class Configuration(Section):
    """The whole file. cluster and server are absent in standalone mode."""

    api_version: Literal["wirelet.dev/v1alpha1"] = "wirelet.dev/v1alpha1"
    kind: Literal["GatewayConfiguration"] = "GatewayConfiguration"
    node: NodeSection
    cluster: ClusterSection | None = None
    server: ServerSection = ServerSection()
    logs: LogsSection = LogsSection()
    doctor: DoctorSection = DoctorSection()
    runtime_directory: Text | None = None
    """Sockets, rings and checkpoints: on tmpfs, never on an SD card. Default /run/wirelet, or XDG_RUNTIME_DIR/wirelet."""
    state_directory: Text | None = None
    """The ledger and keys. Default /var/lib/wirelet, or XDG_STATE_HOME/wirelet."""
    classes: tuple[ClassSection, ...] = ()
    devices: tuple[DeviceSection, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, document: Any) -> Any:
        return with_defaults(document)

    @model_validator(mode="after")
    def _references(self) -> Configuration:
        problems = [*_repeated("classes", [section.name for section in self.classes]), *_two_on_one_port(self.devices)]
        problems += _repeated("devices", [device.name for device in self.devices])
        names = sorted(section.name for section in self.classes)
        for index, device in enumerate(self.devices):
            if device.class_ not in names:
                problems.append((f"devices[{index}].class", f"no class {device.class_!r}; there are: {', '.join(names) or 'none'}"))
        if problems:
            raise ConfigError(problems)
        return self

    def class_of(self, device: DeviceSection) -> ClassSection:
        return next(section for section in self.classes if section.name == device.class_)


def _repeated(key: str, names: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (f"{key}[{index}].name", f"{name!r} is already {key}[{names.index(name)}]; names are unique")
        for index, name in enumerate(names)
        if name in names[:index]
    ]


def _two_on_one_port(devices: tuple[DeviceSection, ...]) -> list[tuple[str, str]]:
    links = [(f"devices[{index}]", device.link) for index, device in enumerate(devices)]
    for index, device in enumerate(devices):
        links += [(f"devices[{index}].links[{number}]", side.link) for number, side in enumerate(device.links)]
    seen: dict[str, str] = {}
    problems = []
    for where, link in links:
        port = link.port
        if port is None:
            continue
        if port in seen:
            problems.append((f"{where}.link.{link.driver}", f"{port} is already the port of {seen[port]}"))
        seen.setdefault(port, where)
    return problems


def load(path: str | Path) -> Configuration:
    """Read and check a configuration file. Raises ConfigError with every problem found."""
    return check(read(path))


def parse(text: str) -> Configuration:
    """Check the text of a configuration file. Raises ConfigError with every problem found."""
    return check(_document(text))


def published(configuration: Configuration) -> dict[str, Any]:
    """The configuration in the file's keys with every default, for others to read: of a hook's command only the program is told,
    because its arguments may hold the password of a power switch."""
    document: dict[str, Any] = configuration.model_dump(mode="json", by_alias=True)
    for section in document["classes"]:
        hooks = section["hooks"]
        for hook in (hooks["reset"], *(hooks["power"] or {}).values()):
            if hook is not None:
                hook["command"] = hook["command"][:1]
    return document


def read(path: str | Path) -> dict[str, Any]:
    """The file's mapping, not checked yet. Raises ConfigError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([("", f"cannot read {path}: {error.strerror}; {_way_to_read(error)}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([("", f"{path} is not UTF-8 text; save it as that")]) from error
    return _document(text, f"{path}: ")


def _way_to_read(error: OSError) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return "write it, or name the one that you have"
        case IsADirectoryError():
            return "name the file in it"
        case PermissionError():
            return "run this as the user the gateway runs as"
        case _:
            return "name another"


def check(document: dict[str, Any]) -> Configuration:
    """The configuration that a mapping means. Raises ConfigError with every problem found."""
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigError([(path_of(location), message) for location, message in problems_of(error, Configuration)]) from error


def _document(text: str, where_from: str = "") -> dict[str, Any]:
    """where_from stands in front of what is wrong with the text as a whole."""
    try:
        document = yaml.load(text, StrictLoader)
    except RecursionError as error:
        raise ConfigError([("", f"{where_from}not a configuration: nested too deeply")]) from error
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError([("", f"{where_from}not YAML{where}: {problem_of(error)}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([("", f"{where_from}not YAML: {error}")]) from error
    if not isinstance(document, dict):
        raise ConfigError([("", f"{where_from}must be a mapping with apiVersion: {API_VERSION} and kind: {KIND}")])
    return document
