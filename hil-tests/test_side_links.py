"""Boards with more links than the one that runs pods: a console that is recorded all the time, and a debug port that programs borrow."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import WIRELET, Gateway, device
from raw_port import RawPort
from workbench import Workbench

HOLD = "import os, sys; print(os.environ['WIRELET_PORT'], flush=True); sys.stdin.readline()"


class Bench:
    """board-a runs a counter; its console and its debug port are the test's."""

    def __init__(self, workbench: Workbench, folder: Path, console: RawPort, debug: RawPort) -> None:
        pods = folder / "pods"
        pods.mkdir()
        boards = workbench.boards()
        links = [
            {"role": "console", "link": {"serial": {"path": str(console.link)}}},
            {"role": "debug", "link": {"serial": {"path": str(debug.link)}}},
        ]
        configuration = {
            "node": {"name": "desk"},
            "classes": [{"name": "board", "shared": True}],
            "devices": [{**device("board-a", "board", boards.links[0]), "links": links}],
        }
        container = {"name": "main", "image": "counter", "args": ["--rate", "20"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "counter"}, "spec": {"containers": [container]}}
        (pods / "counter.json").write_text(json.dumps(pod))
        self.gateway: Gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(pods))
        self.wait(lambda: len(self.gateway.cli("logs", "counter", check=False).splitlines()) > 5, "the counter")

    def wait(self, met: Any, what: str) -> None:
        self.gateway.process.wait_for(lambda: bool(met()), what, timeout_s=20)

    @property
    def links(self) -> dict[str, str]:
        """role -> what is said of it."""
        (row,) = json.loads(self.gateway.cli("get", "devices", "-o", "json"))["items"]
        return {link["role"]: link["message"] for link in row["links"]}

    @property
    def console_log(self) -> list[str]:
        return self.gateway.cli("logs", "device/board-a/console").splitlines()

    def counted(self) -> list[int]:
        return [int(line) for line in self.gateway.cli("logs", "counter").splitlines() if line.isdigit()]

    def lend(self, role: str) -> subprocess.Popen[str]:
        argv = [*WIRELET, "lend", "--link", role, "board-a", "--", sys.executable, "-c", HOLD]
        return subprocess.Popen(
            argv, env=self.gateway.cli_env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[tuple[RawPort, RawPort]]:
    with contextlib.closing(RawPort(tmp_path / "console")) as console, contextlib.closing(RawPort(tmp_path / "debug")) as debug:
        yield console, debug


@pytest.fixture
def bench(workbench: Workbench, tmp_path: Path, ports: tuple[RawPort, RawPort]) -> Bench:
    return Bench(workbench, tmp_path, *ports)


def first_line(popen: subprocess.Popen[str]) -> str:
    assert popen.stdout is not None
    return popen.stdout.readline().strip()


def test_a_console_beside_the_workload_is_recorded_and_hears_nothing(bench: Bench, ports: tuple[RawPort, RawPort]) -> None:
    console, debug = ports
    bench.wait(lambda: bench.links["console"] == "", "the console to be open")
    console.send(b"U-Boot 2024.01\r\nlogin: ")
    bench.wait(lambda: bench.console_log == ["U-Boot 2024.01", "login: "], "its text")
    bench.gateway.kill()
    console.send(b"nobody reads\r\n")
    bench.gateway.start()
    bench.wait(lambda: bench.links["console"] == "", "the console to be open again")
    console.send(b"root\r\n")
    bench.wait(lambda: "root" in bench.console_log[-1], "the rest")
    assert any("nobody was reading" in line for line in bench.console_log)
    assert bytes(console.received) == bytes(debug.received) == b""
    wide = bench.gateway.cli("get", "devices", "-o", "wide")
    assert f"console={console.link}" in wide.replace("serial:", "")


def test_a_further_link_is_lent_while_the_pod_goes_on(bench: Bench, ports: tuple[RawPort, RawPort]) -> None:
    console, debug = ports
    for role, port in (("debug", debug), ("console", console)):
        bench.wait(lambda role=role: bench.links[role] == "", "the link")
        before = len(bench.counted())
        with bench.lend(role) as first:
            assert first_line(first) == str(port.link)
            bench.wait(lambda role=role: "lent to" in bench.links[role], "the loan to be told")
            with bench.lend(role) as second:
                _, errors = second.communicate(timeout=20)
                assert second.returncode == 1
                assert f"board-a/{role}: lent to" in errors
            bench.wait(lambda before=before: len(bench.counted()) > before + 20, "the counter to go on")
            first.communicate("\n", timeout=20)
        assert first.returncode == 0
        bench.wait(lambda role=role: bench.links[role] == "", "the end of the loan")
    numbers = bench.counted()
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_console_that_was_lent_before_the_gateway_began_is_left_alone(bench: Bench, ports: tuple[RawPort, RawPort]) -> None:
    console, _ = ports
    with bench.lend("console") as first:
        assert first_line(first) == str(console.link)
        bench.gateway.kill()
        bench.gateway.start()
        bench.wait(lambda: "lent to" in bench.links["console"], "the lock to be seen")
        first.communicate("\n", timeout=20)
    bench.wait(lambda: bench.links["console"] == "", "the console to be open")
    console.send(b"back\r\n")
    bench.wait(lambda: bench.console_log[-1:] == ["back"], "its text")


def test_a_role_that_is_not_there_is_refused(bench: Bench) -> None:
    with bench.lend("swd") as refused:
        _, errors = refused.communicate(timeout=20)
    assert refused.returncode == 1
    assert "board-a has no link swd; there are besides its own: console, debug" in errors
