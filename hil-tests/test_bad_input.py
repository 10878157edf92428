"""Whatever a device, a manifest or a configuration says: one clear message at the right place, and nobody else is disturbed."""

from __future__ import annotations

import contextlib
import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cobs import cobs
from gateways import Gateway, device
from lab import assert_counted
from raw_port import RawPort
from workbench import Workbench

COUNTER = """
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec: {containers: [{name: counter, image: counter, args: [--rate, "100"]}]}
"""


@pytest.fixture
def raw_ports(tmp_path: Path) -> Iterator[Callable[[str], RawPort]]:
    """raw_ports(name) makes a port whose link is tmp_path/name."""
    with contextlib.ExitStack() as made:
        yield lambda name: made.enter_context(contextlib.closing(RawPort(tmp_path / name)))


def configuration(*devices: dict[str, Any]) -> dict[str, Any]:
    return {"node": {"name": "desk"}, "classes": [{"name": "sim", "slots": 4, "shared": True}], "devices": list(devices)}


def standalone(workbench: Workbench, folder: Path, *devices: dict[str, Any], manifests: dict[str, str]) -> Gateway:
    pods = folder / "pods"
    pods.mkdir()
    for name, text in manifests.items():
        (pods / name).write_text(text)
    return workbench.gateway(configuration(*devices), "--standalone", "--manifests", str(pods))


def wait(gateway: Gateway, met: Callable[[], Any], what: str) -> None:
    gateway.process.wait_for(lambda: bool(met()), what, timeout_s=30.0)


def frame(first: int, payload: bytes, sid: int = 0, channel: int = 0, offset: int = 0) -> bytes:
    content = bytes([first, sid, channel]) + offset.to_bytes(4, "little") + payload
    return b"\0" + bytes(cobs.encode(content + zlib.crc32(content).to_bytes(4, "little"))) + b"\0"


BOMB = b"\x91" * 5000 + b"\xc0"
HELLO_WITH_BOMB = frame(0x82, b"\x93\x02\x01" + b"\x81\x01" * 30 + b"\xc0")
TALK = {
    "random bytes": random.Random(1).randbytes(200_000),
    "endless frame without an end": b"\x80" * 300_000,
    "text without a newline": "žluťoučký kůň ".encode() * 5000,
    "a frame above every size": frame(0x80, bytes(70_000)),
    "a datagram that is no msgpack": frame(0x82, b"\xc1\xff\xff"),
    "a msgpack bomb": frame(0x82, BOMB),
    "a nested HELLO": HELLO_WITH_BOMB,
    "an array of four billion": frame(0x82, b"\xdd\xff\xff\xff\xff"),
    "a frame of an unknown session": frame(0x80, b"hello", sid=77, channel=2, offset=5) * 50,
    "zeros": bytes(100_000),
}


def test_devices_that_talk_nonsense_disturb_nobody(workbench: Workbench, tmp_path: Path, raw_ports: Callable[[str], RawPort]) -> None:
    ports = {f"bad-{number}": raw_ports(f"raw-{number}") for number in range(len(TALK))}
    boards = workbench.boards(1, "--slots", "4")
    bad = [device(name, "sim", port.link) for name, port in ports.items()]
    gateway = standalone(workbench, tmp_path, device("good", "sim", boards.links[0]), *bad, manifests={"counter.yaml": COUNTER})
    wait(gateway, lambda: gateway.cli("logs", "counter", check=False), "the pod's log")

    for port, talk in zip(ports.values(), TALK.values(), strict=True):
        port.send(talk)
    before = len(gateway.cli("logs", "counter").splitlines())
    wait(gateway, lambda: len(gateway.cli("logs", "counter").splitlines()) > before + 200, "two hundred further lines")

    assert_counted(gateway.cli("logs", "counter").splitlines(), first=1)
    assert "Traceback" not in gateway.log()
    assert len(gateway.log().splitlines()) < 10 * len(TALK)
    rows = {row["name"]: row for row in json.loads(gateway.cli("get", "devices", "-o", "json"))["items"]}
    assert rows["good"]["state"] == "Ready"
    assert all(rows[name]["state"] != "Ready" and rows[name]["message"] for name in ports)


def test_text_of_a_board_without_our_firmware_is_in_the_devices_log(
    workbench: Workbench, tmp_path: Path, raw_ports: Callable[[str], RawPort]
) -> None:
    raw_port = raw_ports("raw")
    gateway = standalone(workbench, tmp_path, device("bad", "sim", raw_port.link), manifests={})
    raw_port.send(b"U-Boot 2024.01\r\nHit any key to stop autoboot\r\n")
    wait(gateway, lambda: "Hit any key" in gateway.cli("logs", "device/bad", check=False), "the boot text")
    assert raw_port.received == b""  # any key would have stopped the boot


MANIFESTS = {
    "no-yaml.yaml": "apiVersion: v1\nkind: [",
    "no-object.yaml": "just text",
    "no-containers.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {}",
    "other-kind.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {}",
    "bad-name.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: A_B}\nspec: {containers: [{name: a, image: b}]}",
    "bytes.yaml": "\x00\x01\x02",
    "deep.yaml": "[" * 3000,
}


def test_broken_manifests_are_named_and_the_others_run(workbench: Workbench, tmp_path: Path) -> None:
    boards = workbench.boards(1, "--slots", "4")
    manifests = {**MANIFESTS, "counter.yaml": COUNTER}
    gateway = standalone(workbench, tmp_path, device("good", "sim", boards.links[0]), manifests=manifests)
    wait(gateway, lambda: gateway.cli("logs", "counter", check=False), "the good pod's log")
    log = gateway.log()
    assert [name for name in MANIFESTS if log.count(name) != 1] == []
    assert "Traceback" not in log


def test_a_port_in_use_says_so(workbench: Workbench, tmp_path: Path) -> None:
    boards = workbench.boards(1, "--slots", "4")
    first = standalone(workbench, tmp_path, device("board", "sim", boards.links[0]), manifests={"counter.yaml": COUNTER})
    wait(first, lambda: first.cli("logs", "counter", check=False), "the first gateway's pod")
    (tmp_path / "other").mkdir()
    second = standalone(workbench, tmp_path / "other", device("board", "sim", boards.links[0]), manifests={})
    wait(second, lambda: "another process holds the port" in second.cli("get", "devices", "-o", "json"), "the second gateway's message")
    assert "Traceback" not in second.log()
    lines = first.cli("logs", "counter").splitlines()
    wait(first, lambda: len(first.cli("logs", "counter").splitlines()) > len(lines) + 50, "the first pod to go on")
    assert_counted(first.cli("logs", "counter").splitlines(), first=1)


def test_a_bad_configuration_is_one_line_and_no_traceback(workbench: Workbench, tmp_path: Path) -> None:
    gateway = workbench.gateway({**configuration(), "colour": "red"}, "--standalone", "--manifests", str(tmp_path), wait=False)
    gateway.process.wait_for(lambda: gateway.process.has_ended, "its end")
    assert gateway.log().strip().startswith("wirelet run: colour: unknown key; allowed here: ")
    assert len(gateway.log().strip().splitlines()) == 1
