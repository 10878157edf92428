"""The composition root: the only place that builds everything, and the only one that knows whether there is a cluster.

One task group holds the whole gateway. SIGTERM and SIGINT end it; devices go on with what they run, and rings, checkpoints and ledger
stay for the next start.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio

from gateway.config import Configuration
from gateway.conversations import PodConversations
from gateway.devices.fleet import Fleet
from gateway.devices.ledger import Ledger, LedgerFailed, LedgerFull
from gateway.directories import Directories
from gateway.endpoint import AttemptLogs, BoardLogs, DeviceDesk, DeviceRows, SourcePods
from gateway.errors import ConfigError
from gateway.kubelet.exposition import Family
from gateway.kubelet.listeners import listen_tcp, listen_unix
from gateway.kubelet.routes import Endpoint, Route, kubelet_routes, local_routes
from gateway.kubelet.seams import EventTable
from gateway.kubelet.server import HttpServer
from gateway.logs.clock import SystemClock
from gateway.logs.store import LogStore
from gateway.metrics import GatewayVitals
from gateway.pods.controller import PodController
from gateway.pods.node import NodeAddresses, NodeLookup
from gateway.pods.seams import PodSource, PodUid, StatusSink

_logger = logging.getLogger(__name__)

YOUNG_OBJECTS: Final = 2000
"""So many more objects are made than freed before young ones are searched for cycles. Python's 700 are reached by the pods that come at
once, and nearly all of them are freed without; what waits in so few is little memory."""

_WITHOUT_A_LEDGER: Final = "if that stays so, move the file away: what runs is found again on the devices"


class Gateway:
    """What both modes share. Built once, run once."""

    def __init__(self, configuration: Configuration, directories: Directories) -> None:
        """Opens the ledger and the rings of the last run. Raises ConfigError; blocks, so build it before the loop has work."""
        self.configuration = configuration
        self._directories = directories
        self._controller: PodController | None = None
        self.answers: Counter[int] = Counter()
        """Of the HTTPS endpoint, by status code."""
        self._locks = directories.take()
        try:
            self.ledger = Ledger(directories.ledger)
        except (OSError, LedgerFailed) as error:
            self._locks.close()
            way = "make some, or choose another directory" if isinstance(error, LedgerFull) else _WITHOUT_A_LEDGER
            raise ConfigError([("stateDirectory", f"{error}; {way}")]) from error
        try:
            self.logs = LogStore(directories.rings, budget_bytes=configuration.logs.budget, ring_bytes=configuration.logs.ring)
            self.logs.reopen_all()
            self.fleet = Fleet(
                configuration,
                ledger=self.ledger,
                logs=self.logs,
                checkpoints=directories.checkpoints,
                loans=directories.loans,
                pod_changed=self._pod_changed,
                wall_clock=time.time,
            )
        except OSError as error:
            self.ledger.close()
            self._locks.close()
            raise ConfigError([("runtimeDirectory", f"cannot use {error.filename or directories.runtime}: {error.strerror}")]) from error

    def _pod_changed(self, uid: PodUid) -> None:
        if self._controller is not None:
            self._controller.changed(uid)

    async def run(
        self,
        source: PodSource,
        sink: StatusSink,
        events: EventTable,
        surroundings: Callable[[tuple[Route, ...]], Coroutine[Any, Any, None]],
        families: Callable[[], Sequence[Family]] = lambda: (),
        node_object: NodeLookup = lambda: None,
    ) -> None:
        """Until a signal. surroundings is what else the mode runs; it gets the routes of the HTTPS endpoint. families: further metrics."""
        clock = SystemClock()
        pods = SourcePods(source, self.fleet)
        self.fleet.workloads.containers_of = pods.containers_of
        logs = AttemptLogs(self.logs, clock)
        device_logs = BoardLogs(self.logs, self.fleet, clock)
        node = self.configuration.node
        addresses = NodeAddresses(host_ip=node.address, allocatable=node.capacity)
        self._controller = PodController(source, sink, self.fleet.workloads, node_addresses=addresses, node_object=node_object)
        vitals = GatewayVitals(self.configuration, self.fleet, self.logs, pods, self.answers, families)
        conversations = PodConversations(self.logs, self.fleet.talks, clock, self._controller.program)
        routes = kubelet_routes(pods, logs, vitals, conversations)
        local = Endpoint((*routes, *local_routes(pods, DeviceRows(self.fleet), events, device_logs, DeviceDesk(self.fleet))))
        socket = await listen_unix(self._directories.socket)
        settle_memory()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_end_on_signal, tasks.cancel_scope)
                tasks.start_soon(HttpServer(local).serve, socket)
                tasks.start_soon(self.fleet.run)
                tasks.start_soon(self._controller.run)
                tasks.start_soon(surroundings, routes)
        finally:
            self.logs.close()
            self.fleet.close()
            self.ledger.close()
            self._locks.close()


def settle_memory() -> None:
    """What loading and checking took and nobody needs any more goes back to the system; glibc would keep 1 MiB of it, and other C
    libraries have no such call. What is loaded stays, and is not searched for cycles again and again: that stops the loop for 50 ms
    and more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def run_standalone(configuration: Configuration, directories: Directories, manifests: Path) -> None:
    """Pods from a folder, statuses in a table, no cluster."""
    from gateway.pods.manifests import ManifestDirectory  # each mode loads only its own
    from gateway.pods.table import StatusTable

    gateway = Gateway(configuration, directories)
    source = ManifestDirectory(manifests, configuration.node.name)
    table = StatusTable(source)

    async def surroundings(_routes: tuple[Route, ...]) -> None:
        _logger.info("gateway runs without a cluster", extra={"path": str(manifests)})
        await source.run()

    await gateway.run(source, table, table, surroundings)


async def run_in_cluster(configuration: Configuration, directories: Directories) -> None:
    """A node of the cluster that cluster.kubeconfig names."""
    from gateway.cluster import Cluster  # standalone never loads the API client
    from gateway.kube.api import KubeApi
    from gateway.kubelet.auth import Gatekeeper
    from gateway.kubelet.tls import serving_tls
    from gateway.node.name import hold_node_name

    node, server = configuration.node, configuration.server
    if configuration.cluster is None:
        raise ConfigError([("cluster.kubeconfig", "is required; or run with --standalone")])
    tell_if_shared(Path(configuration.cluster.kubeconfig))
    gateway = Gateway(configuration, directories)
    tls = await serving_tls(
        cert_file=server.cert_file,
        key_file=server.key_file,
        client_ca=server.client_ca,
        state_directory=directories.state,
        node_name=node.name,
        addresses=[node.address],
    )
    listener = await listen_tcp(server.address, server.port)
    async with await KubeApi.connect(configuration.cluster.kubeconfig) as api:
        if api.key_file is not None:
            tell_if_shared(api.key_file)
        cluster = Cluster(api, configuration, gateway.fleet, gateway.logs, gateway.ledger)

        async def surroundings(routes: tuple[Route, ...]) -> None:
            endpoint = Endpoint(routes, Gatekeeper(api, node.name), gateway.answers)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(HttpServer(endpoint, tls.context).serve, listener)
                await cluster.run(listener.getsockname()[1], is_self_signed=tls.is_self_signed)

        with hold_node_name(node.name, api.server):
            await gateway.run(cluster.source, cluster.sink, cluster, surroundings, cluster.families, cluster.node_object)


def tell_if_shared(credentials: Path) -> None:
    """Whoever reads them is this node. Told and not refused: distributions make files that a group may read."""
    with suppress(OSError):  # that they cannot be read is told by who reads them
        mode = stat.S_IMODE(credentials.stat().st_mode)
        if mode & 0o077:
            _logger.warning("others may use the node's credentials: chmod 600", extra={"path": str(credentials), "why": f"mode {mode:04o}"})


async def _end_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            _logger.info("gateway ends; devices go on", extra={"why": signal.Signals(number).name})
            scope.cancel()
            return
