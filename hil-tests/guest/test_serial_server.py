"""A port of another machine, as far as it goes in one guest: a real ser2net in front of the real ftdi_sio."""

from __future__ import annotations

from collections.abc import Callable

from guest.auto_reset import Boot
from guest.ft232 import Lines
from guest.held_link import HeldLink, rfc2217
from guest.inside import write_files
from guest.stand import Stand

from transports.serial_options import PortSettings

PORT = 3001
CONFIG = "/run/ser2net.yaml"


def test_rate_and_modem_lines_of_a_servers_port(stand: Stand, need: Callable[[str], None]) -> None:
    need("ser2net")
    adapter = stand.ft232("W2200")
    adapter.board("board", baud=921600, has_auto_reset=True)
    tty = adapter.await_plugged()
    connection = f"connection: &port\n  accepter: telnet(rfc2217),tcp,127.0.0.1,{PORT}\n  connector: serialdev,{tty},115200n81,local\n"
    stand.guest.call(write_files, {CONFIG: connection})
    server = stand.guest.start("ser2net", "-n", "-d", "-l", "-c", CONFIG)
    try:
        link = stand.calls().keep(HeldLink, rfc2217, PORT, PortSettings(baud=921600, modem_lines="esp-autoreset"))
        link.open_when_there()
        assert round(adapter.baud()) == 923077
        boots = adapter.boots()
        adapter.happened()
        link.reset()
        adapter.await_boots([*boots, Boot.PROGRAM])
        moved = [lines for lines in adapter.happened() if isinstance(lines, Lines)]
        assert Lines(dtr=True, rts=False) not in moved  # asks for the boot loader
        assert b"reset cause" in link.receive(200)
        link.close()
    finally:
        server.stop()
