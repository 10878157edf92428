"""`wirelet doctor` in a fresh environment in which somebody has installed a package with the name of one that Wirelet needs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Environment:
    """A virtual one with this checkout and its dependencies, of which one is installed there in earnest."""

    def __init__(self, folder: Path, needed: str) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        self.python = venv / "bin" / "python"
        purelib = self.run(str(self.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        Path(purelib, "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
        self.install(repacked(self.wheels, needed))

    def run(self, *argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """pip finds what is in wheels, and nothing else."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "WIRELET", "PIP_"))}
        environment = {**clean, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_ROOT_USER_ACTION": "ignore"}
        return subprocess.run(argv, cwd=cwd or self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def install(self, wheel: Path) -> None:
        ran = self.run(str(self.python), "-m", "pip", "install", "-q", "--no-deps", "--ignore-installed", str(wheel))
        assert ran.returncode == 0, ran.stderr

    def findings(self, cwd: Path | None = None) -> list[str]:
        ran = self.run(str(self.python), "-m", "gateway", "doctor", "--config", "/nowhere.yaml", cwd=cwd)
        assert "Traceback" not in ran.stderr, ran.stderr
        return [line for line in ran.stderr.splitlines() if line.startswith("package ")]

    def mend(self, finding: str) -> None:
        ran = self.run("sh", "-c", finding.partition("; ")[2])
        assert ran.returncode == 0, ran.stderr


def written(path: Path, files: Mapping[str, bytes]) -> Path:
    """A wheel."""
    (info,) = {name.partition("/")[0] for name in files if ".dist-info/" in name}
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    return path


def repacked(folder: Path, name: str) -> Path:
    """The wheel of what is installed here."""
    here = distribution(name)
    inside = [file for file in here.files or () if not str(file).startswith("..") and "__pycache__" not in str(file)]
    files = {str(file): Path(str(file.locate())).read_bytes() for file in inside if file.name not in ("RECORD", "INSTALLER", "REQUESTED")}
    return written(folder / f"{here.name}-{here.version}-py3-none-any.whl", files)


def foreign(folder: Path, package: str) -> Path:
    """Something else that is imported by that name."""
    info = f"{package}-0.0.97.dist-info"
    files = {
        f"{package}/__init__.py": b"from .model import Model\n",
        f"{package}/model.py": b"class Model: ...\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.97\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return written(folder / f"{package}-0.0.97-py3-none-any.whl", files)


@pytest.mark.parametrize(("package", "needed"), [("serial", "pyserial"), ("usb", "pyusb")])
def test_a_foreign_package_laid_over_ours_is_found_and_taken_out(tmp_path: Path, package: str, needed: str) -> None:
    environment = Environment(tmp_path, needed)
    assert environment.findings() == []
    environment.install(foreign(tmp_path, package))
    (finding,) = environment.findings()
    assert finding.startswith(f"package {package}: {package} brings a Python package of this name, as {needed} does")
    environment.mend(finding)
    assert environment.findings() == []


def test_a_file_that_hides_a_package_is_found_and_moved_away(tmp_path: Path) -> None:
    environment = Environment(tmp_path, "pyserial")
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "serial.py").write_text("print('my first port')\n")
    (finding,) = environment.findings(cwd=desk)
    assert finding.startswith(f"package serial: {desk / 'serial.py'} hides pyserial, which is needed; mv ")
    environment.mend(finding)
    assert environment.findings(cwd=desk) == []
