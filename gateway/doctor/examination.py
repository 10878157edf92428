"""Everything that is looked for, the same for a person at the command line and for the gateway itself. Blocks; for a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.devices.port_addresses import Address
from gateway.devices.ssh_targets import Target
from gateway.doctor.finding import Finding
from gateway.doctor.ports import of_ports
from gateway.doctor.sshd import of_target
from gateway.doctor.udev import findings_of_machine


def examine(ports: Mapping[str, Address], gateway: int | None, targets: Sequence[Target] = ()) -> list[Finding]:
    """ports is where those of the configuration are, gateway the process that may have them open, targets what was asked over ssh."""
    return [*of_ports(ports, gateway), *(finding for target in targets for finding in of_target(target)), *findings_of_machine()]
