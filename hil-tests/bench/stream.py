"""Microseconds per 243-byte LOG frame through the gateway's end, on whole 64 KiB chunks: frames and stream, then records apart.

The first figure is what a line costs before anyone looks at its text: framing, session and offset checks, one join per chunk, the store's
answer and the ACK. The limit is 1.0 us. The second adds records, checkpoints and events.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Final

from bench._figures import Figures

from transports.protocol import Lines, Output, RecordKind
from transports.protocols.framed import FramedProtocol
from transports.wire.datagrams import Hello, Ready, encode_dgram
from transports.wire.framing import DATA, DGRAM, encode_frame
from transports.wire.gateway_session import GatewaySession, Joining
from transports.wire.messages import Away, ControlMessage
from transports.wire.records import encode_record

RUNS: Final = 5
MTU: Final = 243
CHUNK_FRAMES: Final = 250
"""64 000 bytes on the wire: one read of 64 KiB, within one window of credit."""
CHUNKS: Final = 40
LIMIT_US: Final = 1.0
HELLO: Final = Hello(1, 1, b"bench", 5, 100, mtu=MTU, max_msg=1024, caps=1, tx_ring=65535)
READY: Final = Ready(105, 0, 0, 0)


class Silent:
    """A listener that lets everything pass."""

    def on_joined(self, joining: Joining, now: float) -> None: ...

    def on_left(self, why: str, now: float) -> None: ...

    def on_message(self, message: ControlMessage, now: float) -> None: ...

    def on_log(self, offset: int, data: bytes) -> None: ...

    def on_gap(self, end: int, records: int | None, reason: int) -> None: ...

    def on_away(self, away: Away | None) -> None: ...

    def on_uptime(self, uptime_ms: int, now: float) -> None: ...

    def on_text(self, data: bytes) -> None: ...

    def on_problem(self, reason: str, message: str) -> None:
        raise AssertionError(f"{reason}: {message}")


def lines() -> bytes:
    """Records of 50 to 80 bytes, as much as all chunks hold."""
    rng = random.Random(1)
    wanted = CHUNKS * CHUNK_FRAMES * MTU
    out = bytearray()
    while len(out) < wanted:
        text = bytes(rng.randrange(32, 127) for _ in range(rng.randint(41, 71)))
        out += encode_record(len(out), 3, RecordKind.STDOUT, text)
    return bytes(out[:wanted])


def chunks_of(stream: bytes, sid: int) -> list[bytes]:
    frames = [encode_frame(DATA, 0, sid, 2, off, stream[off : off + MTU]) for off in range(0, len(stream), MTU)]
    return [b"".join(frames[at : at + CHUNK_FRAMES]) for at in range(0, len(frames), CHUNK_FRAMES)]


def join(core: GatewaySession | FramedProtocol, known_sid: int) -> None:
    core.receive_data(b"\0" + encode_frame(DGRAM, 0, 0, 0, 0, encode_dgram(HELLO)), 0.0)
    core.receive_data(encode_frame(DGRAM, 0, known_sid, 0, 0, encode_dgram(READY)), 0.0)


def session_us(stream: bytes) -> float:
    session = GatewaySession(None, Silent(), gateway_id=1, keepalive_s=1, mtu=MTU, line_bytes_per_s=None, rng=random.Random(1))
    join(session, sid_of(random.Random(1)))
    chunks = chunks_of(stream, session.known.sid)
    start = time.process_time()
    for chunk in chunks:
        session.receive_data(chunk, 1.0)
        session.stored(session.log.expected, 1.0)
        while session.data_to_send(1.0):
            pass
    spent = time.process_time() - start
    assert session.log.stored == len(stream), f"{session.log.stored} of {len(stream)} bytes"
    return spent / (CHUNKS * CHUNK_FRAMES) * 1e6


def protocol_us(stream: bytes) -> float:
    protocol = FramedProtocol(None, gateway_id=1, mtu=MTU, rng=random.Random(1))
    sid = sid_of(random.Random(1))
    join(protocol, sid)
    chunks = chunks_of(stream, sid)
    records = 0
    start = time.process_time()
    for chunk in chunks:
        protocol.receive_data(chunk, 1.0)
        for event in protocol.events():
            if isinstance(event, Output):
                records += sum(item.line_count for item in event.items if isinstance(item, Lines))
                protocol.stored(event.checkpoint, 1.0)
        while protocol.data_to_send(1.0):
            pass
    spent = time.process_time() - start
    assert records > CHUNKS * CHUNK_FRAMES * 3
    return spent / (CHUNKS * CHUNK_FRAMES) * 1e6


def sid_of(rng: random.Random) -> int:
    """The session id that a gateway with this generator offers first."""
    probe = GatewaySession(None, Silent(), gateway_id=1, keepalive_s=1, mtu=MTU, line_bytes_per_s=None, rng=rng)
    probe.receive_data(b"\0" + encode_frame(DGRAM, 0, 0, 0, 0, encode_dgram(HELLO)), 0.0)
    return probe.known.sid


def main() -> int:
    figures = Figures()
    stream = lines()
    frames_and_stream = statistics.median(session_us(stream) for _ in range(RUNS))
    figures.show("frames and stream, per 243-byte LOG frame", round(frames_and_stream, 2), "us", LIMIT_US)
    whole = statistics.median(protocol_us(stream) for _ in range(RUNS))
    figures.show("with records, checkpoints and events", round(whole, 2), "us")
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
