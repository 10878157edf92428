"""Peers played by hand: a test says each frame itself, and so can say what no correct core would."""

from __future__ import annotations

import struct
from typing import Protocol

from transports.tests.wire_rig import CONFIG, Firmware, Gateway
from transports.wire.datagrams import DatagramMessage, Hello, Ready, Welcome, decode_dgram, encode_dgram
from transports.wire.device_session import DeviceConfig
from transports.wire.framing import ACK, DATA, DGRAM, RST, SKIP, Deframer, Frame, encode_frame
from transports.wire.messages import ControlMessage, encode_control
from transports.wire.numbers import CH_CTRL, CH_LINK, CH_LOG

T0 = 50.0


class Core(Protocol):
    """What both cores have in common."""

    def receive_data(self, data: bytes, now: float) -> object: ...

    def data_to_send(self, now: float) -> bytes: ...

    def next_deadline(self) -> float | None: ...

    def handle_deadline(self, now: float) -> object: ...


class Peer:
    """Sends frames to a core and keeps those that come back, until they are taken."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.now = T0
        self.raw = b""
        self._spy = Deframer(4096)
        self._heard: list[Frame] = []

    def say(self, type_: int, sid: int, ch: int = CH_LINK, off: int = 0, payload: bytes = b"", flag: int = 0) -> None:
        self.core.receive_data(b"\0" + encode_frame(type_, flag, sid, ch, off, payload), self.now)
        self.listen()

    def say_dgram(self, sid: int, message: DatagramMessage) -> None:
        self.say(DGRAM, sid, payload=encode_dgram(message))

    def say_ack(self, sid: int, ch: int, off: int, credit: int = 60000, *, rejects: bool = False) -> None:
        self.say(ACK, sid, ch, off, credit.to_bytes(2, "little"), flag=int(rejects))

    def listen(self) -> None:
        while data := self.core.data_to_send(self.now):
            self.raw += data
            self._heard += [item for item in self._spy.feed(data, self.now) if isinstance(item, tuple)]

    def wait(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        self.listen()
        end = self.now + seconds
        while (deadline := self.core.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.core.handle_deadline(self.now)
            self.listen()
        self.now = end
        self.listen()

    def take(self) -> list[Frame]:
        self.listen()
        heard, self._heard = self._heard, []
        return heard

    def take_dgrams(self) -> list[DatagramMessage]:
        messages = (decode_dgram(frame[5]) for frame in self.take() if frame[0] == DGRAM)
        return [message for message in messages if message is not None]

    def take_of(self, type_: int, ch: int = CH_LINK) -> list[Frame]:
        return [frame for frame in self.take() if frame[0] == type_ and frame[3] == ch]

    def take_resets(self) -> list[tuple[int, int]]:
        """(sid, code) of each RST."""
        return [(frame[2], frame[5][0]) for frame in self.take_of(RST)]


def hello(**changes: object) -> Hello:
    values: dict[str, object] = {
        "proto_max": 1,
        "level": 1,
        "device_id": b"\1\2\3\4",
        "boot_id": 0,
        "uptime_ms": 400,
        "mtu": 64,
        "max_msg": 192,
        "caps": 1,
        "tx_ring": 4096,
    }
    return Hello(**(values | changes))  # type: ignore[arg-type]  # a test names its fields


class DevicePeer(Peer):
    """A device played by hand against a FramedProtocol."""

    def __init__(self, gateway: Gateway | None = None) -> None:
        self.gateway = gateway or Gateway()
        self.gateway.core.link_up(T0)
        super().__init__(self.gateway.core)
        self.control_off = 0
        self.sid = 0
        self.boot_id = 0

    def listen(self) -> None:
        self.gateway.take_events(self.now)
        super().listen()

    def welcome(self, message: Hello) -> Welcome:
        """Say HELLO and return the WELCOME that comes."""
        self.take()
        self.say_dgram(0, message)
        welcomes = [m for m in self.take_dgrams() if isinstance(m, Welcome)]
        assert len(welcomes) == 1
        return welcomes[0]

    def join(self, message: Hello | None = None, *, base: int = 0, end: int = 0, boot_off: int = 0, late_ms: int = 5) -> Welcome:
        """The whole handshake."""
        message = message or hello()
        welcome = self.welcome(message)
        self.sid, self.boot_id, self.control_off = welcome.sid, welcome.boot_id, 0
        self.ready(welcome, base, end, boot_off, late_ms)
        return welcome

    def ready(self, welcome: Welcome, base: int = 0, end: int = 0, boot_off: int = 0, late_ms: int = 5) -> None:
        self.say_dgram(welcome.sid, Ready(welcome.echo_ms + late_ms, base, end, boot_off))

    def control(self, message: ControlMessage) -> None:
        data = encode_control(message)
        self.say(DATA, self.sid, CH_CTRL, self.control_off, data, flag=1)
        self.control_off += len(data)

    def log(self, off: int, data: bytes) -> None:
        self.say(DATA, self.sid, CH_LOG, off, data)

    def skip(self, off: int, records: int, reason: int = 1) -> None:
        self.say(SKIP, self.sid, CH_LOG, off, struct.pack("<IB", records, reason))


class GatewayPeer(Peer):
    """A gateway played by hand against a DeviceSession."""

    def __init__(self, config: DeviceConfig = CONFIG, *, firmware: Firmware | None = None, uptime_ms: int = 400) -> None:
        self.firmware = firmware or Firmware(config, T0, uptime_ms=uptime_ms)
        super().__init__(self.firmware.session)

    def hellos(self) -> list[Hello]:
        return [message for message in self.take_dgrams() if isinstance(message, Hello)]

    def welcome(self, echo_ms: int, **changes: object) -> Welcome:
        values: dict[str, object] = {
            "version": 1,
            "sid": 7,
            "boot_id": 0x5EED,
            "echo_ms": echo_ms,
            "mtu": 64,
            "credit": 4096,
            "ka_ms": 1000,
        }
        return Welcome(**(values | changes))  # type: ignore[arg-type]  # a test names its fields

    def join(self, **changes: object) -> Ready:
        """Answer the newest HELLO; returns READY."""
        echo_ms = self.hellos()[-1].uptime_ms
        self.say_dgram(0, self.welcome(echo_ms, **changes))
        ready = self.take_dgrams()[0]
        assert isinstance(ready, Ready)
        return ready
