"""All byte values through a port whose TX and RX are joined, at one baud rate after the other, by the gateway's own serial link."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from gateway.errors import GatewayError
from transports.errors import LinkBusy, LinkError, LinkLost, LinkNotFound, LinkPermissionDenied, LinkTimeout
from transports.loopback import BAUDS, cause_of, loop, problem_of
from transports.serial import SerialLinkOpener
from transports.serial_options import PortSettings


class PortUnusable(GatewayError):
    """The port cannot be tried at all; the text says why."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One rate. problem is empty when every byte came back; refusal when the port has no such rate."""

    baud: int
    problem: str = ""
    cause: str = ""
    refusal: str = ""


async def trials(path: str) -> AsyncIterator[Trial]:
    """Raises PortUnusable."""
    for baud in BAUDS:
        try:
            link = await SerialLinkOpener(path, PortSettings(baud=baud)).open()
        except (LinkBusy, LinkNotFound, LinkPermissionDenied, LinkTimeout) as error:
            raise PortUnusable(str(error)) from error
        except LinkError as error:
            yield Trial(baud, refusal=str(error))
            continue
        try:
            echo = await loop(link, baud)
        except LinkLost as error:
            raise PortUnusable(str(error)) from error
        finally:
            await link.aclose()
        problem = problem_of(echo)
        yield Trial(baud, problem, cause_of(echo) if problem else "")
