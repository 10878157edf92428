"""A link of somebody else, installed by pip beside Wirelet: configured, checked, run on, and held to the same contract as ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from gateways import CLI_TIMEOUT_S, WIRELET
from workbench import Workbench

PACKAGE: Final = Path(__file__).parent / "third_party_link"
HELLO: Final = """
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec: {containers: [{name: main, image: hello}]}
"""
Change = Callable[[Path], None]


def installed(folder: Path, change: Change = lambda source: None) -> Path:
    """The folder of an installation of the package, as change leaves it, by pip and without any network."""
    source, target = folder / "source", folder / "site"
    shutil.copytree(PACKAGE, source)
    change(source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, source], check=True)
    return target


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("third-party"))


def configuration(path: Path | str) -> dict[str, Any]:
    return {
        "node": {"name": "desk"},
        "classes": [{"name": "vm", "shared": True}],
        "devices": [{"name": "console", "class": "vm", "link": {"unix": {"path": str(path)}}}],
    }


def wirelet(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WIRELET, *arguments], capture_output=True, text=True, timeout=CLI_TIMEOUT_S, check=False)


def checked(file: Path, path: str) -> subprocess.CompletedProcess[str]:
    """What check-config says of a device behind the socket at path."""
    file.write_text(json.dumps(configuration(path)))  # JSON is YAML
    return wirelet("check-config", file)


def test_check_config_lists_it_and_checks_its_options(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gateway.yaml"
    without = checked(file, "/run/console")
    assert without.stderr.startswith(
        "devices[0].link.unix: no such link is installed; there are: rfc2217, serial, simulated, socket, ssh, usb"
    )

    monkeypatch.setenv("PYTHONPATH", str(package))
    listed = checked(file, "/run/console")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert ["link/unix", "wirelet-unix-link", "1.0", "1"] in [line.split() for line in listed.stdout.splitlines()]
    refused = checked(file, "x" * 200)
    assert refused.stderr == "devices[0].link.unix.path: must be 1 to 107 bytes, not 200\n"


def test_a_pod_runs_on_it(package: Path, workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = workbench.folder / "manifests"
    manifests.mkdir()
    (manifests / "hello.yaml").write_text(HELLO)
    path = workbench.folder / "console"
    monkeypatch.setenv("PYTHONPATH", str(package))
    workbench.process("board", [sys.executable, str(PACKAGE / "tests" / "board.py"), str(path)])
    gateway = workbench.gateway(configuration(path), "--standalone", "--manifests", str(manifests))
    gateway.process.wait_for(lambda: gateway.run_cli("logs", "hello").stdout.startswith("hello from"), "the pod's log")
    assert str(path) in gateway.cli("get", "devices", "-o", "wide")


def test_it_passes_the_contract_that_ours_pass(package: Path, tmp_path: Path) -> None:
    """As its authors would run it; the report is for the matrix at the end of `make test`."""
    shutil.copytree(PACKAGE / "tests", tmp_path / "tests")
    report = Path(os.environ.get("WIRELET_REPORTS", tmp_path)) / "third-party.xml"
    run = [sys.executable, "-m", "pytest", "-q", "--timeout", "60", "-p", "no:cacheprovider"]
    argv = [*run, "-p", "transports.testing.labels", f"--junitxml={report}", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    ran = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed, 2 skipped" in ran.stdout


def test_a_package_that_cannot_be_loaded_is_one_line_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack_a_library(source: Path) -> None:
        module = source / "wirelet_unix_link.py"
        module.write_text(module.read_text().replace("import anyio\n", "import anyio\nimport a_library_that_nobody_has\n", 1))

    monkeypatch.setenv("PYTHONPATH", str(installed(tmp_path, lack_a_library)))
    told = (
        "devices[0].link.unix: the package wirelet-unix-link 1.0 cannot be loaded: "
        "ModuleNotFoundError: No module named 'a_library_that_nobody_has'\n"
    )
    file = tmp_path / "gateway.yaml"
    refused = checked(file, "/run/console")
    assert (refused.returncode, refused.stderr) == (1, told)
    ran = wirelet("run", "--config", file, "--standalone", "--manifests", tmp_path)
    assert (ran.returncode, ran.stderr) == (1, f"wirelet run: {told}")
