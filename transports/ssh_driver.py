"""`link: {ssh: ...}`: the standard input and output of a command on a machine with sshd, as a driver."""

from __future__ import annotations

from transports.driver import DeviceFacts
from transports.link import LinkOpener
from transports.ssh import SshLinkOpener
from transports.ssh_options import SshOptions


class SshDriver:
    """See transports.driver.LinkDriver."""

    options = SshOptions

    def opener(self, options: SshOptions, device: DeviceFacts) -> LinkOpener:
        return SshLinkOpener(options)

    def bytes_per_s(self, options: SshOptions) -> float | None:
        return None

    def port(self, options: SshOptions) -> str | None:
        """Each connection has a command of its own: nothing is exclusive."""
        return None
