"""How the four components of the test control plane are started: where their files are and which flags they get."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pki import KeyPair

SERVICE_NETWORK: Final = "10.96.0.0/24"
AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The files and ports of one control plane."""

    binaries: Path
    folder: Path
    ca: KeyPair
    serving: KeyPair
    kubelet_client: KeyPair
    service_accounts: KeyPair
    etcd_port: int
    etcd_peer_port: int
    apiserver_port: int
    controller_manager_port: int
    scheduler_port: int

    @property
    def etcd_data(self) -> Path:
        return self.folder / "etcd"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"


def etcd(layout: Layout) -> list[str]:
    client = f"http://127.0.0.1:{layout.etcd_port}"
    peer = f"http://127.0.0.1:{layout.etcd_peer_port}"
    return [
        str(layout.binaries / "etcd"),
        f"--data-dir={layout.etcd_data}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
    ]


def apiserver(layout: Layout) -> list[str]:
    policy = layout.folder / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    return [
        str(layout.binaries / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={layout.apiserver_port}",
        # A loopback address cannot be an endpoint of the `kubernetes` service, and no pod will call it.
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={layout.serving.cert}",
        f"--tls-private-key-file={layout.serving.key}",
        f"--client-ca-file={layout.ca.cert}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # Without it the API server takes any serving certificate of a kubelet.
        f"--kubelet-certificate-authority={layout.ca.cert}",
        f"--kubelet-client-certificate={layout.kubelet_client.cert}",
        f"--kubelet-client-key={layout.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.service_accounts.cert}",
        f"--service-account-signing-key-file={layout.service_accounts.key}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--allow-privileged=true",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={layout.audit_log}",
    ]


def controller_manager(layout: Layout, kubeconfig: Path) -> list[str]:
    return [
        str(layout.binaries / "kube-controller-manager"),
        *_client_flags(layout, kubeconfig, layout.controller_manager_port),
        f"--cluster-signing-cert-file={layout.ca.cert}",
        f"--cluster-signing-key-file={layout.ca.key}",
        f"--root-ca-file={layout.ca.cert}",
        f"--service-account-private-key-file={layout.service_accounts.key}",
        "--use-service-account-credentials",
        # At the default of 20 a second the first pods wait 4 s for their service account.
        "--kube-api-qps=500",
        "--kube-api-burst=500",
    ]


def scheduler(layout: Layout, kubeconfig: Path) -> list[str]:
    return [str(layout.binaries / "kube-scheduler"), *_client_flags(layout, kubeconfig, layout.scheduler_port)]


def _client_flags(layout: Layout, kubeconfig: Path, port: int) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.serving.cert}",
        f"--tls-private-key-file={layout.serving.key}",
        "--leader-elect=false",
    ]
