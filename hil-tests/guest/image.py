"""Whether a guest can be had: its kernel from `build`, and QEMU."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
QEMU: Final = "qemu-system-x86_64"


class NotBuilt(Exception):
    """Something is not there; the message says what to do."""


def find_image() -> Path:
    """The folder with kernel and initrd.img. Raises NotBuilt."""
    if shutil.which(QEMU) is None:
        raise NotBuilt(f"{QEMU} is not installed")
    found = subprocess.run([HERE / "build", "--if-built"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NotBuilt(found.stderr.strip())
    return Path(found.stdout.strip())


def has_kvm() -> bool:
    """The processor itself can run a guest. There are kernels that offer /dev/kvm without: a guest hardly boots on them."""
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    return os.access("/dev/kvm", os.W_OK) and not {"vmx", "svm"}.isdisjoint(flags)
