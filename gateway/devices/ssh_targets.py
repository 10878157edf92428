"""What the machines with sshd behind the devices say of that sshd, asked by a login for each device, as the gateway does it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import anyio

from gateway.config import Configuration
from gateway.devices.ssh_target import Target
from transports.errors import LinkError, LinkLost
from transports.link import LinkOpener
from transports.ssh_options import SshOptions, hops

ANSWER_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 1 << 16
"""`sshd -T` says some 4 KiB."""
_ASK: Final = r"""
set -f
process=$$
while [ "${process:-1}" -gt 1 ]; do
  title=$(tr '\0' ' ' </proc/$process/cmdline)
  case $title in 'sshd: '*' [listener] '*)
    echo "$title"
    words=${title#sshd: }
    set -- ${words%% \[listener\]*}
    "$@" -T || "$@" -G
    exit
  esac
  process=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$process/status)
done
"""
"""The listener above us says in its title how it was started and how many logins it takes at once; by the same words it tells the rest,
to root, or from OpenSSH 9.3 on to anybody."""
ASK: Final = f"exec /bin/sh -c {shlex.quote(_ASK)} </dev/null 2>/dev/null"


async def ask(configuration: Configuration) -> Sequence[Target]:
    """In the order of the configuration; those of one machine log in at once, as when the gateway starts."""
    targets: dict[str, Target] = {}
    async with anyio.create_task_group() as tasks:
        for section in configuration.devices:
            if isinstance(options := section.link.options, SshOptions):
                from transports.ssh import LOGINS_AT_ONCE, SshLinkOpener  # an extra, which others do not have

                hop = hops(options)[-1]
                target = targets.setdefault(f"{hop.host}:{hop.port}", Target(hop.name, []))
                target.devices.append(section.name)
                target.logins_at_once = min(LOGINS_AT_ONCE, len(target.devices))
                tasks.start_soon(_ask, section.name, SshLinkOpener(replace(options, command=ASK)), target)
    return list(targets.values())


async def _ask(device: str, opener: LinkOpener, target: Target) -> None:
    try:
        link = await opener.open()
    except LinkError as error:
        target.refused[device] = str(error)
        return
    said = b""
    try:
        with anyio.move_on_after(ANSWER_S):
            while len(said) < MAX_ANSWER_BYTES:
                said += await link.receive()
    except LinkLost:
        pass  # the answer is whole
    finally:
        await link.aclose()
    target.said = target.said or said.decode(errors="replace")
