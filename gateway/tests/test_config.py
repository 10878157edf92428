"""A configuration is refused with the path of the key and what is allowed, before anything is opened."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import drivers
from gateway.config import Configuration, check, load, parse
from gateway.errors import ConfigError
from transports.serial_options import SerialOptions
from transports.simulated.driver import SimulatedOptions

LINKS: Final = ", ".join(offer.name for offer in drivers.links())
PROTOCOLS: Final = ", ".join(offer.name for offer in drivers.protocols())
GOOD = """
apiVersion: wirelet.dev/v1alpha1
kind: GatewayConfiguration
node: {name: pi-lab-3}
cluster: {kubeconfig: /etc/wirelet/kubeconfig}
classes:
- name: sim
  slots: 4
  shared: true
  grace: 1m30s
  hooks: {reset: {command: [relay, "1"], deadline: 500ms}}
devices:
- {name: sim-1, class: sim, link: {simulated: {seed: 1, accept: any}}}
- {name: sim-2, class: sim, link: {serial: {path: /dev/ttyUSB0, baud: 921600}}}
"""


def test_a_good_file_gives_seconds_bytes_and_defaults() -> None:
    configuration = parse(GOOD)

    sim = configuration.class_of(configuration.devices[1])
    assert (sim.slots, sim.shared, sim.grace, sim.keepalive) == (4, True, 90.0, 1.0)
    assert sim.hooks.reset is not None
    assert sim.hooks.reset.deadline == 0.5
    assert configuration.logs.budget == 64 * 2**20
    assert configuration.node.taint == "virtual-kubelet.io/provider=wirelet:NoSchedule"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "slots: 4",
            "slot: 4",
            "classes[0].slot: unknown key; allowed here: name, protocol, slots, shared, grace, keepalive, vidPids, hooks, link",
        ),
        ("slots: 4", "slots: 32", "classes[0].slots: must be less than or equal to 31, not 32"),
        ("slots: 4", "slots: many", "classes[0].slots: must be a whole number, not 'many'"),
        ("shared: true", "shared: maybe", "classes[0].shared: must be true or false, not 'maybe'"),
        ("grace: 1m30s", "grace: 90", "classes[0].grace: must be a duration such as 10s, 500ms or 2m, not 90"),
        ("accept: any", "accept: all", "devices[0].link.simulated.accept: must be 'any', not 'all'"),
        ("class: sim, link: {serial", "class: esp, link: {serial", "devices[1].class: no class 'esp'; there are: sim"),
        ("name: sim-2", "name: sim-1", "devices[1].name: 'sim-1' is already devices[0]; names are unique"),
        ("serial: {path: /dev/ttyUSB0, baud: 921600}", "", f"devices[1].link: needs exactly one of: {LINKS}"),
        ("path: /dev/ttyUSB0, ", "", "devices[1].link.serial: needs exactly one of: path, match"),
        ("node: {name: pi-lab-3}", "", "node: is required"),
        ("pi-lab-3", "Pi_Lab", "node.name: must be a DNS name in lower case, not 'Pi_Lab'"),
        ("v1alpha1", "v1", "apiVersion: must be 'wirelet.dev/v1alpha1', not 'wirelet.dev/v1'"),
        ('[relay, "1"]', "relay 1", "classes[0].hooks.reset.command: must be a list, not 'relay 1'"),
        ("slots: 4", "slots: [", "not YAML in line 10: expected ',' or ']', but got ':'"),
    ],
)
def test_a_bad_key_is_named_with_what_is_allowed(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse(GOOD.replace(old, new))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("node: {name: x, address: board.lab}", "node.address: must be an IP address, not 'board.lab'"),
        ("node: {name: x, capacity: [1]}", "node.capacity: must be a mapping with keys such as name: value, not a list"),
        ("node: {name: x, capacity: {cpu: lots}}", "node.capacity.cpu: must be a quantity such as 4, 500m or 64Gi, not 'lots'"),
        ("node: {name: x, capacity: {pods: '-1'}}", "node.capacity.pods: must be a quantity such as 4, 500m or 64Gi, not '-1'"),
        ("node: {name: x, labels: {a b: c}}", "node.labels: has the key 'a b'; it must be a name such as site, or example.com/site"),
        ("node: {name: x, labels: {a: b c}}", "node.labels.a: must be at most 63 letters, digits, '-', '_' and '.', not 'b c'"),
        ("node: {name: x, taint: 'a!=b:NoSchedule'}", None),
        ("server: {address: localhost}", "server.address: must be an IP address, not 'localhost'"),
        ("server: {certFile: '', keyFile: ''}", "server.certFile: must not be empty or hold a zero byte, not ''"),
        ("runtimeDirectory: ''", "runtimeDirectory: must not be empty or hold a zero byte, not ''"),
        ("logs: {budget: 1}", "logs.budget: must be 64Ki to 1Ti, not 1"),
        ("classes: [{name: c, keepalive: 0s}]", "classes[0].keepalive: must be 0.1s to 65s, not 0s"),
        ("classes: [{name: c, keepalive: 66s}]", "classes[0].keepalive: must be 0.1s to 65s, not 66s"),
        ("classes: [{name: c, hooks: {reset: {command: []}}}]", None),
        ("classes: [{name: c, hooks: {reset: {command: ['']}}}]", None),
        ("classes: [{name: c, hooks: {reset: {command: [a], deadline: 0s}}}]", None),
        ("devices: [{name: d, class: c, link: {serial: {path: ''}}}]", None),
        ("devices: [{name: d, class: c, link: {simulated: {ring: 0}}}]", "devices[0].link.simulated.ring: must be 1Ki to 16Mi, not 0"),
        (
            "devices: [{name: d, class: c, link: {simulated: {ring: big}}}]",
            "devices[0].link.simulated.ring: must be a size such as 64Mi, not 'big'",
        ),
        ("devices: [{name: d, class: c, link: {simulated: {seed: -1}}}]", "devices[0].link.simulated.seed: must be 0 or more, not -1"),
        (
            "devices: [{name: d, class: c, link: {serial: {path: x, baud: 9}}}]",
            "devices[0].link.serial.baud: must be 50 to 12000000, not 9",
        ),
        (
            "devices: [{name: d, class: c, link: {serial: {bauds: 9}}}]",
            "devices[0].link.serial.bauds: unknown key; allowed here: "
            "baud, flowControl, modemLines, rs485, lowLatency, latencyTimer, path, match",
        ),
        (
            "devices: [{name: d, class: c, link: {serial: {path: x, match: {usbSerial: A5069RR4}}}}]",
            "devices[0].link.serial: needs exactly one of: path, match",
        ),
        (
            "devices: [{name: d, class: c, link: {serial: {match: {interface: 1}}}}]",
            "devices[0].link.serial.match: needs one of: usbSerial, vidPids, port, platform; "
            "`wirelet get devices --all -o yaml` writes it for what is plugged in",
        ),
        (
            "devices: [{name: d, class: c, link: {serial: {match: {usbSerial: '0001'}}}}]",
            "devices[0].link.serial.match.usbSerial: '0001' is what many chips say; match by port, and vidPids",
        ),
        (
            "devices: [{name: d, class: c, link: {serial: {match: {vidPids: ['0403:600']}}}}]",
            "devices[0].link.serial.match.vidPids: must be four hexadecimal digits twice, such as 0403:6001, not '0403:600'",
        ),
        (
            "devices: [{name: d, class: c, link: {serial: {match: {port: /dev/ttyUSB0}}}}]",
            "devices[0].link.serial.match.port: must be a place, such as 1-1.3 or fe201000.serial, not '/dev/ttyUSB0'; "
            "a path of /dev stands in `path`",
        ),
        ("devices: [{name: d, class: c, link: {serial: {match: {port: 1-1, interface: -1}}}}]", None),
        ("devices: [{name: d, class: c, link: {serial: {match: {port: 1-1, platform: fe201000.serial}}}}]", None),
        ("classes: [{name: c, vidPids: [303a]}]", None),
        (
            "devices: [{name: d, class: c, deviceId: A1, link: {simulated: {}}}]",
            "devices[0].deviceId: must be `any`, or 4 to 12 bytes in lower-case hexadecimal "
            "as `wirelet get devices -o wide` shows, not 'A1'",
        ),
        (
            "devices: [{name: d, class: c, link: {serial: }}]",
            "devices[0].link.serial: must be a mapping with keys such as "
            "baud, flowControl, modemLines, rs485, lowLatency, latencyTimer, path, match, not None",
        ),
        (
            "devices: [{name: d, class: c, link: serial}]",
            f"devices[0].link: must be a mapping with one key of: {LINKS}; not 'serial'",
        ),
        ("devices: [{name: d, class: c, link: {}}]", f"devices[0].link: needs exactly one of: {LINKS}"),
        (
            "devices: [{name: d, class: c, link: {tcp: {host: x}}}]",
            f"devices[0].link.tcp: no such link is installed; there are: {LINKS}; pip install the package that brings it",
        ),
        ("classes: [{name: c, protocol: console, slots: 2}]", "classes[0].slots: must be at most 1 with protocol console, not 2"),
        (
            "classes: [{name: c, protocol: {console: {ok: [^*$]}}}]",
            "classes[0].protocol.console.ok: '^*$' would match every line",
        ),
        (
            "classes: [{name: c, protocol: scpi}]",
            f"classes[0].protocol: no such protocol is installed; there are: {PROTOCOLS}; pip install the package that brings it",
        ),
    ],
)
def test_a_value_that_could_only_fail_later_is_refused_now(section: str, message: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(section if section.startswith("node") else f"node: {{name: x}}\n{section}")
    assert message is None or message in str(caught.value).splitlines()
    assert all(path for path, _ in caught.value.problems)


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"not YAML in line 2: the key 'node' is there twice"):
        parse("node: {name: x}\nnode: {name: y}\n")


def test_a_tab_is_named_and_what_to_type_instead() -> None:
    with pytest.raises(ConfigError, match=r"not YAML in line 2: there is a tab; indent with spaces"):
        parse("node:\n\tname: pi\n")


def test_a_key_that_a_merge_brings_may_be_said_otherwise() -> None:
    text = "node: {name: pi}\nclasses:\n- &a {name: a, slots: 1}\n- &b {<<: *a, name: b}\n- {<<: *b, name: c, slots: 2}\n"
    assert [(section.name, section.slots) for section in parse(text).classes] == [("a", 1), ("b", 1), ("c", 2)]


def test_nesting_without_end_and_alias_bombs_are_one_short_line() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse("[" * 5000)
    bomb = "a: &a [x]\n" + "".join(f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in pairwise("abcdefghijk"))
    with pytest.raises(ConfigError) as caught:
        parse(f"{bomb}node: *k\n")
    assert "node: must be a mapping with keys such as name, address, capacity, labels, taint, operatingSystem, not a list" in str(
        caught.value
    )


@pytest.mark.parametrize("path", ["/dev/ttyUSB0", "/dev/./ttyUSB0", "/dev//ttyUSB0"])
def test_two_devices_cannot_have_one_port(path: str) -> None:
    with pytest.raises(ConfigError, match=r"devices\[1\].link.serial: /dev/ttyUSB0 is already the port of devices\[0\]"):
        parse(GOOD.replace("simulated: {seed: 1, accept: any}", f"serial: {{path: {path}}}"))


SIDES = """
node: {name: x}
classes: [{name: c}]
devices:
- name: board
  class: c
  link: {serial: {path: /dev/ttyUSB0}}
  links:
  - {role: console, link: {serial: {path: /dev/ttyUSB1, baud: 9600}}}
  - {role: debug, link: {usb: {match: {usbSerial: A1}}}}
"""


def test_a_board_has_further_links_of_other_roles() -> None:
    console, debug = parse(SIDES).devices[0].links
    assert (console.role, console.link.driver, console.link.options.baud) == ("console", "serial", 9600)
    assert (debug.role, debug.link.driver) == ("debug", "usb")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("role: debug", "role: swd", r"devices\[0\].links\[1\].role: must be 'console' or 'debug', not 'swd'"),
        ("role: debug", "role: console", r"devices\[0\].links\[1\].role: console is the role of another link of this device, too"),
        ("ttyUSB1", "ttyUSB0", r"devices\[0\].links\[0\].link.serial: /dev/ttyUSB0 is already the port of devices\[0\]"),
        ("baud: 9600", "baudrate: 9600", r"devices\[0\].links\[0\].link.serial.baudrate: unknown key"),
    ],
)
def test_further_links_are_checked_as_the_first_one(old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(SIDES.replace(old, new))


SHARED = """
node: {name: x}
classes: [{name: c, link: {serial: {baud: 921600}, simulated: {seed: 7}}}]
devices:
- {name: a, class: c, link: {serial: {path: /dev/a}}}
- {name: b, class: c, link: {serial: {path: /dev/b, baud: 9600}}}
- {name: s, class: c, link: {simulated: {}}}
"""


def test_a_class_says_what_its_devices_links_have_in_common() -> None:
    a, b, s = parse(SHARED).devices
    assert (a.link.options, b.link.options) == (SerialOptions(path="/dev/a", baud=921600), SerialOptions(path="/dev/b", baud=9600))
    assert s.link.options == SimulatedOptions(seed=7)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baud: 921600", "bauds: 921600", "classes[0].link.serial.bauds: unknown key; allowed here: baud, flowControl"),
        ("baud: 921600", "baud: fast", "classes[0].link.serial.baud: must be a whole number, not 'fast'"),
        ("baud: 921600", "baud: 1", "devices[0].link.serial.baud: must be 50 to 12000000, not 1"),
        ("simulated: {seed: 7}", "tcp: {}", f"classes[0].link.tcp: no such link is installed; there are: {LINKS}; pip install"),
        ("{serial: {baud: 921600}, simulated: {seed: 7}}", "serial", f"classes[0].link: must be a mapping with keys of: {LINKS}"),
        ("{baud: 921600}", "[1]", "classes[0].link.serial: must be a mapping with keys such as baud, flowControl"),
        ("path: /dev/a", "path: [", "not YAML in line"),
        ("{path: /dev/a}", "fast", "devices[0].link.serial: must be a mapping with keys such as baud, flowControl"),
    ],
)
def test_a_bad_default_of_a_class_is_told_once(old: str, new: str, message: str) -> None:
    assert old in SHARED
    with pytest.raises(ConfigError) as caught:
        parse(SHARED.replace(old, new))
    assert [line for line in str(caught.value).splitlines() if line.startswith(message)] == str(caught.value).splitlines()


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(GOOD.replace("slots: 4", "slots: 0").replace("accept: any", "accept: all"))
    assert [path for path, _ in caught.value.problems] == ["classes[0].slots", "devices[0].link.simulated.accept"]


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_a_file_that_is_no_mapping_says_what_it_must_be(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a mapping with apiVersion: wirelet.dev/v1alpha1"):
        parse(text)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nothing.yaml: No such file or directory"):
        load(tmp_path / "nothing.yaml")


def test_the_file_may_be_read_again() -> None:
    assert isinstance(parse(GOOD), Configuration)
    assert parse(GOOD) == parse(GOOD)


def test_two_devices_cannot_mean_the_same_port_by_one_rule() -> None:
    device = "{name: %s, class: c, link: {serial: {match: {usbSerial: A5069RR4}}}}"
    with pytest.raises(ConfigError, match=r"devices\[1\].link.serial: usbSerial A5069RR4 is already the port of devices\[0\]"):
        parse(f"node: {{name: x}}\nclasses: [{{name: c}}]\ndevices: [{device % 'a'}, {device % 'b'}]")


def test_a_class_knows_its_boards_in_other_modes() -> None:
    link = "{serial: {match: {usbSerial: A1B2, vidPids: ['303A:4001']}}}"
    classes = "classes: [{name: c, vidPids: ['303A:1001']}]"
    configuration = parse(f"node: {{name: x}}\n{classes}\ndevices: [{{name: a, class: c, deviceId: any, link: {link}}}]")
    (device,) = configuration.devices
    assert configuration.class_of(device).vid_pids == ("303a:1001",)
    assert str(device.link.options.match.rule()) == "usbSerial A1B2, vidPids 303a:4001"


KEYS: Final = st.one_of(st.sampled_from(["serial", "simulated", "path", "baud", "ring", "name", "class", "link"]), st.integers(), st.none())
LEAVES: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.sampled_from(["serial", "/dev/x", "c", "10s", "a\0b", ""])
)
THINGS: Final = st.recursive(
    LEAVES, lambda things: st.one_of(st.lists(things, max_size=3), st.dictionaries(KEYS, things, max_size=3)), max_leaves=8
)


@settings(deadline=None)
@given(of_class=THINGS, options=THINGS, link=THINGS, odd=THINGS)
def test_whatever_stands_in_a_link_is_told_and_never_breaks_the_check(of_class: Any, options: Any, link: Any, odd: Any) -> None:
    for document in (
        {
            "node": {"name": "x"},
            "classes": [{"name": "c", "link": of_class}],
            "devices": [{"name": "d", "class": "c", "link": {"serial": options}}, {"name": "e", "class": "c", "link": link}],
        },
        {"node": {"name": "x"}, "classes": [{"name": "c", "link": {"serial": options}}, odd], "devices": [odd, link]},
        {"node": {"name": "x"}, "classes": odd, "devices": link},
    ):
        with contextlib.suppress(ConfigError):
            check(document)
