"""A gateway with one console, without a cluster or as a node of the real control plane; what is at the other end is the test's choice."""

from __future__ import annotations

import contextlib
import json
import os
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateways import Gateway, device
from lab import Lab, condition
from pod_lab import terminated
from processes import POLL_S
from workbench import Workbench

WAIT_S = 20.0


class ConsoleDesk:
    """`wirelet run --standalone`: the console is device/board-a."""

    def __init__(self, workbench: Workbench, folder: Path, port: Path, **options: Any) -> None:
        self._port = port
        self._pods = folder / "pods"
        self._pods.mkdir()
        configuration = {
            "node": {"name": "desk"},
            "classes": [{"name": "board", "shared": True, "protocol": {"console": options}}],
            "devices": [device("board-a", "board", port)],
        }
        self.gateway: Gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(self._pods))
        self.wait(lambda: "Ready" in self.gateway.cli("get", "devices"), "the console to be open")

    def put(self, name: str, annotations: Mapping[str, str] | None = None, grace_s: int = 5, **container: Any) -> None:
        """A pod that runs once."""
        metadata = {"name": name, "annotations": dict(annotations or {})}
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace_s,
            "containers": [{"name": "main", "image": "tests", **container}],
        }
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        (self._pods / f"{name}.yaml").write_text(json.dumps(manifest))

    def remove(self, name: str) -> None:
        (self._pods / f"{name}.yaml").unlink()

    def row(self, name: str) -> str:
        """Of `wirelet get pods`, or nothing."""
        return next((line for line in self.gateway.cli("get", "pods").splitlines() if name in line.split()), "")

    def wait_for(self, name: str, status: str) -> None:
        self.wait(lambda: status in self.row(name), f"pod {name} {status}")

    def ran(self, name: str, status: str, **container: Any) -> str:
        """The log of a pod that ends so."""
        self.put(name, **container)
        self.wait_for(name, status)
        return self.log(name)

    def log(self, name: str) -> str:
        """Empty while there is none."""
        return self.gateway.cli("logs", name, check=False)

    def end_of(self, name: str) -> dict[str, Any]:
        """How its container ended."""
        (found,) = [pod for pod in self.gateway.pods() if pod["metadata"]["name"].startswith(name)]
        return terminated(found)

    @property
    def device_log(self) -> str:
        return self.gateway.cli("logs", "device/board-a")

    @contextlib.contextmanager
    def listening(self) -> Iterator[Callable[[], bytes]]:
        """In the gateway's place: what the port has said so far."""
        fd, heard = os.open(self._port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), bytearray()
        tty.setraw(fd)

        def hear() -> bytes:
            with contextlib.suppress(BlockingIOError):
                heard.extend(os.read(fd, 4096))
            return bytes(heard)

        yield hear
        os.close(fd)

    def wait_without_gateway(self, met: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not met():
            assert time.monotonic() < deadline, what
            time.sleep(POLL_S)

    def wait(self, met: Any, what: str) -> None:
        self.gateway.process.wait_for(lambda: bool(met()), what, timeout_s=WAIT_S)


class ConsoleLab(Lab):
    """One board, whose console is the test's."""

    def begin(self, port: Path, **options: Any) -> None:
        configuration = self.configuration(boards=0, slots=1, shared=False)
        configuration["classes"] = [{"name": self.class_name, "protocol": {"console": options}}]
        configuration["devices"] = [device("board-0", self.class_name, port)]
        self.gateway = self._workbench.gateway(configuration, wait=False)
        self.wait_for_node(lambda node: node["status"].get("allocatable", {}).get(self.resource) == "1")

    def logs(self, pod: str) -> list[str]:
        return self.kubectl("logs", pod).splitlines()

    def pod_of_job(self, name: str) -> str:
        found = self.wait(lambda: [pod for pod in self.pods() if pod["metadata"]["labels"].get("job-name") == name], f"a pod of {name}")
        return str(found[0]["metadata"]["name"])

    def job(self, name: str, **annotations: str) -> None:
        template = self.pod_manifest("x", "tests", request=True, restartPolicy="Never", metadata={"annotations": annotations})
        del template["spec"]["containers"][0]["args"]
        metadata = {"annotations": annotations}
        spec = {"backoffLimit": 0, "template": {"metadata": metadata, "spec": template["spec"]}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": self.namespace}, "spec": spec}
        self.kubectl("create", "-f", "-", stdin=job)

    def wait_for_job(self, name: str, kind: str) -> None:
        self.wait(lambda: condition(self.object_of("job", name), kind).get("status") == "True", f"job {name} {kind}", timeout_s=60)

    def object_of(self, kind: str, name: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", kind, name, "-o", "json")))
