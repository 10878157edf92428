"""What a gateway finds at its start and cannot use is one clear error, and nothing stays held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.config import parse
from gateway.directories import Directories
from gateway.errors import ConfigError
from gateway.logs.checkpoint import checkpoint_path

CONFIGURATION = parse(
    """
node: {name: desk}
classes: [{name: sim}]
devices: [{name: sim-1, class: sim, link: {simulated: {seed: 1}}}]
"""
)


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path / "run", tmp_path / "state")


def test_a_ledger_that_is_damaged_is_named(directories: Directories) -> None:
    directories.state.mkdir()
    directories.ledger.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match=r"stateDirectory: .*ledger.sqlite: file is not a database"):
        Gateway(CONFIGURATION, directories)
    directories.take().close()


def test_a_checkpoint_that_cannot_be_opened_is_named(directories: Directories) -> None:
    path = checkpoint_path(directories.checkpoints, "sim-1")
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"runtimeDirectory: cannot use .*\.checkpoint: Is a directory"):
        Gateway(CONFIGURATION, directories)
    directories.take().close()


def test_what_is_loaded_is_not_searched_for_cycles_again() -> None:
    code = (
        "import gc; from gateway.app import settle_memory\n"
        "before = len(gc.get_objects())\n"
        "settle_memory()\n"
        "print(before, len(gc.get_objects()))"
    )
    loaded, searched = map(int, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert searched < loaded / 20
