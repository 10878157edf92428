"""Wirelet in a fresh environment, alone and beside the other `transports` of PyPI, whose files pip mixes with ours without a word."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What the other distribution of that name has in common with ours, and something of its own.
OTHER_TRANSPORTS = {
    "transports/__init__.py": "from .hub import Hub\n",
    "transports/protocol.py": "",
    "transports/hub.py": "class Hub: ...\n",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("wirelet-*.whl"))


@pytest.fixture
def python(tmp_path: Path, wheel: Path) -> Path:
    """The interpreter of a fresh environment with Wirelet in it. The dependencies are this environment's, so that no network is needed."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    interpreter = folder / "bin" / "python"
    where = run(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    # A .pth file adds the folder, but does not follow the .pth of our own editable install in it.
    Path(where, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install(interpreter, wheel)
    return interpreter


def run(*argv: Path | str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "WIRELET"))}
    return subprocess.run(argv, cwd="/", env=environment, capture_output=True, text=True, check=False)


def install(python: Path, wheel: Path, *options: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, *options, wheel], check=True)


def other_transports(folder: Path) -> Path:
    """A wheel with the same import name as our package."""
    folder.mkdir()
    path = folder / "transports-0.10.0-py3-none-any.whl"
    info = "transports-0.10.0.dist-info"
    files = OTHER_TRANSPORTS | {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: transports\nVersion: 0.10.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(name, text)
    return path


def test_the_command_works_in_a_fresh_environment(python: Path) -> None:
    ran = run(python.parent / "wirelet", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "simulate" in ran.stdout
    assert str(ROOT) not in run(python, "-c", "import gateway, transports; print(gateway.__file__, transports.__file__)").stdout


def test_the_module_is_a_command_too(python: Path) -> None:
    assert run(python, "-m", "gateway", "--help").returncode == 0


def test_the_udev_files_are_found_where_the_wheel_has_put_them(python: Path, tmp_path: Path, need: Callable[[str], None]) -> None:
    need("umockdev")
    ran = run(python.parent / "wirelet", "udev", "install", "--root", str(tmp_path / "image"))
    assert (ran.returncode, ran.stderr) == (0, "")
    for place, name in (("rules.d", "61-wirelet.rules"), ("hwdb.d", "61-wirelet.hwdb")):
        assert (tmp_path / "image" / "etc" / "udev" / place / name).read_bytes() == (ROOT / "udev" / name).read_bytes()


def test_another_transports_is_refused_in_one_line(python: Path, tmp_path: Path) -> None:
    install(python, other_transports(tmp_path / "other"))
    ran = run(python.parent / "wirelet", "run", "--config", "gateway.yaml")
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert "transports" in ran.stderr
    assert "a virtual environment of its own" in ran.stderr


def test_installing_wirelet_again_mends_it(python: Path, wheel: Path, tmp_path: Path) -> None:
    install(python, other_transports(tmp_path / "other"))
    install(python, wheel, "--force-reinstall")
    assert run(python.parent / "wirelet", "--help").returncode == 0
