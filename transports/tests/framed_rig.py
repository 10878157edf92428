"""What the tests of FramedProtocol share: both cores over a cable, and a device that is played by hand."""

from __future__ import annotations

from dataclasses import replace

from transports.protocol import Inventoried, Listed, WorkloadState, WorkloadStatus
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import Rig
from transports.wire.framing import DATA
from transports.wire.messages import Answer, InventoryAnswer, ListAnswer, Request, decode_control
from transports.wire.numbers import CH_CTRL, Method

RUNNING = WorkloadStatus(0xA1B2, 1, 0, WorkloadState.RUNNING, 10)
EXITED = replace(RUNNING, state=WorkloadState.EXITED, end_off=90, exit_code=3)


def listed(rig: Rig) -> int:
    return len(rig.gateway.of(Listed))


def ready_rig(**options: object) -> Rig:
    rig = Rig(**options)  # type: ignore[arg-type]  # options of a test
    rig.until(lambda: bool(rig.gateway.of(Inventoried)))
    return rig


def lines(rig: Rig, count: int, prefix: str = "line") -> list[bytes]:
    """Log that many lines, as fast as the ring takes them."""
    said = [f"{prefix} {i}".encode() for i in range(count)]
    for line in said:
        while not rig.firmware.log(line, rig.now):
            rig.run(0.01)
    return said


def control_sent(device: DevicePeer) -> list[tuple[int, Method]]:
    """(rid, method) of every request that arrived since the last look; acknowledges them."""
    data = b""
    sent = []
    while frames := device.take_of(DATA, CH_CTRL):
        for frame in frames:
            data += frame[5]
            if frame[1]:
                message = decode_control(data)
                assert isinstance(message, Request)
                sent.append((message.rid, Method(message.method)))
                data = b""
        device.say_ack(device.sid, CH_CTRL, frames[-1][4] + len(frames[-1][5]))
    return sent


def listed_device(workloads: tuple[WorkloadStatus, ...] = ()) -> DevicePeer:
    device = DevicePeer()
    device.join(hello(max_msg=1024))
    control_sent(device)
    device.control(Answer(1, 0, ListAnswer(workloads).to_map()))
    control_sent(device)
    device.control(Answer(2, 0, InventoryAnswer().to_map()))
    return device
