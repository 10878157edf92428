"""Boards that never stop writing, each on a line of 921600 baud, and a gateway that stores what they say: for the benches of busy lines."""

from __future__ import annotations

import contextlib
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from bench._footprint import cpu_s
from gateways import WIRELET, Gateway, device
from processes import Process
from workbench import Workbench

from gateway.logs.checkpoint import SLOT_BYTES, CheckpointFile, checkpoint_path

BAUD: Final = 921600
BYTES_PER_S: Final = BAUD / 10
BOARDS: Final = Path(__file__).parent / "_replaying_boards.py"
START_S: Final = 60.0
WRITING_BYTES: Final = 50_000
"""A port that has brought so much has its pod running."""
_SAVES: Final = struct.Struct("<Q")
"""A slot of a checkpoint begins with the number of its save."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a gateway has done so far, as the kernel and its checkpoints count it."""

    at_s: float
    cpu_s: float
    received_bytes: int
    """All that it has read: its ports, but for a little."""
    reads: int
    writes: int
    wake_ups: int
    saves: int

    def since(self, before: Look) -> Look:
        return Look(*(getattr(self, name) - getattr(before, name) for name in Look.__slots__))


class BusyTable:
    """Use busy_table."""

    def __init__(self, folder: Path, memory: Path, workbench: Workbench, ports: int, ring_bytes: int, slice_ms: float) -> None:
        self.ports = ports
        self.memory = memory
        self._folder = folder
        self._workbench = workbench
        self._links = [folder / f"port-{number}" for number in range(ports)]
        options = ["--link", str(folder / "port-%d"), "--count", str(ports), "--ring", str(ring_bytes), "--slice-ms", str(slice_ms)]
        argv = [sys.executable, str(BOARDS), *options, "--baud", str(BAUD)]
        self.boards: Process = workbench.process("boards", argv, has_stdin=True)
        self.boards.wait_for(lambda: all(link.exists() for link in self._links), "the boards to be ready")

    def start_gateway(self, program: Sequence[str] = WIRELET) -> Gateway:
        """Returns when every board writes."""
        manifests = self._folder / "manifests"
        manifests.mkdir()
        (manifests / "pods.yaml").write_text(yaml.safe_dump_all(_manifest(number) for number in range(self.ports)))
        configuration = {
            "node": {"name": "bench"},
            "runtimeDirectory": str(self.memory),
            "classes": [{"name": "sim", "slots": 1}],
            "devices": [device(f"board-{number}", "sim", link, BAUD) for number, link in enumerate(self._links)],
        }
        options = ("--standalone", "--manifests", str(manifests))
        gateway = self._workbench.gateway(configuration, *options, wait=False, program=program)
        gateway.process.wait_for(self._all_write, "every board to write", START_S)
        return gateway

    def _all_write(self) -> bool:
        return all(self.stored_bytes(number) > WRITING_BYTES for number in range(self.ports))

    def stored_bytes(self, number: int = 0) -> int:
        """How far a board's log is stored, as a gateway that starts now would read it."""
        path = self._checkpoint(number)
        if not path.exists():
            return 0
        file = CheckpointFile(path)
        try:
            return file.value.expected if file.value is not None else 0
        finally:
            file.close()

    def look(self, gateway: Gateway) -> Look:
        pid = gateway.process.pid
        io = _numbers(Path(f"/proc/{pid}/io"))
        wake_ups = _numbers(Path(f"/proc/{pid}/status"))["voluntary_ctxt_switches"]
        saves = sum(self._saves(number) for number in range(self.ports))
        return Look(time.monotonic(), cpu_s(pid), io["rchar"], io["syscr"], io["syscw"], wake_ups, saves)

    def watch(self, gateway: Gateway, seconds: float) -> Look:
        before = self.look(gateway)
        time.sleep(seconds)
        return self.look(gateway).since(before)

    def _saves(self, number: int) -> int:
        slots = self._checkpoint(number).read_bytes()
        return max(int(_SAVES.unpack_from(slots, at)[0]) for at in (0, SLOT_BYTES))

    def _checkpoint(self, number: int) -> Path:
        return checkpoint_path(self.memory / "checkpoints", f"board-{number}")


@contextlib.contextmanager
def busy_table(ports: int = 1, *, ring_bytes: int = 16384, slice_ms: float = 5.0) -> Iterator[BusyTable]:
    with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        workbench = Workbench(Path(folder))
        try:
            yield BusyTable(Path(folder), Path(memory), workbench, ports, ring_bytes, slice_ms)
        finally:
            workbench.clear()


def _manifest(number: int) -> dict[str, Any]:
    """A pod on its own board, of a program that the board does not have: it takes any, and its lines come from the replay."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"firehose-{number}", "annotations": {"wirelet.dev/device": f"board-{number}"}},
        "spec": {"containers": [{"name": "main", "image": "replayed", "resources": {"limits": {"wirelet.dev/sim": 1}}}]},
    }


def _numbers(path: Path) -> dict[str, int]:
    pairs = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return {name: int(value) for name, value in pairs if value.strip().isdigit()}
