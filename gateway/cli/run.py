"""`wirelet run`: the gateway itself, as a node of a cluster or standalone."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from gateway.cli.progress import waiting
from gateway.errors import GatewayError

_NO_CONFIG: Final = "; a configuration is named with --config"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="GatewayConfiguration (docs/reference/configuration.md)")
    parser.add_argument("--standalone", action="store_true", help="no cluster: pods come from --manifests")
    parser.add_argument("--manifests", metavar="DIR", help="folder of pods, ConfigMaps and Secrets, for --standalone")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    compatible = parser.add_argument_group("as virtual-kubelet has them; they win over the file and the environment")
    compatible.add_argument("--kubeconfig", metavar="FILE")
    compatible.add_argument("--nodename", metavar="NAME")
    compatible.add_argument("--namespace", metavar="NAME", help="only pods of this namespace")
    compatible.add_argument("--os", metavar="NAME", help="operating system of the Node, linux by default")
    compatible.add_argument("--provider", metavar="NAME", help="wirelet, or mock: pods need not request a device")
    compatible.add_argument("--provider-config", metavar="FILE", help='JSON: {"<node>": {"cpu": "2", "memory": "32Gi", "pods": "128"}}')
    compatible.add_argument("--taint", metavar="KEY", help="key of the Node's taint")
    compatible.add_argument("--disable-taint", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 after a signal, 1 when it cannot run, 2 for a wrong command line."""
    if arguments.standalone != (arguments.manifests is not None):
        print("wirelet run: --standalone and --manifests DIR come together; give both, or none for a cluster", file=sys.stderr)
        return 2
    if arguments.standalone and not os.path.isdir(arguments.manifests):
        print(f"wirelet run: there is no folder {arguments.manifests}; make it, or name another with --manifests", file=sys.stderr)
        return 1
    failures: list[GatewayError] = []
    try:
        _run(arguments)
    except* GatewayError as group:
        failures = _leaves(group)
    for failure in failures:
        for line in str(failure).splitlines():
            print(f"wirelet run: {line}{_NO_CONFIG if arguments.config is None else ''}", file=sys.stderr)
    return 1 if failures else 0


def _run(arguments: argparse.Namespace) -> None:
    with waiting("the gateway is being loaded"):
        import anyio  # what follows is loaded only by the gateway itself, so that the other commands start quickly

        from gateway import app, config, log, overrides
        from gateway.directories import choose_directories

    flags = overrides.Flags(
        kubeconfig=arguments.kubeconfig,
        nodename=arguments.nodename,
        namespace=arguments.namespace,
        os=arguments.os,
        provider="mock" if arguments.standalone and arguments.provider is None else arguments.provider,
        provider_config=arguments.provider_config,
        taint=arguments.taint,
        disable_taint=arguments.disable_taint,
    )
    document = config.read(arguments.config) if arguments.config is not None else overrides.empty_document()
    configuration = config.check(overrides.apply(document, os.environ, flags))
    log.set_up(arguments.log_level)
    directories = choose_directories(configuration, os.environ, is_root=os.geteuid() == 0)
    if arguments.standalone:
        anyio.run(app.run_standalone, configuration, directories, Path(arguments.manifests))
    else:
        anyio.run(app.run_in_cluster, configuration, directories)


def _leaves(group: BaseExceptionGroup[GatewayError]) -> list[GatewayError]:
    found: list[GatewayError] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
