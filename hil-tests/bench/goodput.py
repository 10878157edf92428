"""How much of a line of 921600 baud a device's log gets, by the size of its ring and the line's bit error rate.

A board behind the bad cable of hil-tests/cable.py writes without end, the gateway stores; the figure is stored bytes of the LOG stream
over what the line carries in that time. Frames of 243 bytes cost 5 % of it. A small ring runs full before its end is acknowledged; after an
error everything that is under way is sent again, and here that is more than with a UART: the board's pty takes 4 KiB ahead of the line.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import yaml
from bench._figures import Figures, show_pace
from cable import Cable
from gateways import device
from processes import NotReady
from wire import Line
from workbench import Workbench

from gateway.logs.checkpoint import CheckpointFile, checkpoint_path

BAUD: Final = 921600
BYTES_PER_S: Final = BAUD / 10
RINGS_BYTES: Final = (1024, 2048, 4096, 8192)
BIT_ERROR_RATES: Final = (0.0, 1e-6, 1e-5)
MEASURE_S: Final = 5.0
SETTLE_S: Final = 0.5
LEAST_PERCENT: Final = 90.0
LEAST_RING_BYTES: Final = 2048
LEAST_AT_RATE: Final = 1e-6
BOARD: Final = Path(__file__).parent.parent / "board_on_a_cable.py"


def stored_bytes(checkpoint: Path) -> int:
    """How far the board's log is stored, as a gateway that starts now would read it."""
    if not checkpoint.exists():
        return 0
    file = CheckpointFile(checkpoint)
    try:
        return file.value.expected if file.value is not None else 0
    finally:
        file.close()


def measure(folder: Path, ring_bytes: int, figures: Figures) -> None:
    workbench = Workbench(folder)
    line = Line(baud=BAUD)
    manifests = folder / "manifests"
    manifests.mkdir()
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "firehose"}}
    spec = {"containers": [{"name": "main", "image": "firehose", "resources": {"limits": {"wirelet.dev/sim": 1}}}]}
    (manifests / "pod.yaml").write_text(yaml.safe_dump({**pod, "spec": spec}))
    with Cable(folder / "host", folder / "board", a_to_b=line, b_to_a=line) as cable:
        try:
            options = ["--slots", "1", "--ring", str(ring_bytes), "--line-bytes-per-s", str(BYTES_PER_S)]
            workbench.process("board", [sys.executable, str(BOARD), str(folder / "board"), *options])
            configuration = {
                "node": {"name": "bench"},
                "classes": [{"name": "sim", "slots": 1}],
                "devices": [device("board", "sim", folder / "host", BAUD)],
            }
            gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(manifests))
            checkpoint = checkpoint_path(gateway.folder / "run" / "checkpoints", "board")
            gateway.process.wait_for(lambda: stored_bytes(checkpoint) > 2 * ring_bytes, "the board to write")
            for rate in BIT_ERROR_RATES:
                cable.change("b", flip=8 * rate)
                time.sleep(SETTLE_S)
                before, begun = stored_bytes(checkpoint), time.monotonic()
                time.sleep(MEASURE_S)
                share = (stored_bytes(checkpoint) - before) / (time.monotonic() - begun) / BYTES_PER_S * 100
                is_bound = ring_bytes >= LEAST_RING_BYTES and rate <= LEAST_AT_RATE
                figures.show_least(
                    f"ring {ring_bytes // 1024} KiB, bit error rate {rate:g}", share, "%", LEAST_PERCENT if is_bound else None
                )
        finally:
            workbench.clear()


def main() -> int:
    figures = Figures()
    show_pace(figures)
    for ring_bytes in RINGS_BYTES:
        with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
            try:
                measure(Path(folder), ring_bytes, figures)
            except NotReady as error:
                print(f"goodput: {error}", file=sys.stderr)
                return 1
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
