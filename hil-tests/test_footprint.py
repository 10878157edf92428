"""A gateway at work loads only what its mode needs, ends when it is told, and says in one line why it cannot start.

What it loads is read from what the interpreter itself says of each import (PYTHONVERBOSE): every module by its full name, in whatever
thread and however late, so also one that was dropped from sys.modules again. `-X importtime` would not do: it does not see what
importlib.import_module loads, which is how `kubernetes` loads its typed API.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from control_plane import ControlPlane
from gateways import Gateway, device
from lab import Lab
from processes import Reaper
from workbench import Workbench

END_S: Final = 5.0
_IMPORTED: Final = re.compile(r"^import '(\S+)' # ", re.MULTILINE)

_TYPED: Final = re.compile(r"kubernetes(\.aio)?\.client\.(api|models)\.")
"""The packages themselves are empty until one of their modules is used; 25 MiB each then."""

NOT_NEEDED: Final = (
    *("asyncssh", "cryptography", "usb", "pyudev", "inotify_simple", "prometheus_client", "wsproto"),
    *("transports.simulated", "transports.protocols.conversations", "gateway.kubelet.remote_command"),
)
"""By a gateway with serial ports that nobody talks to."""

NODE: Final = {"node": {"name": "desk"}}
HELLO: Final = """
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec: {containers: [{name: main, image: hello}]}
"""


@pytest.fixture
def lab(control_plane: ControlPlane, workbench: Workbench, namespace: str) -> Iterator[Lab]:
    made = Lab(control_plane, workbench, namespace)
    yield made
    made.close()


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    made = Reaper()
    yield made
    made.close()


def imports_of(gateway: Gateway) -> set[str]:
    """Every module that it has imported so far."""
    found = set(_IMPORTED.findall(gateway.log()))
    assert {"gateway.app", "gateway.kubelet.server", "transports.serial"} <= found, "the interpreter does not say what it imports"
    return found


def among(modules: set[str], *packages: str) -> list[str]:
    """Those of the packages, with all below them."""
    return sorted(module for module in modules if any(module == name or module.startswith(f"{name}.") for name in packages))


def standalone_configuration(link: Path) -> dict[str, Any]:
    classes = [{"name": "sim", "slots": 4, "shared": True}]
    return {"node": {"name": "desk"}, "classes": classes, "devices": [device("board", "sim", link)]}


# -- what it loads


def test_standalone_loads_nothing_of_the_cluster_and_no_other_link(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = workbench.folder / "manifests"
    manifests.mkdir()
    (manifests / "hello.yaml").write_text(HELLO)
    boards = workbench.boards(1)
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    gateway = workbench.gateway(standalone_configuration(boards.links[0]), "--standalone", "--manifests", str(manifests))
    monkeypatch.delenv("PYTHONVERBOSE")
    gateway.process.wait_for(lambda: gateway.run_cli("logs", "hello").stdout.startswith("hello from"), "the pod's log")

    loaded = imports_of(gateway)
    assert among(loaded, "kubernetes", "aiohttp", "gateway.kube", "gateway.node") == []
    assert among(loaded, *NOT_NEEDED) == []


def test_in_a_cluster_it_loads_no_typed_api_and_no_other_link(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    lab.set_up()
    monkeypatch.delenv("PYTHONVERBOSE")
    lab.run("hello", "hello")
    lab.wait_for_ready("hello")
    assert lab.kubectl("logs", "hello").startswith("hello from")  # the whole endpoint is loaded by now

    loaded = imports_of(lab.gateway)
    assert among(loaded, "kubernetes.aio.client.api_client") != []
    typed = [name for name in loaded if _TYPED.match(name)]
    assert typed == []
    assert among(loaded, *NOT_NEEDED) == []


# -- how it ends


def test_sigterm_ends_it_within_seconds_with_exit_0(workbench: Workbench, reaper: Reaper) -> None:
    manifests = workbench.folder / "manifests"
    manifests.mkdir()
    (manifests / "hello.yaml").write_text(HELLO)
    boards = workbench.boards(1)
    options = ("--standalone", "--manifests", str(manifests))
    with started(workbench, reaper, standalone_configuration(boards.links[0]), *options) as (gateway, process):
        gateway.process.wait_for(lambda: gateway.run_cli("logs", "hello").stdout.startswith("hello from"), "the pod's log")
        assert_ends_well(gateway, process)


def test_sigterm_ends_a_node_that_somebody_follows(lab: Lab, workbench: Workbench, reaper: Reaper) -> None:
    lab.boards = workbench.boards(1, "--slots", "4")
    with started(workbench, reaper, lab.configuration(boards=1, slots=4, shared=True)) as (gateway, process):
        lab.gateway = gateway
        lab.run("counter", "counter", "--rate", "20")
        lab.wait_for_ready("counter")
        follower = lab.follow("counter")
        follower.wait_for_lines(5)
        assert_ends_well(gateway, process)
        follower.wait_for_end()


@contextlib.contextmanager
def started(
    workbench: Workbench, reaper: Reaper, configuration: Mapping[str, Any], *options: str
) -> Iterator[tuple[Gateway, subprocess.Popen[bytes]]]:
    """A gateway as a child of our own, for its exit code."""
    gateway = Gateway(workbench.folder / "gw", reaper, configuration, *options)
    with gateway.process.log.open("wb") as log:
        process = subprocess.Popen(gateway.process.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    reaper.watch(process.pid)
    try:
        yield gateway, process
    finally:
        process.kill()
        process.wait()


def assert_ends_well(gateway: Gateway, process: subprocess.Popen[bytes]) -> None:
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(END_S * 2) == 0, gateway.log()
    assert time.monotonic() - begun < END_S
    assert "Traceback" not in gateway.log()


# -- why it does not start


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"node": {"name": "Not A Name"}}, "node.name"),
        ({"devices": [{"name": "board", "class": "no-such-class", "link": {"simulated": {"seed": 1}}}]}, "no-such-class"),
        ({"nodes": {}}, "nodes"),
        ({"cluster": {"kubeconfig": "/nowhere/kubeconfig"}}, "/nowhere/kubeconfig"),
        ({"server": {"address": "127.0.0.1", "port": 99999}}, "server.port"),
    ],
    ids=["impossible value", "unknown class", "unknown key", "missing file", "impossible port"],
)
def test_a_wrong_configuration_is_one_line_and_exit_1(reaper: Reaper, tmp_path: Path, changes: Mapping[str, Any], told: str) -> None:
    gateway = Gateway(tmp_path / "gw", reaper, {**NODE, "cluster": {"kubeconfig": "/nowhere/kubeconfig"}, "server": {"port": 0}, **changes})
    ran = gateway.run_cli("run", "--config", str(gateway.config_file))
    assert_refused(ran, told)


def test_a_missing_file_is_one_line_and_exit_1(reaper: Reaper, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", reaper, NODE)
    assert_refused(gateway.run_cli("run", "--config", str(tmp_path / "nothing.yaml")), "nothing.yaml")
    assert_refused(gateway.run_cli("run", "--config", str(gateway.config_file)), "cluster.kubeconfig")


def test_a_port_that_is_taken_is_one_line_and_exit_1(control_plane: ControlPlane, reaper: Reaper, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configuration = {
            **NODE,
            "cluster": {"kubeconfig": str(control_plane.node_identity("nobody"))},
            "server": {"address": "127.0.0.1", "port": port, "clientCA": str(control_plane.client_ca_file)},
        }
        gateway = Gateway(tmp_path / "gw", reaper, configuration)
        assert_refused(gateway.run_cli("run", "--config", str(gateway.config_file)), str(port))


def test_a_second_gateway_in_the_same_directory_is_refused(workbench: Workbench) -> None:
    manifests = workbench.folder / "manifests"
    manifests.mkdir()
    boards = workbench.boards(1)
    options: Sequence[str] = ("--standalone", "--manifests", str(manifests))
    gateway = workbench.gateway(standalone_configuration(boards.links[0]), *options)
    assert_refused(gateway.run_cli("run", "--config", str(gateway.config_file), *options), f"another gateway uses {gateway.socket.parent}")
    assert "board" in gateway.cli("get", "devices")


def assert_refused(ran: subprocess.CompletedProcess[str], told: str) -> None:
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr
    lines = ran.stderr.splitlines()
    assert len(lines) == 1, ran.stderr
    assert lines[0].startswith("wirelet run: ")
    assert told in lines[0]
