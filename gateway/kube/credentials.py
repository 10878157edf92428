"""Who the gateway is at the API server: one reading of a kubeconfig, or of the account of a pod. The only door to the `kubernetes` package.

From `kubernetes.aio` come the credentials (kubeconfig, in-cluster account, exec plugins), TLS and the HTTP client. Everything here blocks,
for it reads files and may start a credential plugin: call it in a thread.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

PLUGIN_TIMEOUT_S: Final = 20.0
"""For one that asks a cloud; below the lease's 40 s."""
POLL_S: Final = 0.01


def read_credentials(kubeconfig: str | None, user_agent: str) -> tuple[ApiClient, ApiClient]:
    """(for requests, for watches): a watch must not hold a connection that a write waits for. None means the pod's own account, else
    ~/.kube/config. Raises ConfigError when the file or a certificate that it names cannot be used."""
    from kubernetes.aio.client import ApiClient, Configuration

    where, load = _credentials(kubeconfig)
    configuration = Configuration()
    try:
        load(configuration)
        _trim_token(configuration)
        clients = ApiClient(configuration=configuration), ApiClient(configuration=copy.copy(configuration))
    except Exception as error:  # the loader has no error tree: a wrong file ends in KeyError, TypeError, YAMLError, SSLError ...
        raise ConfigError([(where, f"cannot be used: {_in_one_line(error)}")]) from error
    finally:
        _remove_copies()
    for client in clients:
        client.user_agent = user_agent
    return clients


def _trim_token(configuration: Any) -> None:
    """A file that holds a token mostly ends its line, and client-go trims it, too. Raises ValueError for one that no header can carry."""
    token = configuration.api_key.get("BearerToken")
    if token is None:
        return
    token = token.strip()
    if not token.isprintable():
        raise ValueError("its token is more than a line of text")
    configuration.api_key["BearerToken"] = token


def _remove_copies() -> None:
    """The loader copies keys that a kubeconfig holds into the temporary directory and removes them at an ordinary exit. They have been read
    by now, and a killed gateway would leave the node's key on the disk each time."""
    from kubernetes.aio.config import kube_config

    # Private, and the only thing that makes the loader forget their names too; its absence fails every test that connects.
    kube_config._cleanup_temp_files()  # type: ignore[no-untyped-call]  # the package is annotated in part


def _in_one_line(error: Exception) -> str:
    if isinstance(error, TypeError | AttributeError | LookupError):
        return "it is no kubeconfig"  # what the loader stumbled on says nothing to a person
    return " ".join(str(error).split()) or type(error).__name__


def _credentials(kubeconfig: str | None) -> tuple[str, Callable[[Any], None]]:
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return "in-cluster account", _load_account
    path = Path(kubeconfig) if kubeconfig is not None else Path.home() / ".kube" / "config"
    if not path.is_file():
        raise ConfigError([("cluster.kubeconfig", f"there is no file {path}")])
    return "cluster.kubeconfig", functools.partial(_load_file, path=str(path))


def _load_account(configuration: Any) -> None:
    from kubernetes.aio.config import load_incluster_config

    load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # the package is annotated in part


def _load_file(configuration: Any, path: str) -> None:
    from kubernetes.aio.config import load_kube_config

    # persist_config would write refreshed tokens into the user's file.
    loading = load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]  # as above
    with asyncio.Runner(loop_factory=_PluginLoop) as runner:
        try:
            runner.run(asyncio.wait_for(loading, PLUGIN_TIMEOUT_S))
        except TimeoutError as error:
            runner.run(_end(runner.get_loop()))
            raise ValueError(f"its credential plugin did not end within {PLUGIN_TIMEOUT_S:g} s") from error


class _PluginLoop(asyncio.SelectorEventLoop):
    """Knows the processes that it started: the loader would leave a plugin running, and another one each time."""

    def __init__(self) -> None:
        super().__init__()
        self.plugins: list[asyncio.SubprocessTransport] = []

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        made = await super().subprocess_exec(*args, **kwargs)
        self.plugins.append(made[0])
        return made


async def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Kill what was started on it."""
    assert isinstance(loop, _PluginLoop)
    for plugin in loop.plugins:
        plugin.close()
    while any(plugin.get_returncode() is None for plugin in loop.plugins):  # noqa: ASYNC110 - a transport tells only its protocol
        await asyncio.sleep(POLL_S)
