"""A gateway without a cluster, one board and a pod on it, for all tests of a file that only ask it things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
import yaml
from gateways import Gateway, device
from workbench import Workbench

POD: Final = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "hello"},
    "spec": {"containers": [{"name": "main", "image": "counter", "stdin": True}]},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Of the board `board` and the pod `hello`, which takes input."""
    folder = tmp_path_factory.mktemp("desk")
    table = Workbench(folder)
    try:
        (folder / "pods").mkdir()
        (folder / "pods" / "hello.yaml").write_text(yaml.safe_dump(POD))
        configuration = {
            "node": {"name": "desk"},
            "classes": [{"name": "sim", "shared": True}],
            "devices": [device("board", "sim", table.boards().links[0])],
        }
        gateway = table.gateway(configuration, "--standalone", "--manifests", str(folder / "pods"))
        gateway.process.wait_for(lambda: "1/1" in gateway.cli("get", "pods"), "the pod")
        yield gateway
    finally:
        table.clear()
