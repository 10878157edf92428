"""Wirelet's two files for udev: where they come from, where they belong, and how they differ. `root` is `/`, or the folder of an image."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

RULES: Final = "61-wirelet.rules"
TABLE: Final = "61-wirelet.hwdb"
PLACES: Final = {RULES: Path("etc/udev/rules.d"), TABLE: Path("etc/udev/hwdb.d")}
CHECKOUT: Final = Path(__file__).resolve().parents[2] / "udev"
SHARED: Final = Path("share", "wirelet", "udev")
"""Where the wheel has them, below the environment's prefix. udev does not look there."""


class UdevError(Exception):
    """Not done. The text is one line that says why and what to do."""


def shipped() -> dict[str, bytes]:
    """The files that belong to this Wirelet, from its checkout or its wheel."""
    for folder in (CHECKOUT, Path(sysconfig.get_path("data")) / SHARED):
        if (folder / RULES).is_file():
            return {name: (folder / name).read_bytes() for name in PLACES}
    raise UdevError(f"{RULES} is not part of this installation; install wirelet again from its wheel")


def target(root: Path, name: str) -> Path:
    return root / PLACES[name] / name


def differences(root: Path) -> dict[str, str]:
    """The files that are not there as shipped, by name, and what is the matter with each."""
    found: dict[str, str] = {}
    for name, content in shipped().items():
        path = target(root, name)
        if path.is_symlink():
            found[name] = f"is a link to {os.readlink(path)}"
        elif not path.exists():
            found[name] = "is not installed"
        elif path.read_bytes() != content:
            found[name] = "is not the one of this version"
    return found


def write(root: Path) -> list[Path]:
    """Put the files where they belong; returns those that changed. Raises OSError as it comes."""
    content = shipped()
    changed = [target(root, name) for name in differences(root)]
    _refuse_links(changed)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place, so that udevd never reads half a file. It ignores names without its suffix.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as new:
            new.write(content[path.name])
            os.fchmod(new.fileno(), 0o644)
        os.replace(new.name, path)
    return changed


def delete(root: Path) -> list[Path]:
    """Take the files away; returns those that were there. Raises OSError as it comes."""
    there = [path for name in PLACES if os.path.lexists(path := target(root, name))]
    _refuse_links(there)
    for path in there:
        path.unlink()
    return there


def _refuse_links(paths: list[Path]) -> None:
    for path in paths:
        if path.is_symlink():
            raise UdevError(f"{path} is a link to {os.readlink(path)}: somebody has switched the file off; remove the link first")
