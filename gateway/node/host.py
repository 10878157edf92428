"""Reads the machine's identity from /etc, /proc and /sys. Blocking, once, before the loop starts or in a thread."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gateway.node.facts import HostFacts

GO_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}
MAX_BYTES: Final = 4096
"""More than any of these files holds."""


def read_host(root: Path = Path("/")) -> HostFacts:
    """Every fact that can be read; an absent one is empty, except the machine id, which then is the boot id."""
    system = os.uname()
    boot_id = _text(root / "proc/sys/kernel/random/boot_id")
    machine_id = _text(root / "etc/machine-id") or boot_id.replace("-", "")
    return HostFacts(
        machine_id=machine_id,
        # A PC's firmware says it (to root only); a Raspberry Pi has a serial number instead.
        system_uuid=_text(root / "sys/class/dmi/id/product_uuid") or _text(root / "proc/device-tree/serial-number") or machine_id,
        boot_id=boot_id,
        kernel_version=system.release,
        os_image=_os_image(root / "etc/os-release"),
        architecture=GO_ARCHITECTURES.get(system.machine, system.machine),
    )


def _os_image(path: Path) -> str:
    for line in _text(path).splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip("\"'")
    return "Linux"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            return source.read(MAX_BYTES).decode("utf-8", "replace").strip("\0 \n")
    except OSError:
        return ""
