"""A key and back, and a line to whoever follows: through a gateway and kubectl, beside a program that opens the port itself (socat).

The far end of the port is a program on a terminal that gives back every byte. Whoever types has a terminal, too. The same person,
port and far end for everybody, one after another, so that the difference is what is in between. Last a simulated board with our
firmware: a key at the terminal that it makes, and bytes through a command and back.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import control_plane as control_planes
from bench._figures import Figures, quantile, show_pace
from board_lab import BoardDesk
from console_lab import ConsoleLab
from gateways import WIRELET
from lab import container
from person import Person
from processes import NotReady
from raw_port import RawPort
from terminal_port import TerminalPort
from workbench import Workbench

KEYS: Final = 200
LINES: Final = 50
COPIED_BYTES: Final = 4 << 20
NAMESPACE: Final = "bench"
FAR_END: Final = ["sh", "-c", "stty raw -echo; exec cat"]
ATTACH_MS: Final = 20.0
"""What a person takes for at once is 100; a gateway on a Pi is ten times slower than here."""


def round_trips(figures: Figures, what: str, argv: Sequence[str], env: Mapping[str, str], limit_ms: float | None = None) -> None:
    with contextlib.closing(Person(argv, env)) as person:
        ready(person)
        times_ms = []
        for number in range(KEYS):
            key = b"%c" % (ord("a") + number % 26)
            began = time.monotonic()
            person.types(key)
            person.sees(key)
            times_ms.append(1000 * (time.monotonic() - began))
    figures.show(f"{what}: a key and back, median", statistics.median(times_ms), "ms", limit_ms)
    figures.show(f"{what}: p95", quantile(times_ms, 0.95), "ms")


def ready(person: Person) -> None:
    """A key that is typed before the terminal is raw is shown by the terminal itself; then one must come back from the far end."""
    time.sleep(2)
    person.types(b"!")
    person.sees(b"!")
    time.sleep(0.5)
    person.types(b"?")
    person.sees(b"?")


def lines(figures: Figures, what: str, port: RawPort, wait_for: Callable[[int], object], begun: int) -> None:
    times_ms = []
    for number in range(LINES):
        began = time.monotonic()
        port.send(b"line %d\r\n" % number)
        wait_for(begun + number + 1)
        times_ms.append(1000 * (time.monotonic() - began))
    figures.show(f"{what}, median", statistics.median(times_ms), "ms")
    figures.show(f"{what}, p95", quantile(times_ms, 0.95), "ms")


def pod(lab: ConsoleLab, name: str) -> None:
    manifest = lab.pod_manifest(name, "any", request=True, container={"stdin": True, "tty": True})
    del manifest["spec"]["containers"][0]["args"]
    lab.kubectl("create", "-f", "-", stdin=manifest)
    lab.wait_for_pod(name, lambda found: "running" in container(found).get("state", {}))


def typing(figures: Figures, lab: ConsoleLab, folder: Path) -> None:
    with contextlib.closing(TerminalPort(folder / "typed", FAR_END, {})) as port:
        round_trips(figures, "socat on the port", ["socat", "STDIO,raw,echo=0", f"FILE:{port.link},raw,echo=0"], os.environ)
        lab.begin(port.link)
        pod(lab, "typed")
        round_trips(figures, "wirelet attach", [*WIRELET, "attach", "-it", "typed", "-n", NAMESPACE], lab.gateway.cli_env, ATTACH_MS)
        argv = lab.control_plane.kubectl_argv("-n", NAMESPACE, "attach", "-it", "typed")
        round_trips(figures, "kubectl attach", argv, {**os.environ, **lab.control_plane.kubectl_env})
        lab.gateway.stop()


def following(figures: Figures, lab: ConsoleLab, folder: Path) -> None:
    with contextlib.closing(RawPort(folder / "followed")) as port:
        lab.begin(port.link)
        pod(lab, "followed")
        follower = lab.follow("followed")
        port.send(b"first\r\n")
        follower.wait_for_lines(1)
        lines(figures, "a line of a console to kubectl logs -f", port, follower.wait_for_lines, 1)
        lab.gateway.stop()


def on_a_board(figures: Figures, workbench: Workbench, folder: Path) -> None:
    desk = BoardDesk(workbench, folder)
    desk.put("job", "hello")
    round_trips(figures, "wirelet exec on a board", [*WIRELET, "exec", "-it", "job", "--", "cat"], desk.gateway.cli_env, ATTACH_MS)
    data = os.urandom(COPIED_BYTES)
    began = time.monotonic()
    told = desk.ran("exec", "-i", "job", "--", "cat", stdin=data)
    took_s = time.monotonic() - began
    assert told.stdout == data, told.stderr
    figures.show("through cat on a board and back, the command's start included", len(data) / took_s / 1000, "kB/s")


def main() -> int:
    figures = Figures()
    show_pace(figures)
    with tempfile.TemporaryDirectory(prefix="wb-") as name:
        folder = Path(name)
        workbench = Workbench(folder)
        try:
            with control_planes.running(folder / "control-plane") as cluster:
                cluster.create_namespace(NAMESPACE)
                for story in (typing, following):
                    lab = ConsoleLab(cluster, workbench, NAMESPACE)
                    try:
                        story(figures, lab, folder)
                    finally:
                        lab.close()
            on_a_board(figures, workbench, folder)
        except NotReady as not_ready:
            print(f"not measured: {not_ready}", file=sys.stderr)
            return 1
        finally:
            workbench.clear()
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
