#!/usr/bin/env python3
"""A real Kubernetes control plane on loopback, for tests, demos and benches: etcd, API server, scheduler and controller-manager.

Authorization is Node and RBAC with NodeRestriction, the kubelets' serving certificates are checked, and every request is in the audit
log. It runs no kubelet and no network: a node is whatever registers itself. Everything lives in one folder and ends with the process.

A person uses it by `.venv/bin/python hil-tests/control_plane.py --keep`, which prints the environment and runs until it is interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import control_plane_flags as flags
from endpoint import Endpoint
from pki import LIFETIME, CertificateAuthority, KeyPair, write_kubeconfig
from processes import NotReady, Process, Reaper, free_port

BUILD: Final = Path(__file__).resolve().parent / "control-plane" / "build"
BINARIES: Final = ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl")
READY_TIMEOUT_S: Final = 60.0
"""3 s on an idle machine; a busy CI machine is given time."""
POLL_S: Final = 0.05
KUBECTL_TIMEOUT_S: Final = 60.0
KUBELET_CLIENT: Final = "kube-apiserver-kubelet-client"
"""The user that the API server is when it calls a kubelet."""


class NotBuilt(Exception):
    """The binaries are not there; the message says what to do."""


class KubectlFailed(Exception):
    """kubectl said no; the message is what it wrote to stderr."""

    def __init__(self, argv: Sequence[str], returncode: int, stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(argv)}: exit {returncode}: {stderr.strip()}")
        self.returncode = returncode
        self.stderr = stderr


def find_binaries() -> Path:
    """The folder with the built binaries. Raises NotBuilt; builds nothing."""
    found = subprocess.run([BUILD, "--if-built"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NotBuilt(found.stderr.strip())
    folder = Path(found.stdout.strip())
    if missing := [name for name in BINARIES if not (folder / name).exists()]:
        raise NotBuilt(f"{folder} has no {', '.join(missing)}")
    return folder


class ControlPlane:
    """One control plane in `folder`. start() returns when a pod can be created and will be scheduled."""

    def __init__(self, folder: Path, binaries: Path, apiserver_flags: Sequence[str] = ()) -> None:
        self.folder = folder
        self.binaries = binaries
        pki = folder / "pki"
        pki.mkdir(parents=True)
        self.ca = CertificateAuthority(pki)
        self.client_ca_file = self.ca.files.cert
        """What signs every client's certificate, also the API server's when it calls a kubelet: a node's clientCA."""
        self._layout = layout = self._make_layout()
        self.server = f"https://127.0.0.1:{layout.apiserver_port}"
        self.admin_kubeconfig = self.identity("kubernetes-admin", ["system:masters"])
        self._apiserver = Endpoint(layout.apiserver_port, self.client_ca_file, self.client_certificate("setup", ["system:masters"]))
        self._scheduler = Endpoint(layout.scheduler_port, self.client_ca_file)
        self._etcd = Endpoint(layout.etcd_port)
        self._reaper = Reaper()
        self._processes = {
            name: Process(name, argv, folder / f"{name}.log", self._reaper)
            for name, argv in {
                "etcd": flags.etcd(layout),
                "kube-apiserver": [*flags.apiserver(layout), *apiserver_flags],
                "kube-controller-manager": flags.controller_manager(layout, self.identity("system:kube-controller-manager")),
                "kube-scheduler": flags.scheduler(layout, self.identity("system:kube-scheduler")),
            }.items()
        }

    # -- life

    def start(self) -> None:
        """Raises NotReady."""
        try:
            self._start("etcd", "kube-apiserver")
            self._wait_until_serving()
            self._allow_kubelet_calls()
            # Not before: they give up when they may not read the authentication settings yet.
            self._start("kube-controller-manager", "kube-scheduler")
            # A pod is refused until its namespace has the account; then the controllers work too.
            self._wait_for_account("default")
            self._wait("kube-scheduler", lambda: self._scheduler.is_ok("/readyz"))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything and drop the data; the logs stay in the folder. Idempotent."""
        for process in reversed(self._processes.values()):
            # Nothing here has to survive: no graceful end is worth waiting for.
            process.stop(signal.SIGKILL)
        self._reaper.close()
        shutil.rmtree(self._layout.etcd_data, ignore_errors=True)

    def kill(self, component: str) -> None:
        """SIGKILL etcd, kube-apiserver, kube-scheduler or kube-controller-manager, and wait for its end."""
        self._processes[component].stop(signal.SIGKILL)

    def restart(self, component: str) -> None:
        """Kill it if it runs and start it again on the same ports; returns when the API server answers."""
        self.kill(component)
        self._start(component)
        self._wait_until_serving()

    def freeze(self, component: str) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self._processes[component].pid, signal.SIGSTOP)

    def thaw(self, component: str) -> None:
        os.kill(self._processes[component].pid, signal.SIGCONT)

    # -- identities

    def node_identity(self, name: str, lifetime: datetime.timedelta = LIFETIME) -> Path:
        """A kubeconfig for `system:node:<name>`: what a joined kubelet holds. The same file each time, with a new certificate."""
        user, groups = f"system:node:{name}", ["system:nodes"]
        client = self.ca.client(user.replace(":", "-"), user, groups, lifetime)
        return write_kubeconfig(self._kubeconfig(user), self.server, self.client_ca_file, client)

    def identity(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for any user; without a binding it may do next to nothing."""
        return write_kubeconfig(self._kubeconfig(user), self.server, self.client_ca_file, self.client_certificate(user, groups))

    def _kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user.replace(':', '-')}.kubeconfig"

    def client_certificate(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """To call a kubelet directly."""
        return self.ca.client(user.replace(":", "-"), user, groups)

    def serving_certificate(self, name: str, ips: Sequence[str] = ("127.0.0.1",)) -> tuple[Path, Path]:
        """(certificate, key) of a node's kubelet endpoint, signed by the CA that the API server checks kubelets with."""
        pair = self.ca.server(f"serving-{name}", f"system:node:{name}", [name], ips, ["system:nodes"])
        return pair.cert, pair.key

    # -- use

    @property
    def kubectl_env(self) -> Mapping[str, str]:
        """For a kubectl of the test's own, for example one that follows a log."""
        return {"KUBECONFIG": str(self.admin_kubeconfig), "KUBECACHEDIR": str(self.folder / "kubectl-cache")}

    def kubectl_argv(self, *args: str, kubeconfig: Path | None = None) -> list[str]:
        return [str(self.binaries / "kubectl"), f"--kubeconfig={kubeconfig or self.admin_kubeconfig}", *args]

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - the name it has in subprocess
        kubeconfig: Path | None = None,
        timeout_s: float = KUBECTL_TIMEOUT_S,
    ) -> str:
        """Run the real kubectl, as the administrator unless told, and return its stdout. Raises KubectlFailed.

        It blocks: an async test calls it in a thread.
        """
        ran = subprocess.run(
            self.kubectl_argv(*args, kubeconfig=kubeconfig),
            env={**os.environ, **self.kubectl_env},
            input=input or "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if ran.returncode:
            raise KubectlFailed(args, ran.returncode, ran.stderr)
        return ran.stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """kubectl apply of objects as they are."""
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def create_namespace(self, name: str) -> None:
        """Returns when pods can be created in it. Raises NotReady."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self._wait_for_account(name)

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> tuple[int, Any]:
        """One request as an administrator: (status, decoded JSON or text). Quicker than kubectl where thousands are made."""
        return self._apiserver.request(method, path, body, {"Content-Type": content_type})

    def audit_events(self, user: str | None = None) -> list[dict[str, Any]]:
        """Every answered request so far, oldest first (audit.k8s.io/v1 Event), of one user or of all. Take a slice from a former length."""
        with self._layout.audit_log.open() as log:
            # The last line may be half written.
            events = [json.loads(line) for line in log if line.endswith("\n")]
        return [event for event in events if user is None or event["user"].get("username") == user]  # nobody, in a 401

    def compact(self) -> None:
        """Forget etcd's history, so that a watch from an older resourceVersion is answered with 410 once the API server has restarted."""
        _, status = self._etcd.request("POST", "/v3/maintenance/status", {})
        self._etcd.request("POST", "/v3/kv/compaction", {"revision": status["header"]["revision"], "physical": True})

    # -- readiness

    def _start(self, *components: str) -> None:
        for component in components:
            self._processes[component].start()

    def _wait_until_serving(self) -> None:
        self._wait("kube-apiserver", lambda: self._apiserver.is_ok("/readyz"))

    def _wait_for_account(self, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        self._wait("kube-controller-manager", lambda: self._apiserver.is_ok(path))

    def _wait(self, component: str, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not is_done():
            for process in self._processes.values():
                if process.has_ended:
                    raise NotReady(f"{process.name} ended\n{process.log_tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{component} was not ready within {READY_TIMEOUT_S:.0f} s\n{self._processes[component].log_tail()}")
            time.sleep(POLL_S)

    def _allow_kubelet_calls(self) -> None:
        binding = {
            "metadata": {"name": KUBELET_CLIENT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": KUBELET_CLIENT}],
        }
        status, answer = self.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        if status != http.HTTPStatus.CREATED:
            raise NotReady(f"kube-apiserver refused a binding: {status} {answer}")

    def _make_layout(self) -> flags.Layout:
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        return flags.Layout(
            binaries=self.binaries,
            folder=self.folder,
            ca=self.ca.files,
            serving=self.ca.server("control-plane", "control-plane", names, ["127.0.0.1", "10.96.0.1"]),
            kubelet_client=self.ca.client("kubelet-client", KUBELET_CLIENT),
            service_accounts=self.ca.signing_key("service-accounts"),
            etcd_port=free_port(),
            etcd_peer_port=free_port(),
            apiserver_port=free_port(),
            controller_manager_port=free_port(),
            scheduler_port=free_port(),
        )


@contextlib.contextmanager
def running(folder: Path, apiserver_flags: Sequence[str] = ()) -> Iterator[ControlPlane]:
    """A started control plane that ends with the block. Raises NotBuilt or NotReady."""
    control_plane = ControlPlane(folder, find_binaries(), apiserver_flags)
    control_plane.start()
    try:
        yield control_plane
    finally:
        control_plane.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="A Kubernetes control plane on loopback, until Ctrl-C.")
    parser.add_argument("--keep", action="store_true", required=True, help="run until interrupted, and print the environment to use")
    parser.add_argument("--node", metavar="NAME", help="make an identity and a serving certificate for this node")
    args = parser.parse_args()
    stopped = threading.Event()
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: stopped.set())
    with tempfile.TemporaryDirectory(prefix="wirelet-control-plane-") as folder:
        try:
            with running(Path(folder) / "run") as control_plane:
                for key, value in _environment(control_plane, args.node).items():
                    print(f"export {key}={value}", flush=True)
                print(f"# ready at {control_plane.server}; kubectl: {control_plane.binaries / 'kubectl'}; Ctrl-C ends it", file=sys.stderr)
                stopped.wait()
        except (NotBuilt, NotReady) as error:
            print(f"control plane: {error}", file=sys.stderr)
            return 1
    return 0


def _environment(control_plane: ControlPlane, node: str | None) -> dict[str, str]:
    """What a person's shell needs to use it."""
    environment = {"KUBECONFIG": str(control_plane.admin_kubeconfig), "WIRELET_CLIENT_CA": str(control_plane.client_ca_file)}
    if node:
        cert, key = control_plane.serving_certificate(node)
        environment |= {"WIRELET_NODE_KUBECONFIG": str(control_plane.node_identity(node))}
        environment |= {"WIRELET_NODE_CERT": str(cert), "WIRELET_NODE_KEY": str(key)}
    return environment


if __name__ == "__main__":
    raise SystemExit(main())
