"""Everything that is looked for, the same for a person at the command line and for the gateway itself. Blocks; for a thread."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.devices.port_addresses import Address
from gateway.doctor.finding import Finding
from gateway.doctor.ports import of_ports
from gateway.doctor.udev import findings_of_machine


def examine(ports: Mapping[str, Address], gateway: int | None) -> list[Finding]:
    """ports is where those of the configuration are, gateway the process that may have them open."""
    return [*of_ports(ports, gateway), *findings_of_machine()]
