"""Links and protocols come from the metadata of installed packages; what a package does wrong is one line with its name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import anyio
import pytest

from gateway import config_options, drivers
from gateway.cli import main
from gateway.config import parse, published
from gateway.errors import ConfigError
from gateway.tests.test_fleet import Bench
from gateway.version import VERSION
from transports.tests.pty_end import PtyEnd

Install = Callable[..., None]

DRIVER: Final = """
from __future__ import annotations
from dataclasses import dataclass, field
from transports.driver import BadOption, DurationS, SizeBytes

@dataclass(frozen=True)
class Wire:
    name: str
    copy: bool = False

    def __post_init__(self):
        if not self.name.islower():
            raise BadOption("name", f"must be lower case, not {self.name!r}")

@dataclass(frozen=True)
class Options:
    host_name: str
    tcp_port: int = 23
    connect_deadline: DurationS = DurationS(2.0)
    buffer: SizeBytes = SizeBytes(1024)
    wire: Wire | None = None
    spare_wires: tuple[Wire, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if self.host_name == "nowhere":
            raise ValueError("there is no way to nowhere")

class Driver:
    options = Options
    def opener(self, options, device): raise NotImplementedError
    def bytes_per_s(self, options): return None
    def port(self, options): return f"{options.host_name}:{options.tcp_port}"
"""


def _forget() -> None:
    for cached in (drivers._installed, drivers.link, drivers.protocol, config_options._choice):
        cached.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with its metadata where Python looks for packages, as pip would."""

    def put(package: str, entry_points: str, module: str = "", source: str = DRIVER) -> None:
        metadata = tmp_path / f"{package}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(entry_points)
        if module:
            (tmp_path / f"{module}.py").write_text(source)
        _forget()

    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield put
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    _forget()


def with_link(link: str) -> str:
    return f"node: {{name: x}}\nclasses: [{{name: c}}]\ndevices: [{{name: d, class: c, link: {link}}}]"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_installed_is_known_by_name_and_package() -> None:
    assert {"serial", "simulated"} <= {offer.name for offer in drivers.links() if offer.package == f"wirelet {VERSION}"}
    assert ("framed", f"wirelet {VERSION}") in [(offer.name, offer.package) for offer in drivers.protocols()]


def test_a_driver_is_not_imported_before_a_configuration_names_it(install: Install) -> None:
    install("wire-tcp", "[wirelet.links]\ntcp = wire_tcp:Driver\n", "wire_tcp")
    assert ("tcp", "wire-tcp 1.2") in [(offer.name, offer.package) for offer in drivers.links()]
    parse(with_link("{simulated: {}}"))
    assert "wire_tcp" not in sys.modules
    parse(with_link("{tcp: {hostName: a}}"))
    assert "wire_tcp" in sys.modules


def test_options_are_written_as_everything_in_the_file_and_read_as_the_dataclass(install: Install) -> None:
    install("wire-tcp", "[wirelet.links]\ntcp = wire_tcp:Driver\n", "wire_tcp")
    configuration = parse(
        with_link("{tcp: {hostName: a, connectDeadline: 500ms, buffer: 4Ki, wire: {name: red, copy: true}, spareWires: [{name: blue}]}}")
    )

    options = configuration.devices[0].link.options
    module = sys.modules["wire_tcp"]
    assert options == module.Options("a", 23, 0.5, 4096, module.Wire("red", True), (module.Wire("blue"),))
    told = published(configuration)
    assert told["devices"][0]["link"]["tcp"]["connectDeadline"] == "0.5s"
    assert parse(with_link(repr(told["devices"][0]["link"]).replace("True", "true").replace("False", "false"))) == configuration


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{}", "hostName: is required"),
        ("{hostName: a, connectDeadline: 5}", "connectDeadline: must be a duration such as 10s, 500ms or 2m, not 5"),
        ("{hostName: a, wire: {name: red, colour: 1}}", "wire.colour: unknown key; allowed here: name, copy"),
        ("{hostName: a, wire: {name: Red}}", "wire.name: must be lower case, not 'Red'"),
        ("{hostName: a, spareWires: [{name: b}, {}]}", "spareWires[1].name: is required"),
        ("{hostName: a, labels: {x: y}}", "labels.x: must be a whole number, not 'y'"),
        (
            "{host_name: a, hostName: b}",
            "host_name: unknown key; allowed here: hostName, tcpPort, connectDeadline, buffer, wire, spareWires, labels",
        ),
    ],
)
def test_a_bad_option_of_a_package_is_named_like_one_of_ours(install: Install, options: str, message: str) -> None:
    install("wire-tcp", "[wirelet.links]\ntcp = wire_tcp:Driver\n", "wire_tcp")
    assert refusal(with_link(f"{{tcp: {options}}}")) == f"devices[0].link.tcp.{message}"


def test_what_is_wrong_with_all_options_together_is_told_of_the_link(install: Install) -> None:
    install("wire-tcp", "[wirelet.links]\ntcp = wire_tcp:Driver\n", "wire_tcp")
    assert refusal(with_link("{tcp: {hostName: nowhere}}")) == "devices[0].link.tcp: there is no way to nowhere"


def test_two_devices_cannot_have_what_a_driver_calls_one_port(install: Install) -> None:
    install("wire-tcp", "[wirelet.links]\ntcp = wire_tcp:Driver\n", "wire_tcp")
    second = ", {name: e, class: c, link: {tcp: {hostName: a}}}]"
    assert refusal(with_link("{tcp: {hostName: a}}").removesuffix("]") + second) == (
        "devices[1].link.tcp: a:23 is already the port of devices[0]"
    )


@pytest.mark.parametrize(
    ("value", "source", "reason"),
    [
        ("broken:Driver", "import no_such_library", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"),
        (
            "broken:Driver [fast]",
            "import no_such_library",
            "cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'; pip install 'wire-broken[fast]'",
        ),
        ("broken:Driver", "this is no Python", "cannot be loaded: SyntaxError: invalid syntax (broken.py, line 1)"),
        ("broken:Driver", "raise RuntimeError('two\\nlines')", "cannot be loaded: RuntimeError: two lines"),
        ("broken:Driver", "", "cannot be loaded: AttributeError: module 'broken' has no attribute 'Driver'"),
        ("broken:Driver", "class Driver:\n  def __init__(self, host): pass", "cannot be loaded: TypeError: Driver.__init__() missing 1"),
        ("broken:Driver", "class Driver: pass", "offers no link driver: broken:Driver has no opener, bytes_per_s, port"),
        ("broken:Driver", DRIVER.replace("options = Options", "options = dict"), "offers no link driver: its options are no dataclass"),
    ],
)
def test_a_broken_package_is_one_line_with_its_name_and_the_reason(install: Install, value: str, source: str, reason: str) -> None:
    install("wire-broken", f"[wirelet.links]\nbroken = {value}\n", "broken", source)
    assert refusal(with_link("{broken: {}}")).startswith(f"devices[0].link.broken: the package wire-broken 1.2 {reason}")
    parse(with_link("{simulated: {}}"))


def test_a_broken_protocol_is_told_of_its_class(install: Install) -> None:
    install("wire-broken", "[wirelet.protocols]\nbroken = broken:Driver\n", "broken", "import no_such_library")
    assert refusal("node: {name: x}\nclasses: [{name: c, protocol: broken}]") == (
        "classes[0].protocol: the package wire-broken 1.2 cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"
    )


def test_a_name_that_two_packages_offer_is_refused_and_not_chosen(install: Install) -> None:
    install("wire-impostor", "[wirelet.links]\nserial = wire_tcp:Driver\n", "wire_tcp")
    assert refusal(with_link("{serial: {path: /dev/x}}")) in {
        f"devices[0].link.serial: is offered by {one} and by {other}; uninstall one"
        for one, other in ((f"wirelet {VERSION}", "wire-impostor 1.2"), ("wire-impostor 1.2", f"wirelet {VERSION}"))
    }


def test_check_config_lists_what_is_installed_and_used(install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install("wire-tcp", "[wirelet.links]\ntcp = wire_tcp:Driver\n", "wire_tcp")
    file = tmp_path / "gateway.yaml"
    file.write_text(with_link("{tcp: {hostName: a}}"))
    assert main(["check-config", str(file)]) == 0
    ok, header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert (ok, header) == (["ok"], ["DRIVER", "PACKAGE", "DEVICES"])
    assert ["link/tcp", "wire-tcp", "1.2", "1"] in rows
    assert ["link/serial", "wirelet", VERSION, "0"] in rows
    assert ["protocol/framed", "wirelet", VERSION, "1"] in rows


PROTOCOL: Final = """
from dataclasses import dataclass
from transports.driver import DurationS
from transports.tests.line_protocol import LineProtocol

@dataclass(frozen=True)
class Options:
    greeting: str
    ping_every: DurationS = DurationS(1.0)

class Driver:
    options = Options
    def protocol(self, options, checkpoint, device, session):
        assert (checkpoint, device.name, device.class_name, device.slots) == (None, "d", "c", 2)
        assert (session.line_bytes_per_s, options.greeting) == (960, "who?")
        return LineProtocol(ping_s=options.ping_every)
"""


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("lines", "lines.greeting: is required"),
        ("{lines: {}}", "lines.greeting: is required"),
        ("{lines: {greeting: a, pingEvery: 5}}", "lines.pingEvery: must be a duration such as 10s, 500ms or 2m, not 5"),
        ("{lines: {greeting: a, colour: red}}", "lines.colour: unknown key; allowed here: greeting, pingEvery"),
        ("{frames: {}}", "frames: no such protocol is installed; there are: {NAMES}; pip install the package that brings it"),
    ],
)
def test_a_bad_option_of_a_protocol_is_named_with_its_class(install: Install, protocol: str, message: str) -> None:
    install("wire-lines", "[wirelet.protocols]\nlines = wire_lines:Driver\n", "wire_lines", PROTOCOL)
    names = ", ".join(offer.name for offer in drivers.protocols())
    assert refusal(f"node: {{name: x}}\nclasses: [{{name: c, protocol: {protocol}}}]") == (
        f"classes[0].protocol.{message.replace('{NAMES}', names)}"
    )


@pytest.mark.parametrize(("protocol", "message"), [("{}", "needs exactly one of: "), ("[framed]", "must be the name of a protocol, or ")])
def test_a_protocol_is_one_name(protocol: str, message: str) -> None:
    assert refusal(f"node: {{name: x}}\nclasses: [{{name: c, protocol: {protocol}}}]").startswith(f"classes[0].protocol: {message}")


def test_options_of_a_protocol_are_told_with_every_default(install: Install) -> None:
    install("wire-lines", "[wirelet.protocols]\nlines = wire_lines:Driver\n", "wire_lines", PROTOCOL)
    told = published(parse("node: {name: x}\nclasses: [{name: c, protocol: {lines: {greeting: a}}}, {name: d}]"))
    assert [section["protocol"] for section in told["classes"]] == [{"lines": {"greeting": "a", "pingEvery": "1s"}}, "framed"]


async def test_a_device_speaks_the_protocol_of_a_package(install: Install, tmp_path: Path) -> None:
    install("wire-lines", "[wirelet.protocols]\nlines = wire_lines:Driver\n", "wire_lines", PROTOCOL)
    device = PtyEnd()
    link = f"{{serial: {{path: {device.path}, baud: 9600}}}}"
    class_ = "name: c, slots: 2, protocol: {lines: {greeting: 'who?', pingEvery: 100ms}}}"
    desk = Bench(tmp_path, parse(with_link(link).replace("name: c}", class_)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.fleet.run)
        assert await device.receive() == b"who?\n"
        await device.send(b"hello 7\n")
        await desk.until(lambda: desk.fleet.boards["d"].is_ready)
        assert await device.receive() == b"ping\n"
        tasks.cancel_scope.cancel()
    desk.logs.close()
    desk.fleet.close()
    desk.ledger.close()
    device.close()
