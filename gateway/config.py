"""GatewayConfiguration v1alpha1: the file's shape, its checks, and what every key means.

Everything is checked before anything is opened. A problem is one line: the path of the key and what is allowed there. No secret stands
in the file; it names files that hold them. Durations are written `10s`, `500ms`, `2m`; in Python they are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from gateway.errors import ConfigError

API_VERSION: Final = "wirelet.dev/v1alpha1"
KIND: Final = "GatewayConfiguration"
MAX_SLOTS: Final = 31
"""A LOG record's source has five bits for the slot, and slot 31 is the device itself."""
_DURATION: Final = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h))+")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T|)")
MAX_NODE_NAME: Final = 253
_TAINT: Final = re.compile(r"[^=:\s]+(=[^=:\s]*)?:(NoSchedule|PreferNoSchedule|NoExecute)")
_FACTORS: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_duration_s(value: object) -> float:
    """Seconds of `10s`, `1m30s` or `500ms`. Raises ValueError that says what is allowed."""
    text = value if isinstance(value, str) else ""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"must be a duration such as 10s, 500ms or 2m, not {value!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def _bytes(value: object) -> int:
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None:
        raise ValueError(f"must be a size such as 64Mi, not {value!r}")
    return int(float(match[1]) * _FACTORS[match[2]])


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"must be lower-case letters, digits and '-', at most 63, not {value!r}")
    return value


def _node_name(value: str) -> str:
    if len(value) > MAX_NODE_NAME or not all(_NAME.fullmatch(part) for part in value.split(".")):
        raise ValueError(f"must be a DNS name in lower case, not {value!r}")
    return value


def _taint(value: str | None) -> str | None:
    if value is not None and not _TAINT.fullmatch(value):
        raise ValueError(f"must be key=value:Effect with NoSchedule, PreferNoSchedule or NoExecute, not {value!r}")
    return value


DurationS = Annotated[float, BeforeValidator(parse_duration_s), PlainSerializer(_duration)]
SizeBytes = Annotated[int, BeforeValidator(_bytes)]
Name = Annotated[str, AfterValidator(_name)]
NodeName = Annotated[str, AfterValidator(_node_name)]
Taint = Annotated[str | None, AfterValidator(_taint)]
Argv = Annotated[tuple[str, ...], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=False, strict=False)


class NodeSection(_Section):
    name: NodeName
    """The Node's name; the credentials must be those of system:node:<name>."""
    address: str = "127.0.0.1"
    """InternalIP of the Node, where the API server reaches the endpoint; also the podIP of pods on serial devices."""
    capacity: dict[str, str] = Field(default_factory=lambda: {"cpu": "100", "memory": "100Gi", "pods": "100"})
    """Ordinary resources, so that pods with usual requests fit; device classes are added by themselves."""
    labels: dict[str, str] = Field(default_factory=dict)
    taint: Taint = "virtual-kubelet.io/provider=wirelet:NoSchedule"
    """key=value:Effect, set when the Node is created; null for none."""
    operating_system: Literal["linux", "windows"] = "linux"


class ClusterSection(_Section):
    kubeconfig: str
    namespace: str | None = None
    """Only pods of this namespace; null for all."""


class ServerSection(_Section):
    address: str = "0.0.0.0"
    port: int = Field(default=10250, ge=0, le=65535)
    """0 takes a free one, for tests."""
    client_ca: str | None = Field(default=None, alias="clientCA")
    """Certificates signed by this CA are users of the endpoint; the cluster's client CA."""
    cert_file: str | None = None
    key_file: str | None = None

    @model_validator(mode="after")
    def _pair(self) -> ServerSection:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile come together")
        return self


class LogsSection(_Section):
    budget: SizeBytes = 64 * 2**20
    """Bytes of memory for all rings together."""
    ring: SizeBytes = 4 * 2**20
    """The most that one container's ring takes of it."""


class HookSection(_Section):
    command: Argv
    """argv; it is run without a shell, with WIRELET_DEVICE in its environment."""
    deadline: DurationS = 10.0


class PowerSection(_Section):
    cycle: HookSection


class HooksSection(_Section):
    reset: HookSection | None = None
    power: PowerSection | None = None


class ClassSection(_Section):
    name: Name
    protocol: Literal["framed"] = "framed"
    slots: int = Field(default=1, ge=1, le=MAX_SLOTS)
    """Workloads at once on each device."""
    shared: bool = False
    """Pods without a request may use a free slot."""
    grace: DurationS = 30.0
    """How long a device may be away before its slots leave allocatable."""
    keepalive: DurationS = 1.0
    hooks: HooksSection = HooksSection()


class SerialSection(_Section):
    path: str
    baud: int = Field(default=115200, ge=50, le=20_000_000)


class SimulatedSection(_Section):
    seed: int = 0
    accept: Literal["any"] | None = None
    """any: an unknown image prints its arguments and stays up."""
    ring: SizeBytes = 16384


class LinkSection(_Section):
    serial: SerialSection | None = None
    simulated: SimulatedSection | None = None

    @model_validator(mode="after")
    def _one(self) -> LinkSection:
        if (self.serial is None) == (self.simulated is None):
            raise ValueError("needs exactly one of: serial, simulated")
        return self


class DeviceSection(_Section):
    name: Name
    class_: str = Field(alias="class")
    link: LinkSection


class Configuration(_Section):
    """The whole file. cluster and server are absent in standalone mode."""

    api_version: Literal["wirelet.dev/v1alpha1"] = "wirelet.dev/v1alpha1"
    kind: Literal["GatewayConfiguration"] = "GatewayConfiguration"
    node: NodeSection
    cluster: ClusterSection | None = None
    server: ServerSection = ServerSection()
    logs: LogsSection = LogsSection()
    runtime_directory: str | None = None
    """Sockets, rings and checkpoints: on tmpfs, never on an SD card. Default /run/wirelet, or XDG_RUNTIME_DIR/wirelet."""
    state_directory: str | None = None
    """The ledger and keys. Default /var/lib/wirelet, or XDG_STATE_HOME/wirelet."""
    classes: tuple[ClassSection, ...] = ()
    devices: tuple[DeviceSection, ...] = ()

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
    seen: dict[str, int] = {}
    problems = []
    for index, device in enumerate(devices):
        if device.link.serial is None:
            continue
        path = device.link.serial.path
        if path in seen:
            problems.append((f"devices[{index}].link.serial.path", f"{path} is already the port of devices[{seen[path]}]"))
        seen.setdefault(path, index)
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
        for hook in (hooks["reset"], (hooks["power"] or {}).get("cycle")):
            if hook is not None:
                hook["command"] = hook["command"][:1]
    return document


def read(path: str | Path) -> dict[str, Any]:
    """The file's mapping, not checked yet. Raises ConfigError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([("", f"cannot read {path}: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([("", f"{path} is not UTF-8 text")]) from error
    return _document(text)


def check(document: dict[str, Any]) -> Configuration:
    """The configuration that a mapping means. Raises ConfigError with every problem found."""
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigError([(_path(item["loc"]), _message(dict(item))) for item in error.errors()]) from error


def _document(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise ConfigError([("", f"not YAML{where}: {getattr(error, 'problem', None) or error}")]) from error
    if not isinstance(document, dict):
        raise ConfigError([("", f"must be a mapping with apiVersion: {API_VERSION} and kind: {KIND}")])
    return document


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _message(problem: dict[str, Any]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key; allowed here: {', '.join(_allowed(problem['loc'][:-1]))}"
        case "missing":
            return "is required"
        case "value_error":
            return str(problem["ctx"]["error"])
        case "literal_error":
            return f"must be {problem['ctx']['expected']}, not {problem['input']!r}"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"must be a whole number, not {problem['input']!r}"
        case "string_type":
            return f"must be text, not {problem['input']!r}"
        case "tuple_type":
            return f"must be a list, not {problem['input']!r}"
        case "bool_parsing" | "bool_type":
            return f"must be true or false, not {problem['input']!r}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be a mapping with keys such as {', '.join(_allowed(problem['loc'])) or 'name: value'}, not {problem['input']!r}"
        case "greater_than_equal" | "less_than_equal":
            return f"must be {problem['msg'].removeprefix('Input should be ')}, not {problem['input']!r}"
        case _:
            return f"{problem['msg'][0].lower()}{problem['msg'][1:]}, not {problem['input']!r}"


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at location."""
    model: type[BaseModel] = Configuration
    for part in location:
        if isinstance(part, int):
            continue
        field = next(field for name, field in model.model_fields.items() if (field.alias or name) == part)
        model = next(found for found in _models(field.annotation))
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models(argument)]
