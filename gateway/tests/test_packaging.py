"""What a user installs: both packages, their types, and none of the tests."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("wirelet-*.whl"))) as built:
        yield built


def text_of(wheel: zipfile.ZipFile, suffix: str) -> str:
    return wheel.read(next(name for name in wheel.namelist() if name.endswith(suffix))).decode()


def test_the_wheel_has_both_packages_whole(wheel: zipfile.ZipFile) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for package in ("gateway", "transports")
        for path in (ROOT / package).rglob("*.py")
        if "tests" not in path.parts
    }
    assert sources <= set(wheel.namelist())


def test_the_wheel_has_no_tests_and_no_other_top_level_module(wheel: zipfile.ZipFile) -> None:
    assert not [name for name in wheel.namelist() if "/tests/" in name or Path(name).name.startswith(("test_", "conftest"))]
    assert {name.split("/")[0] for name in wheel.namelist() if ".data/" not in name and ".dist-info/" not in name} == {
        "gateway",
        "transports",
    }


def test_the_wheel_names_its_licence_its_command_and_its_types(wheel: zipfile.ZipFile) -> None:
    metadata = text_of(wheel, "METADATA")
    assert "License-Expression: Apache-2.0" in metadata
    assert "wirelet = gateway.cli:main" in text_of(wheel, "entry_points.txt")
    assert {"gateway/py.typed", "transports/py.typed"} <= set(wheel.namelist())


def test_the_wheel_offers_every_driver_by_an_entry_point(wheel: zipfile.ZipFile) -> None:
    offered = configparser.ConfigParser()
    offered.read_string(text_of(wheel, "entry_points.txt"))
    assert {"serial", "simulated"} <= set(offered["wirelet.links"])
    assert {"framed", "console", "exec", "agent"} <= set(offered["wirelet.protocols"])
    assert {"transports/protocols/exec_wrapper.sh", "transports/agent/wirelet_agent.py", "transports/agent/put.py"} <= set(wheel.namelist())
    for group in ("wirelet.links", "wirelet.protocols"):
        assert {f"{value.partition(':')[0].replace('.', '/')}.py" for value in offered[group].values()} <= set(wheel.namelist())


def test_the_contract_suite_is_in_the_wheel_and_costs_nothing_unless_it_is_used(wheel: zipfile.ZipFile) -> None:
    assert "transports/testing/link_contract.py" in wheel.namelist()
    program = "import transports.testing, sys; print([name for name in ('pytest', 'blockbuster') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"
    required = [line for line in text_of(wheel, "METADATA").splitlines() if line.startswith("Requires-Dist: pytest")]
    assert required
    assert all("extra == 'testing'" in line for line in required)


def test_the_wheel_has_the_udev_files(wheel: zipfile.ZipFile) -> None:
    shared = {name.partition(".data/data/")[2] for name in wheel.namelist()}
    assert {"share/wirelet/udev/61-wirelet.rules", "share/wirelet/udev/61-wirelet.hwdb", "share/wirelet/udev/README.md"} <= shared


def test_ssh_is_an_extra(wheel: zipfile.ZipFile) -> None:
    required = [line for line in text_of(wheel, "METADATA").splitlines() if line.startswith("Requires-Dist: asyncssh")]
    assert required
    assert all("extra == 'ssh'" in line for line in required)


def test_the_version_is_said_once() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
