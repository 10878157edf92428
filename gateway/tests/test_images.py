"""An image names a program: as written, else by its last path part without tag or digest."""

from __future__ import annotations

import pytest

from gateway.devices.images import program_name, short_name
from gateway.pods.seams import StartRefused
from transports.protocol import Inventory, ProgramInfo

HELD = Inventory(programs=(ProgramInfo("hello"), ProgramInfo("lab/blink")))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("hello", "hello"),
        ("hello:1.2", "hello"),
        ("registry.example:5000/lab/hello:1.2", "hello"),
        ("registry.example:5000/hello@sha256:0123", "hello"),
        ("registry.example:5000/hello", "hello"),
        ("lab/blink", "lab/blink"),
    ],
)
def test_an_image_names_a_program(image: str, expected: str) -> None:
    assert program_name(image, HELD, "board-a") == expected


def test_an_unknown_image_lists_what_the_device_holds() -> None:
    with pytest.raises(StartRefused) as caught:
        program_name("nginx:latest", HELD, "board-a")
    assert caught.value.reason == "ErrImageNeverPull"
    assert caught.value.message == 'image "nginx:latest" is not on device board-a, which holds: hello, lab/blink'


def test_a_device_that_takes_any_name_gets_the_short_one() -> None:
    assert program_name("ghcr.io/lab/thing:2", Inventory(programs=(ProgramInfo("*"),)), "sim") == "thing"
    assert short_name("a/b/c:d@e") == "c"
