"""ManifestDirectory: the PodSource of standalone mode. A folder of *.yaml, *.yml and *.json with pods, ConfigMaps and Secrets.

The folder is looked at every half second, in a thread; only files whose time or size changed are read, and a change is taken when it has
held still for one look, so that an editor may save in peace. A file that cannot be read, or a whole folder, changes nothing: what was
there goes on. A file that was read and is broken is reported once, with its reason, and describes nothing until it is mended: its pods end.
A single broken document takes only itself out.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
import anyio.to_thread
import yaml

from gateway.pods.seams import JsonObject, PodUid
from gateway.pods.static import Described, StaticPods, describe, merge
from gateway.strict_yaml import StrictLoader, problem_of

LOOK_S: Final = 0.5
"""Between two looks at the folder: soon enough for a person, cheap enough for an SD card."""
MAX_FILE_BYTES: Final = 1 << 20
"""As much as etcd takes for an object."""
MAX_FILES: Final = 1000
MAX_VALUES: Final = 50_000
"""In one document, aliases counted out: an alias bomb of a few lines holds billions."""
MAX_DEPTH: Final = 60
_SUFFIXES: Final = (".yaml", ".yml", ".json")

_logger = logging.getLogger(__name__)


class BrokenManifest(ValueError):
    """The file cannot be understood at all; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Signature:
    """When these are equal the content is taken to be."""

    mtime_ns: int
    size_bytes: int
    inode: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the folder. texts holds what was ripe to read; unreadable holds reasons by file name."""

    signatures: Mapping[str, Signature]
    texts: Mapping[str, bytes]
    unreadable: Mapping[str, str]


class _Loader(StrictLoader):
    """A time without quotes is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: bytes) -> list[Any]:
    """The documents of a file, as plain JSON values. Raises BrokenManifest."""
    try:
        documents = list(yaml.load_all(text, _Loader))
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise BrokenManifest(f"{line}{problem_of(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BrokenManifest(f"is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise BrokenManifest(f"is nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:  # the constructors of numbers and binaries
        raise BrokenManifest(str(error)) from error
    except (LookupError, AttributeError, TypeError) as error:  # the same, which look only at what they like
        raise BrokenManifest("holds a value that is not what its tag says") from error
    return [_Plain().copy(document) for document in documents]


@dataclass(slots=True)
class _Plain:
    """Copies a document out of YAML's values and shared nodes, within bounds."""

    left: int = MAX_VALUES

    def copy(self, value: Any, depth: int = 0) -> Any:
        self.left -= 1
        if self.left < 0:
            raise BrokenManifest(f"holds more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise BrokenManifest(f"is nested deeper than {MAX_DEPTH}")
        match value:
            case dict():
                return {self._key(key): self.copy(item, depth + 1) for key, item in value.items()}
            case list():
                return [self.copy(item, depth + 1) for item in value]
            case str():
                return _encodable(value)
            case None | bool() | int() | float():
                return value
        raise BrokenManifest(f"holds a value that JSON has not: {type(value).__name__}")

    @staticmethod
    def _key(key: Any) -> str:
        if not isinstance(key, str):
            raise BrokenManifest(f"the key {json.dumps(key, default=str)} must be a string; put it in quotes")
        return _encodable(key)


def _encodable(text: str) -> str:
    """JSON's escapes can write half of a character, which nothing could send to a device or to a client."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BrokenManifest("holds text that is not Unicode") from error
    return text


class Folder:
    """Looks at the folder; blocking, for a thread. Remembers what it has seen and read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, Signature] | None = None
        self._read: dict[str, Signature] = {}

    def look(self) -> Seen:
        """Raises OSError when the folder itself cannot be read."""
        found = sorted(entry for entry in self._path.iterdir() if entry.suffix in _SUFFIXES and not entry.name.startswith("."))
        if len(found) > MAX_FILES:
            raise OSError(f"holds {len(found)} manifests; at most {MAX_FILES} are taken")
        signatures: dict[str, Signature] = {}
        texts: dict[str, bytes] = {}
        unreadable: dict[str, str] = {}
        for entry in found:
            try:
                signature = _signature(entry)
                if signature is None:
                    continue
                signatures[entry.name] = signature
                is_ripe = self._seen is None or self._seen.get(entry.name) == signature
                if is_ripe and self._read.get(entry.name) != signature:
                    texts[entry.name] = _read(entry, signature)
                    self._read[entry.name] = signature
            except FileNotFoundError:
                continue  # it went between two calls
            except OSError as error:
                unreadable[entry.name] = error.strerror or str(error)
        self._seen = signatures
        self._read = {name: signature for name, signature in self._read.items() if name in signatures or name in unreadable}
        return Seen(signatures, texts, unreadable)


def _signature(entry: Path) -> Signature | None:
    """None for what is no file."""
    if not entry.is_file():
        return None
    status = entry.stat()
    return Signature(status.st_mtime_ns, status.st_size, status.st_ino)


def _read(entry: Path, signature: Signature) -> bytes:
    if signature.size_bytes > MAX_FILE_BYTES:
        raise OSError(f"is larger than {MAX_FILE_BYTES} bytes")
    return entry.read_bytes()


@dataclass(slots=True)
class _Files:
    """What every file described when it was last understood, and what was said about it."""

    described: dict[str, Described] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def take(self, seen: Seen, read: Mapping[str, Described]) -> list[str]:
        """Take a look in, with what it has read; the problems that are new."""
        problems = [f"{name}: {reason}; what it described goes on" for name, reason in seen.unreadable.items()]
        for name in [name for name in self.described if name not in seen.signatures and name not in seen.unreadable]:
            del self.described[name]
        self.described.update(read)
        for name, described in self.described.items():
            problems.extend(f"{name}: {problem}" for problem in described.problems)
        _, conflicts = merge(self.described)
        problems.extend(conflicts)
        new = [problem for problem in problems if problem not in self.told]
        self.told = set(problems)
        return new


def _described(name: str, text: bytes, node_name: str) -> Described:
    try:
        return describe(name, parse(text), node_name)
    except BrokenManifest as error:
        return Described(problems=[f"{error}; the file is skipped"])


class ManifestDirectory:
    """Implements gateway.pods.seams.PodSource. run() keeps it up to date; statuses come back by set_status and finish."""

    def __init__(self, path: Path, node_name: str, *, look_s: float = LOOK_S, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._look_s = look_s
        self._wall = wall
        self._node_name = node_name
        self._folder = Folder(path)
        self._files = _Files()
        self._static = StaticPods()
        self._described = Described()
        self._subscribers: list[Callable[[PodUid], None]] = []
        self._folder_problem = ""
        self._synced = False

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            await self.look()
            await anyio.sleep(self._look_s)

    async def look(self) -> None:
        """Look at the folder once and tell the subscribers what changed."""
        try:
            seen, read = await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        except OSError as error:
            problem = error.strerror or str(error)
            if problem != self._folder_problem:
                _logger.error("manifests cannot be read; what runs goes on", extra={"path": str(self._path), "why": problem})
            self._folder_problem = problem
            return
        self._folder_problem = ""
        self._take(seen, read)
        self._synced = True

    def _read(self) -> tuple[Seen, Mapping[str, Described]]:
        """In a thread: YAML of a megabyte takes seconds. Raises OSError."""
        seen = self._folder.look()
        return seen, {name: _described(name, text, self._node_name) for name, text in seen.texts.items()}

    def _take(self, seen: Seen, read: Mapping[str, Described]) -> None:
        for problem in self._files.take(seen, read):
            _logger.error("manifest problem", extra={"path": str(self._path), "why": problem})
        before, (self._described, _) = self._described, merge(self._files.described)
        changed = self._static.want(self._described.pods, self._wall())
        if (before.config_maps, before.secrets) != (self._described.config_maps, self._described.secrets):
            changed.update(pod["metadata"]["uid"] for pod in self._static.pods())
        self._tell(changed)

    def _tell(self, changed: set[PodUid]) -> None:
        for uid in sorted(changed):
            for told in self._subscribers:
                told(uid)

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the folder now, a line each."""
        folder = [f"{self._path}: {self._folder_problem}"] if self._folder_problem else []
        return [*folder, *sorted(self._files.told)]

    # PodSource

    def pods(self) -> Sequence[JsonObject]:
        return self._static.pods()

    def get(self, uid: PodUid) -> JsonObject | None:
        return self._static.get(uid)

    @property
    def synced(self) -> bool:
        return self._synced

    def subscribe(self, changed: Callable[[PodUid], None]) -> None:
        self._subscribers.append(changed)

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        return self._described.config_maps.get((namespace, name))

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return self._described.secrets.get((namespace, name))

    # for StatusTable

    def set_status(self, uid: PodUid, status: JsonObject) -> None:
        """The pod's object shows it from now on. A pod that is gone is ignored."""
        self._static.set_status(uid, status)

    def finish(self, uid: PodUid) -> None:
        """The pod has ended and was asked to go."""
        self._tell(self._static.finish(uid, self._wall()))
