"""A real Kubernetes control plane on loopback, for tests, demos and benches: etcd, API server, scheduler and controller-manager.

Authorization is Node and RBAC with NodeRestriction, the kubelets' serving certificates are checked, and every request is in the audit
log. It runs no kubelet and no network: a node is whatever registers itself. Everything lives in one folder and ends with the process.

A person uses it by `hil-tests/control_plane.py --keep`, which prints the environment and runs until it is interrupted.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pki import CertificateAuthority, KeyPair
from processes import Process, Reaper, free_port

HERE: Final = Path(__file__).resolve().parent
READY_TIMEOUT_S: Final = 60.0
"""3 s on an idle machine; a busy CI machine is given time."""
POLL_S: Final = 0.05
KUBECTL_TIMEOUT_S: Final = 60.0
SERVICE_NETWORK: Final = "10.96.0.0/24"
KUBELET_CLIENT: Final = "kube-apiserver-kubelet-client"
"""The user that the API server is when it calls a kubelet."""
AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class NotBuilt(Exception):
    """The binaries are not there; the message says what to do."""


class NotReady(Exception):
    """A component did not come up; the message ends with its last lines."""


class KubectlFailed(Exception):
    """kubectl said no; the message is what it wrote to stderr."""

    def __init__(self, argv: Sequence[str], returncode: int, stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(argv)}: exit {returncode}: {stderr.strip()}")
        self.returncode = returncode
        self.stderr = stderr


def find_binaries() -> Path:
    """The folder with the built binaries. Raises NotBuilt; builds nothing."""
    found = subprocess.run([HERE / "control-plane" / "build", "--if-built"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NotBuilt(found.stderr.strip())
    folder = Path(found.stdout.strip())
    missing = [
        name for name in ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl") if not (folder / name).exists()
    ]
    if missing:
        raise NotBuilt(f"{folder} has no {', '.join(missing)}")
    return folder


class ControlPlane:
    """One control plane in `folder`. start() returns when a pod can be created and will be scheduled."""

    def __init__(self, folder: Path, binaries: Path, apiserver_flags: Sequence[str] = ()) -> None:
        self.folder = folder
        self.binaries = binaries
        self.ca = CertificateAuthority(_made(folder / "pki"))
        self.client_ca_file = self.ca.files.cert
        """What signs every client's certificate, the API server's as a kubelet client too: a node's clientCA."""
        self.port = free_port()
        self.server = f"https://127.0.0.1:{self.port}"
        self._etcd = f"http://127.0.0.1:{free_port()}"
        self._scheduler_port = free_port()
        self._audit_log = folder / "audit.log"
        self._reaper = Reaper()
        self._serving = self.ca.server(
            "apiserver",
            "kube-apiserver",
            ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
            ["127.0.0.1", "10.96.0.1"],
        )
        self._admin = self.ca.client("admin", "kubernetes-admin", ["system:masters"])
        self._service_accounts = self.ca.signing_key("service-accounts")
        self.admin_kubeconfig = self._kubeconfig("admin", self._admin)
        self._processes = {
            name: Process(name, argv, folder / f"{name}.log", self._reaper)
            for name, argv in {
                "etcd": self._etcd_argv(),
                "kube-apiserver": [*self._apiserver_argv(), *apiserver_flags],
                "kube-controller-manager": self._controller_manager_argv(),
                "kube-scheduler": self._scheduler_argv(),
            }.items()
        }

    # -- life

    def start(self) -> None:
        """Raises NotReady."""
        try:
            self._start("etcd", "kube-apiserver")
            self._wait_until_serving()
            # Not before: they give up when they may not read the authentication settings yet.
            self._start("kube-controller-manager", "kube-scheduler")
            self._allow_kubelet_calls()
            # A pod is refused until its namespace has the account; then the controllers work too.
            self._wait("kube-controller-manager", "/api/v1/namespaces/default/serviceaccounts/default")
            self._wait_for_scheduler()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything and drop the data; the logs stay in the folder. Idempotent."""
        for process in reversed(self._processes.values()):
            # Nothing here has to survive: no graceful end is worth waiting for.
            process.stop(signal.SIGKILL)
        self._reaper.close()
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def _start(self, *components: str) -> None:
        for component in components:
            self._processes[component].start()

    def kill(self, component: str) -> None:
        """SIGKILL etcd, kube-apiserver, kube-scheduler or kube-controller-manager, and wait for its end."""
        self._processes[component].stop(signal.SIGKILL)

    def restart(self, component: str) -> None:
        """Kill it if it runs and start it again on the same ports; returns when the API server answers."""
        self.kill(component)
        self._processes[component].start()
        self._wait_until_serving()

    def freeze(self, component: str) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self._processes[component].pid, signal.SIGSTOP)

    def thaw(self, component: str) -> None:
        os.kill(self._processes[component].pid, signal.SIGCONT)

    # -- identities

    def node_identity(self, name: str) -> Path:
        """A kubeconfig for `system:node:<name>`: what a joined kubelet holds."""
        return self.identity(f"system:node:{name}", ["system:nodes"])

    def identity(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for any user; without a binding it may do next to nothing."""
        file_name = user.replace(":", "-")
        return self._kubeconfig(file_name, self.ca.client(file_name, user, groups))

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
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}),
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
        self._wait("kube-controller-manager", f"/api/v1/namespaces/{name}/serviceaccounts/default")

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> tuple[int, Any]:
        """One request as the administrator: (status, decoded JSON or text). Quicker than kubectl where thousands are made."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._tls(), timeout=KUBECTL_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": content_type})
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, json.loads(text) if text.startswith("{") else text

    def audit_events(self, user: str | None = None) -> list[dict[str, Any]]:
        """Every answered request so far, oldest first (audit.k8s.io/v1 Event), of one user or of all. Take a slice from a former length."""
        return [event for event in self._audit_lines() if user is None or event["user"]["username"] == user]

    def _audit_lines(self) -> Iterator[dict[str, Any]]:
        with self._audit_log.open() as log:
            for line in log:
                # The last line may be half written.
                if line.endswith("\n"):
                    yield json.loads(line)

    def compact(self) -> None:
        """Forget etcd's history, so that a watch from an older resourceVersion is answered with 410 once the API server has restarted."""
        revision = self._etcd_call("/v3/maintenance/status")["header"]["revision"]
        self._etcd_call("/v3/kv/compaction", {"revision": revision, "physical": True})

    def environment(self) -> dict[str, str]:
        """What `--keep` prints."""
        return {
            "KUBECONFIG": str(self.admin_kubeconfig),
            "WIRELET_CLIENT_CA": str(self.client_ca_file),
            "WIRELET_CONTROL_PLANE": str(self.folder),
        }

    # -- readiness

    def _wait_until_serving(self) -> None:
        self._wait("kube-apiserver", "/readyz")

    def _wait(self, component: str, path: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            # OSError: nobody listens yet. The other: it listens and drops the connection.
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", path)[0] == http.HTTPStatus.OK:
                    return
            self._check_running()
            time.sleep(POLL_S)
        raise NotReady(f"{component}: {path} did not answer within {READY_TIMEOUT_S:.0f} s\n{self._processes[component].log_tail()}")

    def _wait_for_scheduler(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPSConnection("127.0.0.1", self._scheduler_port, context=self._tls(), timeout=5)
                with contextlib.closing(connection):
                    connection.request("GET", "/readyz")
                    if connection.getresponse().status == http.HTTPStatus.OK:
                        return
            self._check_running()
            time.sleep(POLL_S)
        raise NotReady(f"kube-scheduler is not ready\n{self._processes['kube-scheduler'].log_tail()}")

    def _check_running(self) -> None:
        for process in self._processes.values():
            if process.has_ended:
                raise NotReady(f"{process.name} ended\n{process.log_tail()}")

    def _allow_kubelet_calls(self) -> None:
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": KUBELET_CLIENT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": KUBELET_CLIENT}],
        }
        status, answer = self.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        if status not in (http.HTTPStatus.CREATED, http.HTTPStatus.CONFLICT):
            raise NotReady(f"kube-apiserver refused a binding: {status} {answer}")

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.client_ca_file))
        context.load_cert_chain(self._admin.cert, self._admin.key)
        return context

    def _etcd_call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(self._etcd.removeprefix("http://"), timeout=KUBECTL_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body or {}))
            return json.loads(connection.getresponse().read())

    # -- files and arguments

    def _kubeconfig(self, file_name: str, pair: KeyPair) -> Path:
        path = self.folder / f"{file_name}.kubeconfig"
        user = {"client-certificate-data": _base64(pair.cert), "client-key-data": _base64(pair.key)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.server, "certificate-authority-data": _base64(self.client_ca_file)}}],
            "users": [{"name": file_name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": file_name}}],
            "current-context": "test",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def _etcd_argv(self) -> list[str]:
        peer = f"http://127.0.0.1:{free_port()}"
        return [
            str(self.binaries / "etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
        ]

    def _apiserver_argv(self) -> list[str]:
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps(AUDIT_POLICY))
        kubelet_client = self.ca.client("kubelet-client", KUBELET_CLIENT)
        return [
            str(self.binaries / "kube-apiserver"),
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            # A loopback address cannot be an endpoint of the `kubernetes` service, and no pod will call it.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self._serving.cert}",
            f"--tls-private-key-file={self._serving.key}",
            f"--client-ca-file={self.client_ca_file}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-certificate-authority={self.client_ca_file}",
            f"--kubelet-client-certificate={kubelet_client.cert}",
            f"--kubelet-client-key={kubelet_client.key}",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._service_accounts.cert}",
            f"--service-account-signing-key-file={self._service_accounts.key}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--allow-privileged=true",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._audit_log}",
        ]

    def _controller_manager_argv(self) -> list[str]:
        pair = self.ca.client("controller-manager", "system:kube-controller-manager")
        config = self._kubeconfig("controller-manager", pair)
        return [
            str(self.binaries / "kube-controller-manager"),
            *self._component_flags(config, free_port()),
            "--controllers=*",
            f"--cluster-signing-cert-file={self.ca.files.cert}",
            f"--cluster-signing-key-file={self.ca.files.key}",
            f"--root-ca-file={self.client_ca_file}",
            f"--service-account-private-key-file={self._service_accounts.key}",
            "--use-service-account-credentials",
            # The default of 20 a second delays the first service account by 4 s.
            "--kube-api-qps=500",
            "--kube-api-burst=500",
        ]

    def _scheduler_argv(self) -> list[str]:
        config = self._kubeconfig("scheduler", self.ca.client("scheduler", "system:kube-scheduler"))
        return [str(self.binaries / "kube-scheduler"), *self._component_flags(config, self._scheduler_port)]

    def _component_flags(self, kubeconfig: Path, port: int) -> list[str]:
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={self._serving.cert}",
            f"--tls-private-key-file={self._serving.key}",
            "--leader-elect=false",
        ]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@contextlib.contextmanager
def running(folder: Path, apiserver_flags: Sequence[str] = ()) -> Iterator[ControlPlane]:
    """A started control plane that ends with the block. Raises NotBuilt or NotReady."""
    control_plane = ControlPlane(folder, find_binaries(), apiserver_flags)
    try:
        control_plane.start()
        yield control_plane
    finally:
        control_plane.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="A Kubernetes control plane on loopback, until Ctrl-C.")
    parser.add_argument("--keep", action="store_true", required=True, help="run until interrupted, and print the environment to use")
    parser.add_argument(
        "--node", action="append", default=[], metavar="NAME", help="make an identity and a serving certificate for this node"
    )
    args = parser.parse_args()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with tempfile.TemporaryDirectory(prefix="wirelet-control-plane-") as folder:
        try:
            with running(Path(folder) / "run") as control_plane:
                environment = control_plane.environment()
                for name in args.node:
                    cert, key = control_plane.serving_certificate(name)
                    environment |= {"WIRELET_NODE_KUBECONFIG": str(control_plane.node_identity(name))}
                    environment |= {"WIRELET_NODE_CERT": str(cert), "WIRELET_NODE_KEY": str(key)}
                print("\n".join(f"export {key}={value}" for key, value in environment.items()), flush=True)
                print(f"# ready: {control_plane.server}, kubectl is {control_plane.binaries / 'kubectl'}; Ctrl-C ends it", file=sys.stderr)
                with contextlib.suppress(KeyboardInterrupt):
                    stopped.wait()
        except (NotBuilt, NotReady) as error:
            print(f"control plane: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
