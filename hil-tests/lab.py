"""A lab for one test: boards behind ptys, a gateway as a node of the real control plane, and a person with kubectl."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from control_plane import ControlPlane
from gateways import Gateway, Simulator, device
from processes import free_port
from workbench import Workbench

WAIT_S: Final = 30.0
LOOK_S: Final = 0.02
GAP: Final = "--- wirelet gap:"
_numbers = itertools.count(1)


class Lab:
    """boards: the simulator's process; gateway: `wirelet run`; node: its name. Pods of the lab go into namespace."""

    def __init__(self, control_plane: ControlPlane, workbench: Workbench, namespace: str) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.node = f"lab-{os.getpid()}-{next(_numbers)}"
        self._workbench = workbench
        self._followers: list[Follower] = []
        self.boards: Simulator
        self.gateway: Gateway

    def set_up(self, *, boards: int = 1, slots: int = 4, shared: bool = True, options: Sequence[str] = (), **changes: Any) -> None:
        """Start boards and gateway and wait until the Node is Ready and every board answers. Keyword arguments change its configuration."""
        self.boards = self._workbench.boards(boards, "--slots", str(slots), *options)
        self.gateway = self._workbench.gateway(self.configuration(boards=boards, slots=slots, shared=shared, **changes), wait=False)
        self.wait_for_node(lambda node: node["status"]["allocatable"].get(self.resource) == str(boards * slots))

    @property
    def class_name(self) -> str:
        return self.node.replace("lab-", "sim-")

    @property
    def resource(self) -> str:
        return f"wirelet.dev/{self.class_name}"

    def configuration(self, *, boards: int, slots: int, shared: bool, **changes: Any) -> dict[str, Any]:
        cert, key = map(str, self.control_plane.serving_certificate(self.node))
        return {
            "node": {"name": self.node},
            "cluster": {"kubeconfig": str(self.control_plane.node_identity(self.node))},
            "server": {
                "address": "127.0.0.1",
                "port": free_port(),
                "clientCA": str(self.control_plane.client_ca_file),
                "certFile": cert,
                "keyFile": key,
            },
            "classes": [{"name": self.class_name, "slots": slots, "shared": shared}],
            "devices": [device(f"board-{number}", self.class_name, self.boards.links[number]) for number in range(boards)],
            **changes,
        }

    def close(self) -> None:
        for follower in self._followers:
            follower.close()

    # -- kubectl

    def kubectl(self, *args: str, stdin: Any = None) -> str:
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
        return self.control_plane.kubectl("-n", self.namespace, *args, input=text)

    def ran_kubectl(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """With its streams apart, and its exit code."""
        argv = self.control_plane.kubectl_argv("-n", self.namespace, *args)
        env = {**os.environ, **self.control_plane.kubectl_env}
        return subprocess.run(argv, input=stdin, env=env, capture_output=True, timeout=60, check=False)

    def pod_manifest(self, name: str, image: str, *args: str, request: bool = False, **spec: Any) -> dict[str, Any]:
        container: dict[str, Any] = {"name": "main", "image": image, "args": list(args), **spec.pop("container", {})}
        if request:
            container["resources"] = {"limits": {self.resource: 1}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, **spec.pop("metadata", {})},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": self.node},
                "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
                "containers": [container],
                **spec,
            },
        }

    def run(self, name: str, image: str, *args: str, **spec: Any) -> None:
        """Create a pod for the real scheduler to place on this lab's node."""
        self.kubectl("create", "-f", "-", stdin=self.pod_manifest(name, image, *args, **spec))

    def pod(self, name: str) -> dict[str, Any] | None:
        status, pod = self.control_plane.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return pod if status == 200 else None

    def pods(self) -> list[dict[str, Any]]:
        _, found = self.control_plane.request("GET", f"/api/v1/namespaces/{self.namespace}/pods")
        return list(found["items"])

    def node_object(self) -> dict[str, Any] | None:
        status, node = self.control_plane.request("GET", f"/api/v1/nodes/{self.node}")
        return node if status == 200 else None

    def lease(self) -> dict[str, Any] | None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self.node}"
        status, lease = self.control_plane.request("GET", path)
        return lease if status == 200 else None

    def follow(self, pod: str, *args: str) -> Follower:
        """`kubectl logs -f`, as a process."""
        follower = Follower(self.control_plane.kubectl_argv("-n", self.namespace, "logs", "-f", pod, *args))
        self._followers.append(follower)
        return follower

    # -- waiting

    def wait(self, met: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        """The first true value of met. Fails with what."""
        deadline = time.monotonic() + timeout_s
        while not (value := met()):
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
            time.sleep(LOOK_S)
        return value

    def wait_for_pod(self, name: str, met: Callable[[dict[str, Any]], Any], timeout_s: float = WAIT_S) -> dict[str, Any]:
        newest: dict[str, Any] = {}

        def look() -> bool:
            newest.clear()
            newest.update(self.pod(name) or {})
            return bool(newest) and bool(met(newest))

        try:
            self.wait(look, f"pod {name}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; its status is {json.dumps(newest.get('status'), indent=1)}") from None
        return newest

    def wait_for_phase(self, name: str, phase: str) -> dict[str, Any]:
        return self.wait_for_pod(name, lambda pod: pod["status"].get("phase") == phase)

    def wait_for_ready(self, name: str, status: str = "True") -> dict[str, Any]:
        return self.wait_for_pod(name, lambda pod: condition(pod, "Ready").get("status") == status)

    def wait_for_node(self, met: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        found = self.wait(lambda: (node := self.node_object()) and met(node) and node, f"node {self.node}")
        assert isinstance(found, dict)
        return found

    def wait_gone(self, name: str, timeout_s: float = WAIT_S) -> float:
        """Seconds until the pod object is gone."""
        begun = time.monotonic()
        self.wait(lambda: self.pod(name) is None, f"pod {name} gone", timeout_s)
        return time.monotonic() - begun

    # -- what it left behind

    def refused_requests(self) -> list[tuple[str, str]]:
        """403s of the gateway in the API server's audit log."""
        events = self.control_plane.audit_events(f"system:node:{self.node}")
        return [(event["verb"], event["requestURI"]) for event in events if event.get("responseStatus", {}).get("code") == 403]

    def event_reasons(self, pod: str) -> list[str]:
        _, found = self.control_plane.request("GET", f"/api/v1/namespaces/{self.namespace}/events")
        return [event["reason"] for event in found["items"] if event["involvedObject"]["name"] == pod]


class Follower:
    """A process whose lines are collected as they come."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._more = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._has_ended = True
            self._more.notify_all()

    def wait_for_lines(self, count: int, timeout_s: float = WAIT_S) -> list[str]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.lines) >= count or self._has_ended, timeout_s), f"{len(self.lines)} lines"
            assert len(self.lines) >= count, self.lines
            return list(self.lines)

    def wait_for_end(self, timeout_s: float = WAIT_S) -> list[str]:
        with self._more:
            assert self._more.wait_for(lambda: self._has_ended, timeout_s), "the follower goes on"
            return list(self.lines)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()


def condition(thing: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The condition of a pod or node, or {}."""
    return next((dict(found) for found in thing["status"].get("conditions", ()) if found["type"] == kind), {})


def waiting_reason(pod: Mapping[str, Any]) -> str:
    """Why the container main waits, or ""."""
    return str(container(pod).get("state", {}).get("waiting", {}).get("reason", ""))


def container(pod: Mapping[str, Any], name: str = "main") -> dict[str, Any]:
    """The container's status, or {}."""
    return next((dict(found) for found in pod["status"].get("containerStatuses", ()) if found["name"] == name), {})


def assert_counted(lines: Sequence[str], first: int | None = None) -> None:
    """Every number once and in order, or a gap is named where some are missing."""
    expected = first
    gap_named = False
    for line in lines:
        if line.startswith(GAP):
            gap_named = True
            continue
        number = int(line)
        assert expected is None or number == expected or (gap_named and number > expected), f"{number} after {expected}"
        expected, gap_named = number + 1, False
