"""Which program of a device an image means. Pure."""

from __future__ import annotations

from gateway.pods.seams import StartRefused
from transports.protocol import Inventory

ANY_PROGRAM = "*"
"""A device that lists this program takes every name."""


def program_name(image: str, inventory: Inventory, device: str) -> str:
    """The name as written, else its last path part without tag or digest, looked up in the inventory.

    Raises StartRefused("ErrImageNeverPull") with the list of what the device holds.
    """
    names = [program.name for program in inventory.programs]
    for candidate in (image, short_name(image)):
        if candidate in names:
            return candidate
    if ANY_PROGRAM in names:
        return short_name(image)
    held = ", ".join(sorted(names)) or "no programs"
    raise StartRefused("ErrImageNeverPull", f'image "{image}" is not on device {device}, which holds: {held}')


def short_name(image: str) -> str:
    """registry.example:5000/lab/blinky:1.2@sha256:... -> blinky"""
    return image.rsplit("/", 1)[-1].split("@", 1)[0].split(":", 1)[0]
