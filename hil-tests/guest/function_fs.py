"""A loop of bulk endpoints served by a process of the guest through FunctionFS: `python -m guest.function_fs NAME`.

The interface is that of SPEC.md 10.2, so that Wirelet's own link takes it; but no burst is ended by an empty packet. It says `ready` when
the gadget may be plugged in, and runs until it is killed. One buffer is under way at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

OUT_ENDPOINT: Final = 0x01
IN_ENDPOINT: Final = 0x82
BUFFER_BYTES: Final = 16384
FULL_SPEED_PACKET, HIGH_SPEED_PACKET = 64, 512
_STRINGS_MAGIC: Final = 2
_DESCRIPTORS_MAGIC_V2: Final = 3
_HAS_FULL_SPEED, _HAS_HIGH_SPEED = 1, 2
_EVENT: Final = struct.Struct("<8sB3x")
_SETUP: Final = 4
_ENGLISH: Final = 0x409
_GONE: Final = (errno.ESHUTDOWN, errno.EAGAIN, errno.EINTR)
"""The cable was pulled while the endpoint waited."""


def descriptors() -> bytes:
    """Interface and endpoints for both speeds, behind FunctionFS's own head."""
    body = struct.pack("<II", 3, 3) + _interface(FULL_SPEED_PACKET) + _interface(HIGH_SPEED_PACKET)
    return struct.pack("<III", _DESCRIPTORS_MAGIC_V2, 12 + len(body), _HAS_FULL_SPEED | _HAS_HIGH_SPEED) + body


def _interface(packet_bytes: int) -> bytes:
    endpoints = b"".join(struct.pack("<BBBBHB", 7, 5, address, 2, packet_bytes, 0) for address in (OUT_ENDPOINT, IN_ENDPOINT))
    return struct.pack("<9B", 9, 4, 0, 0, 2, 0xFF, 0x57, 0x01, 1) + endpoints


def strings() -> bytes:
    body = struct.pack("<H", _ENGLISH) + b"wirelet/1\0"
    return struct.pack("<IIII", _STRINGS_MAGIC, 16 + len(body), 1, 1) + body


def serve(name: str) -> None:
    folder = Path(f"/run/ffs-{name}")
    folder.mkdir()
    subprocess.run(["mount", "-t", "functionfs", name, str(folder)], check=True)
    control = os.open(folder / "ep0", os.O_RDWR)
    os.write(control, descriptors())
    os.write(control, strings())
    out, back = os.open(folder / "ep1", os.O_RDWR), os.open(folder / "ep2", os.O_RDWR)
    threading.Thread(target=_return_all, args=(out, back), daemon=True).start()
    print("ready", flush=True)
    while True:
        for setup, kind in _EVENT.iter_unpack(os.read(control, 8 * _EVENT.size)):
            if kind == _SETUP:
                _stall(control, is_in=bool(setup[0] & 0x80))


def _stall(control: int, *, is_in: bool) -> None:
    """There are no requests of our own: the wrong direction is FunctionFS's way to say so."""
    with contextlib.suppress(OSError):
        os.read(control, 0) if is_in else os.write(control, b"")


def _return_all(out: int, back: int) -> None:
    """An endpoint waits while the cable is out."""
    while True:
        try:
            data = os.read(out, BUFFER_BYTES)
            if data:
                os.write(back, data)
        except OSError as error:
            if error.errno not in _GONE:
                raise


if __name__ == "__main__":
    serve(sys.argv[1])
