"""Messages have exactly the bytes of the specification, and come back as the values they were."""

from __future__ import annotations

import pytest

from transports.errors import LocalProtocolError, RemoteProtocolError
from transports.protocol import DeviceStats, ExitReason, Inventory, ProgramInfo, WorkloadState, WorkloadStatus
from transports.wire.datagrams import DatagramMessage, Hello, Ping, Pong, Ready, Solicit, Welcome, decode_dgram, encode_dgram
from transports.wire.framing import DATA, DGRAM, Deframer, encode_frame
from transports.wire.messages import (
    Answer,
    Away,
    Condition,
    ErrorNote,
    InventoryAnswer,
    InventoryRequest,
    ListAnswer,
    ListRequest,
    Notification,
    RebootRequest,
    Remove,
    Request,
    Start,
    StatsAnswer,
    Stop,
    decode_control,
    encode_control,
    refusal,
    status_from_map,
    status_to_map,
)
from transports.wire.numbers import CH_CTRL, MAX_DATAGRAM_BYTES, Code, Method, ResetCause
from transports.wire.profile import pack, unpack

DATAGRAMS: list[tuple[int, DatagramMessage, str]] = [
    (
        0,
        Hello(1, 1, bytes.fromhex("240ac4123456"), 0, 412, 64, 192, 0x11, 4096, None, ResetCause.POWER),
        "02820101010101139302018a0101020103c406240ac4123456040f05cd019c064007ccc0081109cd10070b01f0528c9c00",
    ),
    (
        0,
        Welcome(1, 7, 0x5EED1234, 412, 64, 4096, 1000),
        "0282010101010118930202870101020703ce5eed123404cd019c054006cd100907cd03e8ab825c2d00",
    ),
    (7, Ready(413, 0, 300, 0), "038207010101010a9302038401cd019d020603cd012c0405cde06ecb00"),
    (7, Ping(0x1234), "038207010101010d9302058101cd1234b7a44fc600"),
    (7, Pong(0x1234, 5000), "03820701010101119302068201cd123402cd138812683e1900"),
]


@pytest.mark.parametrize(("sid", "message", "wire"), DATAGRAMS, ids=[type(row[1]).__name__ for row in DATAGRAMS])
def test_datagram_vectors(sid: int, message: DatagramMessage, wire: str) -> None:
    assert encode_frame(DGRAM, 0, sid, 0, 0, encode_dgram(message)).hex() == wire
    (frame,) = Deframer(64).feed(bytes.fromhex(wire), 0.0)
    assert isinstance(frame, tuple)
    assert decode_dgram(frame[5]) == message


def test_list_and_its_answer() -> None:
    ask, answer = Request(1, Method.LIST, ListRequest().to_map()), Answer(1, Code.OK, ListAnswer().to_map())
    assert encode_frame(DATA, 1, 7, CH_CTRL, 0, encode_control(ask)).hex() == "04880701010101029408011280d8b9ef6b00"
    assert encode_frame(DATA, 1, 7, CH_CTRL, 0, encode_control(answer)).hex() == "048807010101010494010108810190acb91f6300"


def test_start_in_two_frames_of_64_bytes() -> None:
    start = Start(0xA1B2C3D4, 1, "blinky", ("--rate", "5"), ("WIFI_SSID=lab",), bytes(range(24)), on_link_loss=(1, 30000))
    message = encode_control(Request(2, Method.START, start.to_map()))
    assert len(message) == 81
    assert encode_frame(DATA, 0, 7, CH_CTRL, 5, message[:64]).hex() == (
        "0580070105010102943202108701cea1b2c3d4020103a6626c696e6b790492a62d2d72617465a1350591ad574946495f535349443d6c616206c4181101020304"
        "05060708090a0b0c6a70179100"
    )
    assert encode_frame(DATA, 1, 7, CH_CTRL, 69, message[64:]).hex() == "05880701450101160d0e0f1011121314151617099201cd75306177aa9300"
    request = decode_control(message)
    assert isinstance(request, Request)
    assert Start.from_map(request.body) == start


STATUS = WorkloadStatus(
    wid=0xA1B2C3D4,
    gen=3,
    slot=30,
    state=WorkloadState.EXITED,
    start_off=2**40,
    end_off=2**40 + 999,
    exit_code=-1,
    signal=9,
    reason=ExitReason.PANIC,
    start_uptime_ms=1,
    end_uptime_ms=0xFFFFFFFF,
    tag=bytes(24),
    ready=False,
)

BODIES = [
    Start(1, 2, "p"),
    Start(1, 2, "p", ("",), ("A=",), b"t", "/", 3, (2, 0), {1: 4096}),
    Stop(1, 2, 30000, 9),
    Remove(1, 2),
    ListRequest(),
    ListRequest(5, 6),
    InventoryRequest(),
    InventoryRequest(7),
    RebootRequest(2, 100),
    Away(1, 60000, 4),
    Condition("Overheated", True, "81 °C"),
    ErrorNote(10, "no", 3),
    ErrorNote(10),
    ListAnswer((STATUS, WorkloadStatus(1, 1, 0, WorkloadState.RUNNING)), 2),
    InventoryAnswer(Inventory((ProgramInfo("hello", "1.0"), ProgramInfo("cat")), 4, "sim"), 2, 65536, "1.2"),
    StatsAnswer(),
    StatsAnswer(DeviceStats(125, 40_000, 262_144, 812, -10_500, (("wifi.rssi", -61), ("boots", 2))), 2),
    Solicit(),
    Hello(9, 2, bytes(12), 1, 2, 4096, 65535, 0x3FF, 65535, 7, 6),
    Welcome(1, 255, 1, 2, 3000, 65535, 0, 2**63, 9, 8),
    Ping(1, 2**41),
    Pong(0, 1, 2, 3, 2**40),
]


@pytest.mark.parametrize("message", BODIES, ids=lambda message: type(message).__name__)
def test_every_message_survives_the_wire_with_ascending_keys(message: object) -> None:
    data = pack(message.to_map())  # type: ignore[attr-defined]  # every message of the table has it
    assert type(message).from_map(unpack(data)) == message  # type: ignore[attr-defined]  # and this


def test_a_status_record_survives_and_later_values_are_read_kindly() -> None:
    assert status_from_map(status_to_map(STATUS)) == STATUS
    later = status_to_map(STATUS) | {9: 99, 40: "later"}
    assert status_from_map(later).reason is ExitReason.ERROR
    with pytest.raises(RemoteProtocolError, match="status"):
        status_from_map(status_to_map(STATUS) | {4: 9})


def test_worst_datagrams_fit_64_bytes() -> None:
    assert len(encode_dgram(Hello(1, 2, bytes(12), 2**32 - 1, 2**32 - 1, 4096, 65535, 2**10, 65535, 2**32 - 1, 7))) <= 61
    assert (
        len(encode_dgram(Welcome(1, 255, 2**32 - 1, 2**32 - 1, 4096, 65535, 65535, 2**64 - 1, 2**32 - 1, 2**32 - 1))) <= MAX_DATAGRAM_BYTES
    )
    assert len(encode_dgram(Ready(2**32 - 1, 2**63, 2**64 - 1, 2**63))) <= 40


REFUSED_DATAGRAMS = [
    ("not a datagram", pack([1, 1, {}])),
    ("no map", pack([2, 1, []])),
    ("hello without an id", pack([2, 1, {1: 1, 2: 1, 4: 0, 5: 0}])),
    ("hello with an id of 3 bytes", pack([2, 1, {1: 1, 2: 1, 3: b"abc", 4: 0, 5: 0}])),
    ("hello with mtu 8", pack([2, 1, {1: 1, 2: 1, 3: b"abcd", 4: 0, 5: 0, 6: 8}])),
    ("welcome with session 0", pack([2, 2, {1: 1, 2: 0, 3: 1, 4: 0, 5: 64, 6: 0, 7: 0}])),
    ("ready with base past next", pack([2, 3, {1: 1, 2: 2, 3: 1, 4: 0}])),
    ("ping without a nonce", pack([2, 5, {}])),
]


@pytest.mark.parametrize(("name", "data"), REFUSED_DATAGRAMS, ids=[row[0] for row in REFUSED_DATAGRAMS])
def test_wrong_datagrams_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_dgram(data)


def test_an_unknown_datagram_is_none() -> None:
    assert decode_dgram(pack([2, 99, {1: 1}])) is None


def test_a_datagram_that_does_not_fit_is_our_fault() -> None:
    with pytest.raises(LocalProtocolError, match="exceeds 64"):
        encode_dgram(Hello(1, 1, bytes(60), 0, 0))


@pytest.mark.parametrize("data", [[0, 1, 2], [3, 1, 2, {}], [0, -1, 2, {}], [0, 1, 2, []], [2, True, {}], {}, 5], ids=str)
def test_what_is_no_control_message_is_refused(data: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_control(pack(data))


def test_an_answer_says_why_it_is_no() -> None:
    answer = decode_control(encode_control(Answer(4, Code.TOO_BIG, refusal("17 bytes of env", (100, 64)))))
    assert answer == Answer(4, Code.TOO_BIG, {30: "17 bytes of env", 31: [100, 64]})
    assert isinstance(answer, Answer)
    assert answer.text == "17 bytes of env"
    assert decode_control(encode_control(Notification(Method.AWAY, Away(1, 2).to_map()))) == Notification(0x54, {1: 1, 2: 2})


@pytest.mark.parametrize("body", [{1: -1}, {3: 1 << 32}, {6: "hot"}, {7: [["a"]]}, {7: [["a", True]]}, {7: [["a" * 256, 1]]}, {7: 1}])
def test_stats_that_are_none_are_refused(body: dict[int, object]) -> None:
    with pytest.raises(RemoteProtocolError, match="STATS answer"):
        StatsAnswer.from_map(body)


def test_a_limit_that_must_be_understood_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="START limits: key -1 must be understood"):
        Start.from_map({1: 1, 2: 1, 3: "a", 10: {-1: 0}})
