"""The gateway's code against the vectors, and the vectors against the encoder that made them."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from cobs import cobs

from transports.errors import RemoteProtocolError
from transports.protocol import Record, WorkloadStatus
from transports.tests import reference_encoder
from transports.tests.reference_encoder import FAMILIES, VECTORS
from transports.tests.taken_apart import records_in
from transports.tests.talk_rig import TALKING
from transports.tests.wire_peer import GatewayPeer
from transports.tests.wire_rig import CONFIG
from transports.wire import conversation_messages, messages
from transports.wire.datagrams import decode_dgram, encode_dgram
from transports.wire.device_talks import DeviceTalk
from transports.wire.framing import Deframer, encode_frame
from transports.wire.messages import Answer, Notification, Request, decode_control, encode_control
from transports.wire.numbers import Caps, Code, Datagram, Method
from transports.wire.profile import MAX_DEVICE_ITEMS, pack, unpack
from transports.wire.records import encode_gap_record, encode_record, encode_start_record, parse_records
from transports.wire.send_stream import Overflow

Vector = dict[str, Any]
Codec = tuple[Callable[[object], object], Callable[[Any], dict[int, object]]]

# The bytes that the design computed with yet another encoder; they may move between families but never change.
GOLDEN = {
    "HELLO": "02820101010101139302018a0101020103c406240ac4123456040f05cd019c064007ccc0081109cd10070b01f0528c9c00",
    "WELCOME": "0282010101010118930202870101020703ce5eed123404cd019c054006cd100907cd03e8ab825c2d00",
    "READY": "038207010101010a9302038401cd019d020603cd012c0405cde06ecb00",
    "LOG probe at ffffffff": "0c800702ffffffffb77604ac00",
    "PING": "038207010101010d9302058101cd1234b7a44fc600",
    "PONG": "03820701010101119302068201cd123402cd138812683e1900",
    "LIST rid 1 at the begin of CTRL": "04880701010101029408011280d8b9ef6b00",
    "the answer to LIST without workloads": "048807010101010494010108810190acb91f6300",
    "START of 81 bytes, the first 64": (
        "0580070105010102943202108701cea1b2c3d4020103a6626c696e6b790492a62d2d72617465a1350591ad574946495f535349443d6c6162"
        "06c418110102030405060708090a0b0c6a70179100"
    ),
    "START of 81 bytes, the rest": "05880701450101160d0e0f1011121314151617099201cd75306177aa9300",
    "RST unknown session": "038407010101010501515af30100",
    "a LOG record": "048007020101010e93cd03e801c4026869a57eec4d00",
    "ACK 300, credit 4096": "068107022c01010106100be4c45a00",
    "ACK and REJ 300, credit 4096": "068907022c010101061013461ce100",
    "SKIP to 100000, 12 records overwritten": "07830702a08601020c010106015366322400",
    "full last block": "ff80071001010101" + "ff" * 243 + "9f37096c00",
}


def load(family: str) -> list[Vector]:
    return [json.loads(line) for line in (VECTORS / f"{family}.jsonl").read_text(encoding="utf-8").splitlines()]


def vectors(family: str) -> pytest.MarkDecorator:
    found = load(family)
    return pytest.mark.parametrize("vector", found, ids=[vector["name"] for vector in found])


def untagged(value: Any) -> Any:
    match value:
        case {"bin": str(text)}:
            return bytes.fromhex(text)
        case {"map": list(items)}:
            return {key: untagged(item) for key, item in items}
        case list(items):
            return [untagged(item) for item in items]
        case _:
            return value


# -- the files


@pytest.mark.parametrize("family", FAMILIES)
def test_the_committed_files_are_what_the_reference_encoder_makes(family: str) -> None:
    made = reference_encoder.file_text(family)
    assert (VECTORS / f"{family}.jsonl").read_text(encoding="utf-8") == made, "run reference_encoder.py --write and look at the difference"


def test_every_vector_has_a_name_of_its_own_and_there_are_many() -> None:
    assert {path.stem for path in VECTORS.glob("*.jsonl")} == set(FAMILIES)
    count = 0
    for family in FAMILIES:
        names = [vector["name"] for vector in load(family)]
        assert len(set(names)) == len(names)
        count += len(names)
    assert count >= 150


def test_the_reference_encoder_shares_no_code_with_the_gateway() -> None:
    tree = ast.parse(Path(reference_encoder.__file__).read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_design_s_vectors_are_among_them_byte_for_byte() -> None:
    assert {vector["name"]: vector["wire"] for vector in load("frames") if vector["name"] in GOLDEN} == GOLDEN
    received = {vector["wire"]: (vector["text"], vector["rx_bad"], vector["raw_bytes"]) for vector in load("receive")}
    assert received["e29c93206f6b0a00"] == ("✓ ok\n".encode().hex(), 0, 0)
    assert received[(b"\x03\x82\x07panic: stack overflow\n\0").hex()] == (b"panic: stack overflow\n".hex(), 1, 25)


# -- the text


def test_the_specification_and_the_code_name_the_same_numbers() -> None:
    text = (VECTORS.parent / "SPEC.md").read_text(encoding="utf-8")
    spec = " ".join(text.split())
    rows = {name: int(number, 16) for number, name in re.findall(r"^\| ([0-9a-f]{2}) \| ([A-Z]+)", text, re.MULTILINE)}
    later = {name: int(number, 16) for name, number in re.findall(r"\b([A-Z_]{4,})\*{0,2}\s\(([0-9A-F]{2})\b", spec)}
    assert rows | later == {member.name: member.value for member in (*Datagram, *Method)}
    listed = spec[spec.index("Codes:") : spec.index("An answer other")]
    codes = {name: int(number) for number, name in re.findall(r"\b(\d+) ([A-Z_]{2,})\b", listed)}
    assert codes == {code.name: code.value for code in Code}


def test_the_core_of_the_specification_fits_eight_pages() -> None:
    core = (VECTORS.parent / "SPEC.md").read_text(encoding="utf-8").split("## 9.")[0]
    assert len(core.split()) < 4600


# -- the line


@vectors("cobs")
def test_cobs(vector: Vector) -> None:
    encoded = bytes.fromhex(vector["encoded"])
    if "error" in vector:
        with pytest.raises(cobs.DecodeError):
            cobs.decode(encoded)
        return
    assert cobs.decode(encoded).hex() == vector["data"]
    if "decode_only" not in vector:
        assert cobs.encode(bytes.fromhex(vector["data"])) == encoded


@vectors("crc")
def test_crc(vector: Vector) -> None:
    data = bytes.fromhex(vector["data"])
    assert f"{crc32(data):08x}" == vector["crc"]
    assert crc32(data + crc32(data).to_bytes(4, "little")) == 0x2144DF1C


@vectors("frames")
def test_frames(vector: Vector) -> None:
    fields, wire = vector["frame"], bytes.fromhex(vector["wire"])
    frame = (fields["type"], fields["flag"], fields["sid"], fields["ch"], fields["off"], bytes.fromhex(fields["payload"]))
    assert encode_frame(*frame) == wire
    for cut in {1, 2, len(wire) // 2, len(wire) - 1}:
        deframer = Deframer(4096)
        assert deframer.feed(wire[:cut], 0.0) + deframer.feed(wire[cut:], 0.0) == [frame]


@pytest.mark.parametrize("cut", [0, 1, 7], ids=["whole", "bytes", "sevens"])
@vectors("receive")
def test_receive(vector: Vector, cut: int) -> None:
    wire, deframer = bytes.fromhex(vector["wire"]), Deframer(vector["mtu"])
    step = cut or max(1, len(wire))
    found = [item for at in range(0, len(wire), step) for item in deframer.feed(wire[at : at + step], 0.0)]
    frames = [item for item in found if not isinstance(item, bytes)]
    assert b"".join(item for item in found if isinstance(item, bytes)).hex() == vector["text"]
    assert frames == [(f["type"], f["flag"], f["sid"], f["ch"], f["off"], bytes.fromhex(f["payload"])) for f in vector["frames"]]
    counted = {"rx_bad": deframer.rx_bad, "raw_bytes": len(deframer.raw), "rx_unknown": deframer.rx_unknown}
    assert counted == {name: vector[name] for name in counted}


# -- messages


@vectors("msgpack")
def test_msgpack(vector: Vector) -> None:
    data = bytes.fromhex(vector["bytes"])
    if "error" in vector:
        with pytest.raises(RemoteProtocolError):
            unpack(data)
        return
    value = untagged(vector["value"])
    assert unpack(data) == value
    if "decode_only" not in vector:
        assert pack(value) == data
    if "device_error" in vector:
        with pytest.raises(RemoteProtocolError):
            unpack(data, max_items=MAX_DEVICE_ITEMS)


@vectors("datagrams")
def test_datagrams(vector: Vector) -> None:
    data = bytes.fromhex(vector["bytes"])
    if "error" in vector:
        with pytest.raises(RemoteProtocolError):
            decode_dgram(data)
        return
    assert unpack(data) == untagged(vector["value"])
    message = decode_dgram(data)
    if vector["message"] is None:
        assert message is None
        return
    assert type(message).__name__.upper() == vector["message"]
    assert message is not None
    if "extended" not in vector:
        assert encode_dgram(message) == data


BODIES: dict[str, Codec] = {
    "START": (messages.Start.from_map, messages.Start.to_map),
    "STOP": (messages.Stop.from_map, messages.Stop.to_map),
    "LIST": (messages.ListRequest.from_map, messages.ListRequest.to_map),
    "REMOVE": (messages.Remove.from_map, messages.Remove.to_map),
    "REBOOT": (messages.RebootRequest.from_map, messages.RebootRequest.to_map),
    "INVENTORY": (messages.InventoryRequest.from_map, messages.InventoryRequest.to_map),
    "LIST answer": (messages.ListAnswer.from_map, messages.ListAnswer.to_map),
    "INVENTORY answer": (messages.InventoryAnswer.from_map, messages.InventoryAnswer.to_map),
    "STATS answer": (messages.StatsAnswer.from_map, messages.StatsAnswer.to_map),
    "status": (messages.status_from_map, messages.status_to_map),
    "CONDITION": (messages.Condition.from_map, messages.Condition.to_map),
    "ERROR": (messages.ErrorNote.from_map, messages.ErrorNote.to_map),
    "AWAY": (messages.Away.from_map, messages.Away.to_map),
    "EXEC": (conversation_messages.Exec.from_map, conversation_messages.Exec.to_map),
    "EXEC answer": (conversation_messages.CreditAnswer.from_map, conversation_messages.CreditAnswer.to_map),
    "ATTACH": (conversation_messages.Attach.from_map, conversation_messages.Attach.to_map),
    "WINCH": (conversation_messages.Winch.from_map, conversation_messages.Winch.to_map),
    "CLOSE": (conversation_messages.Close.from_map, conversation_messages.Close.to_map),
}


@vectors("control")
def test_control(vector: Vector) -> None:
    data = bytes.fromhex(vector["bytes"])
    codec = BODIES.get(vector.get("body", ""))
    if "error" in vector:
        with pytest.raises(RemoteProtocolError):
            codec[0](unpack(data)) if codec else decode_control(data)
        return
    assert unpack(data) == untagged(vector["value"])
    message = decode_control(data)
    assert isinstance(message, {"request": Request, "answer": Answer, "notification": Notification}[vector["shape"]])
    assert encode_control(message) == data
    if codec:
        read, write = codec
        assert write(read(message.body)) == message.body


def test_a_status_record_keeps_full_offsets() -> None:
    [vector] = [vector for vector in load("control") if "beyond 32 bits" in vector["name"]]
    status = messages.status_from_map(decode_control(bytes.fromhex(vector["bytes"])).body)
    assert isinstance(status, WorkloadStatus)
    assert (status.start_off, status.end_off) == (2**40, 2**40 + 9)


@vectors("records")
def test_records(vector: Vector) -> None:
    data, offset = bytes.fromhex(vector["bytes"]), vector["offset"]
    if "error" in vector:
        with pytest.raises(RemoteProtocolError):
            parse_records(b"", data, offset)
        return
    for cut in {0, 1, len(data) // 2, len(data)}:
        first, tail = parse_records(b"", data[:cut], offset)
        rest_offset = offset + cut - len(tail)
        second, rest = parse_records(tail, data[cut:], rest_offset)
        records = records_in(first + second)
        assert [_shown(record) for record in records] == vector["records"]
        assert rest.hex() == vector["rest"]
    if len(vector["records"]) and b"".join(map(_encoded, records)) + rest != data:
        assert "ignored" in vector["name"]


@vectors("talks")
def test_talks(vector: Vector) -> None:
    """A device says exactly this, in this order: how long it may wait before is not told."""
    config = replace(TALKING, talk_bytes=64, max_msg=192, mtu=64)
    peer = GatewayPeer(config)
    peer.join()
    expected: list[str] = []
    for step in [*vector["steps"], {"from": "nobody"}]:
        if step["from"] == "device":
            expected.append(step["wire"])
            continue
        peer.wait(0.01 if expected else 0.0)  # longer than an acknowledgement waits, shorter than a time-out
        assert [encode_frame(*frame).hex() for frame in peer.take()] == expected, step
        expected = []
        if step["from"] == "gateway":
            peer.core.receive_data(b"\0" + bytes.fromhex(step["wire"]), peer.now)
        elif step["from"] == "command":
            _command_does(peer.firmware.talks[-1], step)


@vectors("sessions")
def test_sessions(vector: Vector) -> None:
    """A device says exactly this, in this order."""
    device = vector["device"]
    overflow = Overflow.OVERWRITE if device["caps"] & Caps.OVERFLOW_DROP_OLD else Overflow.REFUSE
    config = replace(CONFIG, mtu=64, max_msg=192, caps=device["caps"], ring_bytes=device["ring"], reserve_bytes=0, overflow=overflow)
    peer = GatewayPeer(config)
    expected: list[str] = []
    for step in [*vector["steps"], {"from": "nobody"}]:
        if step["from"] == "device":
            expected.append(step["wire"])
            continue
        assert [encode_frame(*frame).hex() for frame in peer.take()] == expected, step
        expected = []
        if step["from"] == "gateway":
            peer.core.receive_data(b"\0" + bytes.fromhex(step["wire"]), peer.now)
        elif step["from"] == "time":
            peer.wait(step["ms"] / 1000)
        elif step["from"] == "workload":
            records = bytes.fromhex(step["records"])
            assert all(peer.firmware.session.write_log(records[at : at + 16]) for at in range(0, len(records), 16))


def _command_does(talk: DeviceTalk, step: Vector) -> None:
    if "read" in step:
        wanted = bytes.fromhex(step["read"])
        assert talk.read(len(wanted)) == wanted
    elif "exit" in step:
        talk.end(step["exit"])
    else:
        is_error = "stderr" in step
        data = bytes.fromhex(step["stderr" if is_error else "stdout"])
        assert talk.write(data, is_error=is_error) == len(data)


def _shown(record: Record) -> Vector:
    shown: Vector = {"offset": record.offset, "end": record.end, "t": record.uptime_ms, "slot": record.slot, "kind": int(record.kind)}
    if record.start is not None:
        return shown | {"start": list(record.start)}
    if record.lost is not None:
        return shown | {"lost": list(record.lost)}
    return shown | {"data": record.data.hex()}


def _encoded(record: Record) -> bytes:
    if record.start is not None:
        return encode_start_record(record.uptime_ms, record.slot, *record.start)
    if record.lost is not None:
        return encode_gap_record(record.uptime_ms, record.slot, *record.lost)
    return encode_record(record.uptime_ms, record.slot, record.kind, record.data)
