"""The agent's file against the vectors: it shares no code with the gateway, so both can only agree by agreeing with the specification."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from transports.agent import wirelet_agent as agent
from transports.tests.test_vectors import Vector, untagged, vectors


def test_the_agent_is_one_file_of_the_standard_library() -> None:
    tree = ast.parse(Path(agent.__file__).read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@vectors("cobs")
def test_cobs(vector: Vector) -> None:
    encoded = bytes.fromhex(vector["encoded"])
    if "error" in vector:
        with pytest.raises(agent.Malformed):
            agent.unstuff(encoded)
        return
    assert agent.unstuff(encoded).hex() == vector["data"]
    if "decode_only" not in vector:
        assert agent.stuff(bytes.fromhex(vector["data"])) == encoded


@vectors("frames")
def test_frames(vector: Vector) -> None:
    fields, wire = vector["frame"], bytes.fromhex(vector["wire"])
    frame = (fields["type"], fields["flag"], fields["sid"], fields["ch"], fields["off"], bytes.fromhex(fields["payload"]))
    assert agent.encode_frame(*frame) == wire
    for cut in {1, 2, len(wire) // 2, len(wire) - 1}:
        deframer = agent.Deframer(4096)
        assert deframer.feed(wire[:cut]) + deframer.feed(wire[cut:]) == [frame]


@pytest.mark.parametrize("cut", [0, 1, 7], ids=["whole", "bytes", "sevens"])
@vectors("receive")
def test_frames_beside_text_and_noise(vector: Vector, cut: int) -> None:
    wire, deframer = bytes.fromhex(vector["wire"]), agent.Deframer(vector["mtu"])
    step = cut or max(1, len(wire))
    found = [frame for at in range(0, len(wire), step) for frame in deframer.feed(wire[at : at + step])]
    assert found == [(f["type"], f["flag"], f["sid"], f["ch"], f["off"], bytes.fromhex(f["payload"])) for f in vector["frames"]]


@vectors("msgpack")
def test_msgpack(vector: Vector) -> None:
    data = bytes.fromhex(vector["bytes"])
    if "error" in vector or "device_error" in vector:
        with pytest.raises(agent.Malformed):
            agent.unpack(data)
        return
    value = untagged(vector["value"])
    assert agent.unpack(data) == value
    if "decode_only" not in vector:
        assert agent.pack(value) == data


@vectors("datagrams")
def test_datagrams(vector: Vector) -> None:
    data = bytes.fromhex(vector["bytes"])
    if "error" not in vector:
        assert agent.pack(untagged(vector["value"])) == data
        number, body = agent.read_datagram(data)
        assert [2, number, body] == untagged(vector["value"])
    elif vector["name"].split()[0] not in ("HELLO", "READY"):  # a device never hears these
        with pytest.raises(agent.Malformed):
            _hear(data)


def _hear(data: bytes) -> None:
    """As the session does."""
    number, body = agent.read_datagram(data)
    if number == agent.WELCOME:
        agent.Welcome.read(body)
    elif number == agent.PING:
        agent.Fields(body).uint(1)


READERS: dict[str, Any] = {
    "START": agent.Start.read,
    "STOP": agent.Stop.read,
    "LIST": agent.Fields,
    "REMOVE": lambda body: agent.Fields(body).uint(1),
}
"""Bodies of requests, for a device."""


@vectors("control")
def test_control(vector: Vector) -> None:
    data, body = bytes.fromhex(vector["bytes"]), vector.get("body", "")
    if "error" in vector:
        if vector.get("shape", "request") == "request" and (body in READERS or not body):
            with pytest.raises(agent.Malformed):
                READERS[body](agent.unpack(data)) if body else agent.read_request(data)
        return
    value = untagged(vector["value"])
    assert agent.pack(value) == data
    if vector["shape"] != "request":
        assert agent.read_request(data) is None
        return
    assert agent.read_request(data) == (value[1], value[2], value[3])
    if body in READERS:
        READERS[body](value[3])


def test_a_start_is_read_whole() -> None:
    body = {1: 7, 2: 1, 3: "host", 4: ["sh", "-c", "x"], 5: ["A=1", "B=a=b"], 6: b"tag", 7: "/tmp", 8: 2, 9: [1, 500]}
    start = agent.Start.read(body)
    assert (start.wid, start.gen, start.program, start.args, start.env) == (7, 1, "host", ["sh", "-c", "x"], ["A=1", "B=a=b"])
    assert (start.tag, start.directory, start.flags, start.link_loss_ms, start.has_limits) == (b"tag", "/tmp", 2, 500, False)


@pytest.mark.parametrize(
    "change",
    [
        {3: "a\0b"},
        {4: ["a\0"]},
        {5: ["no name"]},
        {5: ["=x"]},
        {9: [1]},
        {9: ["a", 1]},
        {9: [1, 2**32]},
        {-1: 0},
        {4: [1]},
        {7: 5},
        {1: -1},
    ],
)
def test_what_cannot_be_started_is_refused(change: dict[int, object]) -> None:
    with pytest.raises(agent.Malformed):
        agent.Start.read(dict(sorted({1: 7, 2: 1, 3: "p", **change}.items())))


def test_a_stop_has_a_signal_of_this_machine() -> None:
    assert agent.Stop.read({1: 7, 2: 1}).signal == 15
    assert agent.Stop.read({1: 7, 2: 1, 4: 64}).signal == 64
    for number in (0, 65, 255):
        with pytest.raises(agent.Malformed, match=f"{number} is no signal"):
            agent.Stop.read({1: 7, 2: 1, 4: number})


def test_a_name_of_any_bytes_can_be_told() -> None:
    assert agent.unpack(agent.pack("rack-\udcff")) == "rack-?"


@vectors("records")
def test_records(vector: Vector) -> None:
    """Those that an agent writes: whole lines and pieces, and the begin of a run."""
    if "error" in vector:
        return
    data = bytes.fromhex(vector["bytes"])
    for record in vector["records"]:
        wire = data[record["offset"] - vector["offset"] : record["end"] - vector["offset"]]
        made = _encode(record)
        if made is not None and "ignored" not in vector["name"]:
            assert made == wire


def _encode(record: Vector) -> bytes | None:
    if "start" in record:
        return agent.start_record(record["t"], record["slot"], *record["start"])
    if record["kind"] in (agent.STDOUT, agent.STDERR) and len(record["data"]) // 2 <= agent.MAX_LINE_BYTES:
        (made,) = agent.line_records(record["t"], record["slot"], record["kind"], [bytes.fromhex(record["data"])])
        return made
    return None


def test_a_long_line_comes_in_pieces_of_a_record_each() -> None:
    line = bytes(range(1, 251)) * 10
    records = agent.line_records(2**32 - 1, 30, agent.STDERR, [line, b""])
    assert all(len(record) <= 1024 for record in records)
    read = [agent.unpack(record) for record in records]
    assert [each[1] & 7 for each in read if isinstance(each, list)] == [4, 4, 2, 2]
    assert b"".join(each[2] for each in read if isinstance(each, list)) == line


def test_a_line_whose_end_has_not_come_is_told_in_pieces_and_goes_on(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_bytes(b"x" * 2500 + b"y\nnext")
    with said.open("rb") as file:
        pipe = agent.Pipe(cast("agent.Run", None), agent.STDOUT, file.fileno())
        assert pipe.read(2500) == []
        assert pipe.overlong() == [b"x" * agent.MAX_LINE_BYTES] * 2
        assert pipe.read(100) == [b"x" * (2500 - 2 * agent.MAX_LINE_BYTES) + b"y"]
        assert (pipe.overlong(), pipe.rest()) == ([], [b"next"])
