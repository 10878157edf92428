"""`protocol: console`: text devices without firmware of ours, as a driver."""

from __future__ import annotations

import random
from typing import assert_never

from transports.console_options import ConsoleOptions
from transports.driver import DeviceFacts, SessionFacts
from transports.protocol import Checkpoint, DeviceProtocol
from transports.protocols.console.core import ConsoleProtocol, profile_state
from transports.protocols.console.micropython import MicroPythonProfile
from transports.protocols.console.profile import Profile
from transports.protocols.console.raw import RawProfile
from transports.protocols.console.shell import ShellProfile


class ConsoleDriver:
    """See transports.driver.ProtocolDriver."""

    options = ConsoleOptions
    max_slots = 1

    def protocol(
        self, options: ConsoleOptions, checkpoint: Checkpoint | None, device: DeviceFacts, session: SessionFacts
    ) -> DeviceProtocol:
        profile = make_profile(options, profile_state(checkpoint, options.profile), session.rng)
        return ConsoleProtocol(checkpoint, profile=profile, marks=options.marks, rng=session.rng)


def recording_protocol(checkpoint: Checkpoint | None, rng: random.Random) -> DeviceProtocol:
    """A console that nothing ever runs on: what it says is told, and nothing is understood or sent."""
    return ConsoleProtocol(checkpoint, profile=RawProfile(), marks=ConsoleOptions().marks, rng=rng)


def make_profile(options: ConsoleOptions, state: str, rng: random.Random) -> Profile:
    """state is that of an earlier process. Raises BadOption when the file of a secret has changed for the worse."""
    match options.profile:
        case "raw":
            return RawProfile()
        case "shell":
            steps = [step.step() for step in options.login]
            return ShellProfile(options.prompts, steps, options.start_deadline, rng, state)
        case "micropython":
            return MicroPythonProfile(options.start_deadline, rng, state)
        case _:
            assert_never(options.profile)
