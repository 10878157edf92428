"""A USB device made by the guest's own kernel and plugged into it by dummy_hcd: both ends are real drivers. For root in the guest.

It is the second witness beside the devices that we emulate ourselves: what holds on both is no property of our emulation.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

CONFIGFS: Final = Path("/sys/kernel/config")
CONTROLLER: Final = "dummy_udc.0"
ENGLISH: Final = "strings/0x409"


class Gadget:
    """One function, not plugged in at first. For FunctionFS the function has to be served before plug()."""

    def __init__(self, serial: str, function: str, ids: tuple[int, int] = (0x1209, 0x0001), product: str = "gadget") -> None:
        """function: as configfs names it, `acm.a` or `ffs.a`. ids: of vendor and product."""
        for module in ("dummy_hcd", "libcomposite"):
            subprocess.run(["modprobe", module], check=True)
        if not (CONFIGFS / "usb_gadget").exists():
            subprocess.run(["mount", "-t", "configfs", "configfs", str(CONFIGFS)], check=True)
        self._folder = CONFIGFS / "usb_gadget" / serial
        self._function = function
        for path in (ENGLISH, f"configs/c.1/{ENGLISH}", f"functions/{function}"):
            (self._folder / path).mkdir(parents=True)
        attributes = {
            "idVendor": hex(ids[0]),
            "idProduct": hex(ids[1]),
            f"{ENGLISH}/manufacturer": "Wirelet",
            f"{ENGLISH}/product": product,
            f"{ENGLISH}/serialnumber": serial,
        }
        for path, value in attributes.items():
            (self._folder / path).write_text(value)
        os.symlink(self._folder / "functions" / function, self._folder / "configs/c.1" / function)

    def plug(self) -> None:
        (self._folder / "UDC").write_text(CONTROLLER)

    def unplug(self) -> None:
        (self._folder / "UDC").write_text("\n")

    def port(self) -> str:
        """The device's end of a serial function."""
        return f"/dev/ttyGS{(self._folder / 'functions' / self._function / 'port_num').read_text().strip()}"

    def remove(self) -> None:
        """For good; the function is free then."""
        if (self._folder / "UDC").read_text().strip():
            self.unplug()
        (self._folder / "configs/c.1" / self._function).unlink()
        for path in (f"configs/c.1/{ENGLISH}", "configs/c.1", f"functions/{self._function}", ENGLISH, ""):
            (self._folder / path).rmdir()
