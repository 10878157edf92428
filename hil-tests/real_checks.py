"""What `make hil-real` finds out of a port, one check after another. What cannot be tried says why, and is no failure."""

from __future__ import annotations

import contextlib
import enum
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from real_port import BITS_PER_BYTE, Port

from transports.errors import LinkBusy, LinkError, TransportError
from transports.latency import timer_of
from transports.line_errors import read_line_errors
from transports.loopback import BAUDS, cause_of, loop, problem_of
from transports.modem_lines import effect_of_opening
from transports.protocol import RemoveWorkload, StartWorkload, StopWorkload

SESSION_S: Final = 8.0
"""A board that was reset by the open boots first; HELLO then comes within a second."""
ASKED: Final = 20
RUN_S: Final = 5.0
PERSON_S: Final = 60.0
"""To find the cable."""
WID: Final = 0xA11CE
SYSFS: Final = Path("/sys")


class Verdict(enum.Enum):
    OK = "ok"
    FAILED = "FAILED"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says; text is for people."""

    verdict: Verdict
    text: str


def found(text: str) -> Finding:
    return Finding(Verdict.OK, text)


def failed(text: str) -> Finding:
    return Finding(Verdict.FAILED, text)


def not_tried(text: str) -> Finding:
    return Finding(Verdict.NOT_TRIED, text)


async def opens(port: Port) -> Finding:
    took_ms = []
    for _ in range(3):
        begun = time.monotonic()
        link = await port.opener().open()
        took_ms.append((time.monotonic() - begun) * 1000)
        await link.aclose()
    return found(f"in {took_ms[0]:.0f} ms, again in {took_ms[1]:.0f} and {took_ms[2]:.0f} ms; {effect_of_opening(port.settings.lines)}")


async def second_opener(port: Port) -> Finding:
    link = await port.opener().open()
    try:
        second = await port.opener().open()
    except LinkBusy as refusal:
        return found(str(refusal))
    else:
        await second.aclose()
        return failed("two programs may open the port at once")
    finally:
        await link.aclose()


async def baud_rates(port: Port) -> Finding:
    refused = []
    for baud in BAUDS:
        try:
            link = await port.opener(baud).open()
        except LinkError as error:
            refused.append(f"{baud} ({error})")
        else:
            await link.aclose()
    taken = len(BAUDS) - len(refused)
    return found(f"{taken} of {len(BAUDS)} from {BAUDS[0]} to {BAUDS[-1]}" + (f"; refuses {', '.join(refused)}" if refused else ""))


async def line_errors(port: Port) -> Finding:
    counted = await port.inspect(read_line_errors)
    return not_tried("the driver does not count") if counted is None else found(f"counted by the driver: {counted}")


async def latency(port: Port) -> Finding:
    def read(descriptor: int) -> str | None:
        with contextlib.suppress(OSError):
            return timer_of(os.fstat(descriptor).st_rdev, SYSFS).read_text().strip()
        return None

    value = await port.inspect(read)
    return not_tried("no latency timer, which only FTDI chips have") if value is None else found(f"latency timer {value} ms")


async def loopback(port: Port) -> Finding:
    if not port.loopback:
        return not_tried("join TX and RX and say LOOPBACK=1")
    link = await port.opener().open()
    try:
        echo = await loop(link, port.baud)
    finally:
        await link.aclose()
    if problem := problem_of(echo):
        return failed(f"{problem}; {cause_of(echo)}")
    return found(f"every byte value, {len(echo.came)} bytes at {port.baud} baud")


async def session(port: Port) -> Finding:
    async with port.supervised() as (device, notes):
        joined_s = await notes.wait(lambda: bool(notes.joined) and notes.programs is not None, SESSION_S)
        if joined_s is None:
            text = f"{notes.text_bytes} bytes of text came" if notes.text_bytes else notes.trouble or "nothing came"
            return not_tried(f"no board that speaks wirelet answered within {SESSION_S:g} s: {text}")
        trips_ms = []
        for _ in range(ASKED):
            begun = time.monotonic()
            await device.request(RemoveWorkload(WID, 1))  # of a workload that is not there: answered, and nothing done
            trips_ms.append((time.monotonic() - begun) * 1000)
        told = f"{joined_s * 1000:.0f} ms after the start, round trip {statistics.median(trips_ms):.1f} ms"
        return found(f"device id {notes.joined[0].device_id.hex()}, {told}, programs: {', '.join(notes.programs or ()) or 'none'}")


async def program(port: Port) -> Finding:
    if port.program is None:
        return not_tried("say RUN=PROGRAM")
    name, *args = port.program.split()
    async with port.supervised() as (device, notes):
        if await notes.wait(lambda: device.is_ready, SESSION_S) is None:
            return failed(f"no session: {notes.trouble or 'nothing came'}")
        await device.request(StartWorkload(WID, 1, name, tuple(args)))
        before, begun = notes.log_bytes, time.monotonic()
        await anyio.sleep(RUN_S)
        rate = (notes.log_bytes - before) / (time.monotonic() - begun)
        await device.request(StopWorkload(WID, 1, 1000))
    return found(f"{name} logged {rate / 1000:.1f} kB/s, {rate / port.baud * BITS_PER_BYTE:.0%} of the line, {notes.gaps} gaps")


async def unplug(port: Port) -> Finding:
    if not port.unplug:
        return not_tried("say UNPLUG=1 and be at the cable")
    async with port.supervised() as (_, notes):
        if await notes.wait(lambda: not notes.trouble, SESSION_S) is None:
            return failed(notes.trouble)
        sessions = len(notes.joined)
        print("    pull the cable now", flush=True)
        if await notes.wait(lambda: bool(notes.trouble), PERSON_S) is None:
            return failed(f"nothing was noticed within {PERSON_S:g} s")
        why = notes.trouble
        print("    plug it in again", flush=True)
        if await notes.wait(lambda: not notes.trouble, PERSON_S) is None:
            return failed(f"{why}; not back within {PERSON_S:g} s: {notes.trouble}")
        if not sessions:
            return found(f"{why}; open again")
        back_s = await notes.wait(lambda: len(notes.joined) > sessions, SESSION_S)
        if back_s is None:
            return failed(f"{why}; open again, but no session within {SESSION_S:g} s")
        return found(f"{why}; session {back_s * 1000:.0f} ms after the port was open again")


CHECKS: Final[dict[str, Callable[[Port], Awaitable[Finding]]]] = {
    "opens": opens,
    "second opener": second_opener,
    "baud rates": baud_rates,
    "line errors": line_errors,
    "latency": latency,
    "loopback": loopback,
    "session": session,
    "program": program,
    "unplug": unplug,
}


async def check_all(port: Port) -> list[tuple[str, Finding]]:
    findings = []
    for name, check in CHECKS.items():
        try:
            finding = await check(port)
        except (TransportError, OSError) as error:
            finding = failed(str(error))
        print(f"{name:<14} {finding.verdict.value:<10} {finding.text}", flush=True)
        findings.append((name, finding))
    return findings
