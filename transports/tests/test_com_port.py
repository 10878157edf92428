"""The conversation with a server of RFC 2217: the other side is pyserial's own, and what it would never say is written down."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from serial import STOPBITS_ONE, rfc2217

from transports.com_port import ComPort
from transports.errors import LinkError, RemoteProtocolError
from transports.modem_lines import BOTH, RTS
from transports.telnet import Negotiation, Subnegotiation, Verb, encode

BINARY, COM_PORT = 0, 44


@dataclass
class Port:
    """What pyserial's server has behind it; it only remembers."""

    baudrate: int = 9600
    bytesize: int = 7
    parity: str = "E"
    stopbits: float = STOPBITS_ONE
    rtscts: bool = False
    xonxoff: bool = False
    cts: bool = False
    dsr: bool = False
    ri: bool = False
    cd: bool = False
    purged: int = 0
    lines: list[tuple[str, bool]] = field(default_factory=list)

    def reset_input_buffer(self) -> None:
        self.purged += 1

    reset_output_buffer = reset_input_buffer

    @property
    def dtr(self) -> bool:
        return True

    @dtr.setter
    def dtr(self, is_up: bool) -> None:
        self.lines.append(("dtr", is_up))

    @property
    def rts(self) -> bool:
        return True

    @rts.setter
    def rts(self, is_up: bool) -> None:
        self.lines.append(("rts", is_up))


class Server:
    """pyserial's server, and what it has said."""

    def __init__(self, port: Port) -> None:
        self._said = b""
        self._manager = rfc2217.PortManager(port, self)

    def write(self, data: bytes) -> None:
        self._said += data

    def hear(self, data: bytes) -> bytes:
        """What of it goes to the device."""
        return b"".join(self._manager.filter(data))

    def device_says(self, data: bytes) -> None:
        self._said += b"".join(self._manager.escape(data))

    def said(self) -> bytes:
        said, self._said = self._said, b""
        return said


def talk(client: ComPort, server: Server) -> bytes:
    """Until both are silent; what the device said on the way."""
    data = b""
    while (out := client.data_to_send()) or (answer := server.said()):
        server.hear(out)
        data += client.receive_data(answer if not out else server.said())
    return data


def com_port(baud: int = 115200, *, is_rtscts: bool = False, lines: int | None = None) -> ComPort:
    return ComPort("rfc2217://pi:1", baud, is_rtscts=is_rtscts, lines=lines)


def test_a_server_sets_the_port_and_the_boot_text_is_kept() -> None:
    port = Port()
    server, client = Server(port), com_port(921600)
    server.device_says(b"boot \xff rom\r\n")
    assert talk(client, server) == b"boot \xff rom\r\n"
    assert client.is_ready
    assert (port.baudrate, port.bytesize, port.parity, port.stopbits, port.rtscts) == (921600, 8, "N", 1, False)
    assert port.purged == 0
    assert port.lines == []


def test_flow_control_by_rts_and_cts_is_asked_for() -> None:
    port = Port()
    client = com_port(is_rtscts=True)
    talk(client, Server(port))
    assert client.is_ready
    assert port.rtscts


def test_dtr_is_set_before_rts() -> None:
    port = Port()
    server, client = Server(port), com_port(lines=BOTH)
    talk(client, server)
    client.set_lines(RTS)
    talk(client, server)
    assert port.lines == [("dtr", True), ("rts", True), ("dtr", False), ("rts", True)]


# -- servers that pyserial's is not


def told(*commands: Negotiation | Subnegotiation) -> bytes:
    return b"".join(encode(command) for command in commands)


def settled(client: ComPort, *, baud: int = 115200) -> None:
    """Everything that it wants to hear."""
    client.receive_data(told(*(Negotiation(verb, BINARY) for verb in (Verb.DO, Verb.WILL)), Negotiation(Verb.DO, COM_PORT)))
    client.receive_data(told(Subnegotiation(COM_PORT, b"\x65" + baud.to_bytes(4, "big"))))
    client.receive_data(told(*(Subnegotiation(COM_PORT, bytes(answer)) for answer in ((102, 8), (103, 1), (104, 1)))))


def test_a_rate_that_nearly_fits_is_taken() -> None:
    client = com_port(921600)
    settled(client, baud=923077)
    assert client.is_ready


def test_another_rate_is_refused_with_both() -> None:
    with pytest.raises(LinkError, match="rfc2217://pi:1: the port runs at 9600 baud, not at 3500000"):
        settled(com_port(3_500_000), baud=9600)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (Negotiation(Verb.DONT, COM_PORT), "the server does not speak RFC 2217; for a plain port take `link: {socket: ...}`"),
        (Negotiation(Verb.DONT, BINARY), "the server would change bytes: it refuses binary transmission"),
        (Negotiation(Verb.WONT, BINARY), "the server would change bytes: it refuses binary transmission"),
        (Subnegotiation(COM_PORT, b"\x67\x03"), "the port cannot be set to 8N1: PARITY is 03"),
    ],
)
def test_a_server_that_refuses_what_is_needed_is_left(command: Negotiation | Subnegotiation, message: str) -> None:
    with pytest.raises(LinkError) as refused:
        com_port().receive_data(told(command))
    assert message in str(refused.value)


def test_a_port_without_rts_and_cts_is_refused_only_if_they_were_asked_for() -> None:
    none = told(Subnegotiation(COM_PORT, b"\x69\x01"))
    com_port().receive_data(none)
    with pytest.raises(LinkError, match="the port has no RTS/CTS; leave flowControl out"):
        com_port(is_rtscts=True).receive_data(none)


def test_what_is_not_answered_is_named() -> None:
    client = com_port()
    client.receive_data(told(Negotiation(Verb.DO, BINARY), Negotiation(Verb.WILL, BINARY)))
    assert client.waits_for == "COM-PORT-OPTION"
    client.receive_data(told(Negotiation(Verb.DO, COM_PORT)))
    assert client.waits_for == "BAUD, DATA_SIZE, PARITY, STOP_SIZE"


def test_a_server_that_insists_on_an_option_is_answered_once() -> None:
    client = com_port()
    client.data_to_send()
    echo = told(Negotiation(Verb.WILL, 1), Negotiation(Verb.DO, 24))
    for _ in range(3):
        client.receive_data(echo)
    assert client.data_to_send() == told(Negotiation(Verb.DONT, 1), Negotiation(Verb.WONT, 24))


def test_a_server_that_tells_twice_that_it_will_is_told_the_settings_once() -> None:
    client = com_port()
    settled(client)
    client.data_to_send()
    client.receive_data(told(Negotiation(Verb.DO, COM_PORT)))
    assert client.data_to_send() == b""
    assert client.is_ready


def test_news_of_modem_lines_are_no_data() -> None:
    client = com_port()
    settled(client)
    assert (
        client.receive_data(
            b"a" + told(Subnegotiation(COM_PORT, b"\x6b\xb0"), Subnegotiation(COM_PORT, b""), Subnegotiation(7, b"x")) + b"b"
        )
        == b"ab"
    )


def test_an_answer_of_the_wrong_size_is_an_error() -> None:
    with pytest.raises(RemoteProtocolError, match="the answer to BAUD has 2 bytes, not 4"):
        com_port().receive_data(told(Subnegotiation(COM_PORT, b"\x65\x00\x01")))
