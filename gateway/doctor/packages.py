"""Is what we import what we mean? pip lays two distributions with one import name over each other, and a file of that name hides both.

`serial` on PyPI is no `pyserial`, and whoever installs it has a Wirelet that fails anywhere. Looked for before anything else is imported.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Final

from gateway.doctor.finding import Finding

NEEDED: Final = {
    "aiohttp": "aiohttp",
    "anyio": "anyio",
    "asyncssh": "asyncssh",
    "cobs": "cobs",
    "cryptography": "cryptography",
    "h11": "h11",
    "inotify_simple": "inotify-simple",
    "kubernetes": "kubernetes",
    "msgpack": "msgpack",
    "pydantic": "pydantic",
    "pyudev": "pyudev",
    "serial": "pyserial",
    "serial_asyncio": "pyserial-asyncio",
    "usb": "pyusb",
    "wsproto": "wsproto",
    "yaml": "pyyaml",
}
"""import name -> the distribution that we mean by it."""


def clashes() -> Iterator[Finding]:
    """Of this environment. What is not installed at all is told by whoever needs it."""
    owners = packages_distributions()
    for package, name in NEEDED.items():
        try:
            meant = distribution(name)
        except PackageNotFoundError:
            continue
        if finding := _shared(package, meant, owners) or _hidden(package, meant):
            yield finding


def _shared(package: str, meant: Distribution, owners: Mapping[str, Sequence[str]]) -> Finding | None:
    others = sorted({owner for owner in owners.get(package, ()) if owner.lower() != meant.name.lower()})
    if not others:
        return None
    pip = f"{shlex.quote(sys.executable)} -m pip"
    again = f"{pip} install --force-reinstall --no-deps {meant.name}=={meant.version}"
    problem = f"{', '.join(others)} brings a Python package of this name, as {meant.name} does, which is needed"
    fix = f"{pip} uninstall -y {' '.join(others)} && {again}"
    return Finding(f"package {package}", problem, fix, reason="PackageClash")


def _hidden(package: str, meant: Distribution) -> Finding | None:
    found = importlib.util.find_spec(package)
    wanted = {Path(str(meant.locate_file(name))).resolve() for name in (f"{package}/__init__.py", f"{package}.py")}
    if found is None or found.origin is None or Path(found.origin).resolve() in wanted:
        return None
    problem = f"{found.origin} hides {meant.name}, which is needed"
    fix = f"mv {shlex.quote(found.origin)} {shlex.quote(f'{found.origin}.not-{meant.name}')}"
    return Finding(f"package {package}", problem, fix, reason="PackageClash")
