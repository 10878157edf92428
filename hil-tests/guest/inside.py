"""Functions and objects for tests that live in the guest: `guest.call(await_path, ...)`, `process.keep(Tty, ...)`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

WAIT_S: Final = 50.0
"""Less than a test waits for the call."""
POLL_S: Final = 0.01


def await_path(path: str) -> str:
    """What a link of udev leads to, once udev is done with all links of the device. Raises TimeoutError."""
    _await(lambda: _is_settled(path), f"{path} did not come")
    return os.path.realpath(path)


def _is_settled(path: str) -> bool:
    """A link may dangle for a moment after its device has gone; that does not count. udev's record is written last."""
    with contextlib.suppress(FileNotFoundError):
        number = os.stat(path).st_rdev
        return _has_record(os.major(number), os.minor(number))
    return False


def _has_record(major: int, minor: int) -> bool:
    return os.path.exists(f"/run/udev/data/c{major}:{minor}")


def await_no_path(path: str) -> None:
    """Until there is nothing at path, not even a link. Raises TimeoutError."""
    _await(lambda: not os.path.lexists(path), f"{path} did not go")


def await_entries(folder: str, count: int) -> list[str]:
    """What is in the folder, by path, once there are so many. Raises TimeoutError."""
    _await(lambda: len(_entries(folder)) == count, f"{folder} did not have {count}")
    return _entries(folder)


def _entries(folder: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        # udev makes a link under a name that begins so, and renames it.
        return sorted(f"{folder}/{name}" for name in os.listdir(folder) if not name.startswith(".#"))
    return []


def await_usb(serial: str) -> str:
    """The node below /dev/bus/usb of the device with this serial number, once udev is done with it. Raises TimeoutError."""
    _await(lambda: _usb_node(serial) is not None, f"no USB device {serial} came")
    return str(_usb_node(serial))


def await_no_usb(serial: str) -> None:
    """Until the kernel has none. Raises TimeoutError."""
    _await(lambda: _usb_node(serial) is None, f"USB device {serial} did not go")


def _usb_node(serial: str) -> str | None:
    for device in Path("/sys/bus/usb/devices").iterdir():
        with contextlib.suppress(OSError):  # it goes while it is looked at, or has none
            if (device / "serial").read_text().strip() == serial:
                uevent = dict(line.split("=", 1) for line in (device / "uevent").read_text().splitlines())
                return f"/dev/{uevent['DEVNAME']}" if _has_record(int(uevent["MAJOR"]), int(uevent["MINOR"])) else None
    return None


def await_listener(path: str) -> None:
    """Until somebody listens on this unix socket. Raises TimeoutError."""
    _await(lambda: _is_listening(path), f"no one listened on {path}")


def await_kernel_function(pid: int, name: str) -> None:
    """Until the process sleeps in this function of the kernel. Raises TimeoutError."""
    _await(lambda: Path(f"/proc/{pid}/wchan").read_text() == name, f"{pid} did not come to {name}")


def _is_listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class OpenWatch:
    """Counts how often anybody opens a file, from now on."""

    def __init__(self, path: str) -> None:
        from inotify_simple import INotify, flags

        self._inotify = INotify()
        self._inotify.add_watch(path, flags.OPEN)
        self._count = 0

    def count(self) -> int:
        self._count += len(self._inotify.read(timeout=0))
        return self._count


def _await(holds: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{failure} within {WAIT_S:g} s")
        time.sleep(POLL_S)


def write_files(files: Mapping[str, str], owner: str = "") -> None:
    """Their folders are made, and belong to the owner."""
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        if owner:
            for made in (path, os.path.dirname(path), os.path.dirname(os.path.dirname(path))):
                shutil.chown(made, owner)


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the kernel reads and writes more."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("more", ctypes.c_char * 512),
    )


def mark_clock(is_right: bool) -> None:
    """Tell the kernel whether the clock is right, as an NTP client does."""
    adj_maxerror, adj_esterror, adj_status, sta_unsync = 0x04, 0x08, 0x10, 0x40
    timex = _Timex(modes=adj_maxerror | adj_esterror | adj_status, status=0 if is_right else sta_unsync)
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
