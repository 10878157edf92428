"""The command line against a real gateway socket: what it prints, what it says when nobody answers, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.cli import COMMANDS, main
from gateway.cli.client import socket_path
from gateway.cli.get import Row, changed
from gateway.cli.guard import clash_of_transports
from gateway.cli.table import age, age_since, aligned
from gateway.config import parse
from gateway.directories import choose_directories
from gateway.kubelet.listeners import listen_unix
from gateway.kubelet.routes import Endpoint, kubelet_routes, local_routes
from gateway.kubelet.seams import DeviceRow, PortRow
from gateway.kubelet.server import HttpServer, Limits
from gateway.tests.endpoint_fakes import (
    FakeCare,
    FakeConversations,
    FakeDeviceLogs,
    FakeLogs,
    FakePods,
    FixedDevices,
    FixedEvents,
    FixedVitals,
    pod,
    serving,
)

NOW = time.time()
CREATED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - 50.5 * 3600))
"""Two days and two hours ago, however long the tests take."""
DEVICES = [
    DeviceRow("board-a", "esp32", "serial:/dev/ttyUSB0", "Ready", "", 1, 4, "b7", ("hello", "echo"), NOW - 30.5 * 3600),
    DeviceRow("board-b", "esp32", "serial:/dev/ttyUSB1", "Disconnected", "no such\x1b[31m port"),
]
PORTS = [
    PortRow("0403:6001 FT232R USB UART with serial A5069RR4 at port 1-1.3", "/dev/ttyUSB2", {"usbSerial": "A5069RR4"}),
    PortRow("1a86:7523 with serial \x1b[31m: {x}", "/dev/ttyUSB3", {"vidPids": ["1a86:7523"], "port": "pci-0000:00:14.0-usb-0:1.2"}),
    PortRow("1a86:7523 without a serial number", "/dev/ttyUSB4", {}),
    PortRow("303a:4001 Native board with serial 240ac4123456", "/dev/bus/usb/001/007", {"usbSerial": "240ac4123456"}, "usb"),
]
LOOK = "see what there is: wirelet get pods"
LOGS = {"wirelet://hello-main-1": b"one\xff\ntwo\n", "wirelet://two-b-1": b"from b\n"}


def pods() -> list[dict[str, Any]]:
    found = [pod("hello"), pod("two", "a", "b"), pod("far", namespace="lab")]
    for each in found:
        each["metadata"]["creationTimestamp"] = CREATED
    found[2]["status"]["containerStatuses"][0] |= {"restartCount": 3, "lastState": {"terminated": {"finishedAt": CREATED}}}
    found[0]["metadata"]["annotations"] = {"wirelet.dev/assigned-device": "board-a"}
    return found


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Path]:
    """A gateway's socket, served by a loop in a thread, so that the blocking client meets a real server."""
    path, fence = tmp_path / "wirelet.sock", tmp_path / "fence"
    fence.touch()
    ready, stop = threading.Event(), anyio.Event()
    loop: list[Callable[[], None]] = []

    async def serve() -> None:
        token = anyio.lowlevel.current_token()
        loop.append(lambda: anyio.from_thread.run_sync(stop.set, token=token))
        listed, devices = FakePods(pods()), FixedDevices(DEVICES, PORTS)
        event = {
            "metadata": {"namespace": "default"},
            "type": "Normal",
            "reason": "Started",
            "message": "Container started",
            "lastTimestamp": CREATED,
            "involvedObject": {"kind": "Pod", "name": "hello"},
        }
        local = local_routes(listed, devices, FixedEvents([event]), FakeDeviceLogs({"board-a": b"boot text\n"}), FakeCare(fence))
        endpoint = Endpoint((*kubelet_routes(listed, FakeLogs(LOGS), FixedVitals(), FakeConversations()), *local))
        async with serving(HttpServer(endpoint, limits=Limits(linger_s=0.05)), await listen_unix(path)):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=anyio.run, args=(serve,))
    thread.start()
    assert ready.wait(10)
    yield path
    loop[0]()
    thread.join(10)


@pytest.fixture
def wirelet(gateway: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command against the gateway; gives exit code, stdout and stderr."""
    monkeypatch.setenv("WIRELET_SOCKET", str(gateway))

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


Run = Callable[..., tuple[int, str, str]]


def test_a_watch_tells_what_is_new_other_and_gone_and_nothing_else() -> None:
    before: list[Row] = [
        {"name": "a", "status": "Running", "lastSeen": 1},
        {"name": "b", "status": "Running"},
        {"name": "c", "status": "Running"},
    ]
    now: list[Row] = [
        {"name": "a", "status": "Running", "lastSeen": 2},
        {"name": "b", "status": "Failed"},
        {"name": "d", "status": "Pending"},
    ]
    assert [(row["name"], row["status"]) for row in changed(before, now)] == [("b", "Failed"), ("d", "Pending"), ("c", "Gone")]
    assert changed(now, now) == []


def test_a_watch_is_not_for_ports(wirelet: Run) -> None:
    assert wirelet("get", "devices", "--all", "-w") == (2, "", "wirelet get: --watch is not for --all\n")


def test_a_lent_port_is_in_the_commands_environment_and_arguments(wirelet: Run, tmp_path: Path) -> None:
    told = tmp_path / "told"
    code, out, err = wirelet("lend", "board-a", "--", "sh", "-c", f"echo $WIRELET_PORT $1 > {told}; exit 4", "sh", "{port}")
    assert (code, out, err) == (4, "", "")
    assert told.read_text() == "/dev/ttyUSB0 /dev/ttyUSB0\n"


def test_a_command_that_a_signal_ended_is_told_as_by_a_shell(wirelet: Run) -> None:
    assert wirelet("lend", "board-a", "--", "sh", "-c", "kill -9 $$")[0] == 137


def test_a_device_is_reset_or_it_is_told_why_not(wirelet: Run) -> None:
    assert wirelet("reset", "board-a") == (0, "", "")
    assert wirelet("power", "board-a", "cycle") == (1, "", "wirelet power: board-a has nothing for power.cycle\n")
    assert wirelet("lend", "board-b", "--", "true") == (1, "", "wirelet lend: there is no device\n")


@pytest.mark.parametrize("words", [("--since", "0"), ("--tail", "-1"), ("--tail", "9" * 30), ("--since", "10s")])
def test_a_number_that_the_gateway_would_refuse_is_refused_at_once(
    wirelet: Run, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    with pytest.raises(SystemExit):
        wirelet("logs", "hello", *words)
    assert f"must be a whole number from {int(words[0] == '--since')}, not {words[1]!r}" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["", "device/", "pod/"])
def test_a_log_of_nothing_is_refused_in_words(wirelet: Run, target: str) -> None:
    assert wirelet("logs", target) == (
        1,
        "",
        f"wirelet logs: {target!r} names neither a pod nor device/NAME; {LOOK}, wirelet get devices\n",
    )


def test_pods_as_a_table(wirelet: Run) -> None:
    assert wirelet("get", "pods") == (
        0,
        "NAME    READY   STATUS    RESTARTS   DEVICE    AGE\n"
        "hello   1/1     Running   0          board-a   2d2h\n"
        "two     2/2     Running   0          <none>    2d2h\n",
        "",
    )


def test_pods_of_every_namespace_and_wide(wirelet: Run) -> None:
    _, out, _ = wirelet("get", "po", "-A", "-o", "wide")
    header, *rows = out.splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "DEVICE", "AGE", "IMAGES", "MESSAGE"]
    assert [row.split()[:2] for row in rows] == [["default", "hello"], ["default", "two"], ["lab", "far"]]


def test_devices_as_a_table(wirelet: Run) -> None:
    code, out, err = wirelet("get", "devices")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["NAME", "CLASS", "LINK", "STATE", "SLOTS", "BOOT", "PROGRAMS", "LAST-SEEN"],
        ["board-a", "esp32", "serial:/dev/ttyUSB0", "Ready", "1/4", "b7", "2", "30h"],
        ["board-b", "esp32", "serial:/dev/ttyUSB1", "Disconnected", "0/1", "-", "0", "never"],
    ]


def test_what_a_device_says_cannot_command_the_terminal(wirelet: Run) -> None:
    _, out, _ = wirelet("get", "devices", "-o", "wide")
    assert "\x1b" not in out
    assert "no such [31m port" in out


def test_ports_that_no_device_uses_stand_below_the_devices(wirelet: Run) -> None:
    code, out, err = wirelet("get", "devices", "--all")
    assert (code, err) == (0, "")
    devices, ports = out.split("\n\n")
    assert devices.splitlines() == wirelet("get", "devices")[1].splitlines()
    header, *rows = [line.split("   ") for line in ports.splitlines()]
    assert [cell.strip() for cell in header if cell.strip()] == ["UNUSED-PORT", "NODE", "MATCH"]
    assert [row[-1].strip() for row in rows] == [
        '{usbSerial: "A5069RR4"}',
        '{vidPids: ["1a86:7523"], port: "pci-0000:00:14.0-usb-0:1.2"}',
        "nothing tells it apart",
        '{usbSerial: "240ac4123456"}',
    ]
    assert "\x1b" not in out
    assert json.loads(wirelet("get", "devices", "--all", "-o", "json")[1])["unusedPorts"][0]["node"] == "/dev/ttyUSB2"


def test_the_configuration_that_is_offered_for_a_port_is_a_good_one(wirelet: Run) -> None:
    code, out, err = wirelet("get", "devices", "--all", "-o", "yaml")
    assert (code, err) == (0, "")
    configuration = parse(f"node: {{name: desk}}\nclasses: [{{name: esp32}}]\n{out}")
    assert [(device.name, device.link.driver, device.link.port) for device in configuration.devices] == [
        ("port-1", "serial", "usbSerial A5069RR4"),
        ("port-2", "serial", "vidPids 1a86:7523, port pci-0000:00:14.0-usb-0:1.2"),
        ("port-3", "usb", "usbSerial 240ac4123456"),
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("get", "pods", "--all"), "--all is for devices, without a name"),
        (("get", "devices", "board-a", "--all"), "--all is for devices, without a name"),
    ],
)
def test_what_all_is_for(wirelet: Run, words: Sequence[str], why: str) -> None:
    assert wirelet(*words) == (2, "", f"wirelet get: {why}\n")


def test_events_as_a_table(wirelet: Run) -> None:
    _, out, _ = wirelet("get", "events")
    assert out.splitlines()[1].split(maxsplit=4) == ["2d2h", "Normal", "Started", "pod/hello", "Container started"]


def test_json_is_what_the_gateway_said(wirelet: Run) -> None:
    (row,) = json.loads(wirelet("get", "devices", "board-a", "-o", "json")[1])["items"]
    assert (row["name"], row["slots"]) == ("board-a", {"used": 1, "total": 4})


def test_restarts_are_told_as_kubectl_does(wirelet: Run) -> None:
    _, out, _ = wirelet("get", "pods", "-n", "lab")
    assert out.splitlines()[1].startswith("far    1/1     Running   3 (2d2h ago)   ")


def test_an_empty_list_is_no_error(wirelet: Run) -> None:
    assert wirelet("get", "pods", "-n", "empty") == (0, "", "No pods found in namespace empty.\n")


def test_a_name_that_is_not_there_lists_those_that_are(wirelet: Run) -> None:
    assert wirelet("get", "devices", "board-z") == (1, "", 'wirelet get: no device "board-z"; there are: board-a, board-b\n')


def test_logs_come_as_they_are(gateway: Path) -> None:
    result = run_process("logs", "hello", "--socket", str(gateway))
    assert (result.returncode, result.stdout, result.stderr) == (0, b"one\xff\ntwo\n", b"")


def test_logs_of_a_container_and_of_a_device(wirelet: Run) -> None:
    assert wirelet("logs", "pod/two", "-c", "b", "--tail", "5", "--timestamps") == (0, "from b\n", "")
    assert wirelet("logs", "device/board-a") == (0, "boot text\n", "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["two"], 'wirelet logs: pod "two" has several containers; choose one with -c: a, b\n'),
        (["gone"], 'wirelet logs: no pod "gone" in namespace default; there are: hello, two\n'),
        (["gone", "-n", "empty"], 'wirelet logs: no pod "gone" in namespace empty; there are: none\n'),
        (["hello", "-c", "x"], f'wirelet logs: container "x" not found in pod "hello"; {LOOK} -A -o wide\n'),
        (["hello", "-p"], f'wirelet logs: previous terminated container "main" in pod "hello" not found; {LOOK} -A -o wide\n'),
        (["device/board-z"], f'wirelet logs: no device "board-z"; {LOOK} -A -o wide\n'),
        (["a/../b", "-c", "c"], f"wirelet logs: 404 page not found; {LOOK} -A -o wide\n"),
    ],
)
def test_a_log_that_cannot_be_had_is_one_line(wirelet: Run, words: Sequence[str], text: str) -> None:
    assert wirelet("logs", *words) == (1, "", text)


@pytest.mark.parametrize("words", [["get"], ["get", "nodes"], ["logs"], ["logs", "p", "--tail", "-1"], ["nothing"], []])
def test_a_wrong_command_line_is_exit_code_2(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_nobody_there_is_one_line_with_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s"
    assert main(["get", "pods", "--socket", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"wirelet get: no gateway at {path}; start one with `wirelet run`, or name its socket with --socket or WIRELET_SOCKET\n"
    )
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert main(["logs", "hello", "--socket", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"wirelet logs: the gateway of {path} is not running; start it with `wirelet run`, or name another with --socket\n"
    )


def test_something_else_on_the_socket_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def babble() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"SSH-2.0-surprise\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        assert main(["get", "pods", "--socket", str(path)]) == 1
        thread.join(10)
    err = capsys.readouterr().err
    assert err.startswith(f"wirelet get: cannot talk to the gateway at {path}: ")
    assert err.count("\n") == 1


def run_process(*words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "gateway", *words], capture_output=True, timeout=30, check=False, **more)


def follower(gateway: Path, *target: str) -> subprocess.Popen[bytes]:
    """As from a terminal: a shell that starts the tests in the background has Ctrl-C ignored in everything below it."""
    command = [sys.executable, "-m", "gateway", "logs", "-f", *target, "--socket", str(gateway)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_follower_quietly(gateway: Path) -> None:
    with follower(gateway, "hello") as process:
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == [b"one\xff\n", b"two\n"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_reader_that_has_enough_ends_it_quietly(gateway: Path) -> None:
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "gateway", "logs", "hello", "--socket", str(gateway)]
    os.close(read_end)
    result = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(write_end)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "a peer left"), OSError(errno.ENOSPC, "no room")])
def test_a_gateway_that_fails_does_not_end_as_if_its_reader_had_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: OSError
) -> None:
    def fail(arguments: object) -> None:
        raise ExceptionGroup("in a task", [error])

    monkeypatch.setattr("gateway.cli.run._run", fail)
    with pytest.raises(ExceptionGroup) as caught:
        main(["run", "--standalone", "--manifests", str(tmp_path)])
    assert caught.group_contains(type(error))


def test_a_gateway_that_leaves_in_the_middle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with subprocess.Popen(
            [sys.executable, "-m", "gateway", "logs", "-f", "p", "-c", "c", "--socket", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, b"one\n")
    assert err == b"wirelet logs: the gateway left in the middle of the log; it has stopped or was restarted: ask again when it runs\n"


def test_check_config_says_ok_or_one_line_for_each_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("node: {name: pi}\n")
    bad.write_text("node: {name: pi}\nserver: {port: many, colour: red}\n")
    assert main(["check-config", str(good)]) == 0
    assert capsys.readouterr().out.startswith("ok\n")
    assert main(["check-config", str(bad)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["server.port", "server.colour"]
    assert main(["check-config", str(tmp_path / "none.yaml")]) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: wirelet {command}")


def test_help_is_quick_because_it_loads_nothing() -> None:
    heavy = "[name for name in ('pydantic', 'anyio', 'kubernetes', 'yaml', 'h11', 'http.client') if name in sys.modules]"
    program = f"import sys; from gateway.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint({heavy})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=True)
    assert result.stdout.splitlines()[-1] == b"[]"


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"wirelet {version('wirelet')}\n"


@pytest.mark.parametrize("environment", [{}, {"XDG_RUNTIME_DIR": "/run/user/7"}])
@pytest.mark.parametrize("user_id", [0, os.getuid()])
def test_the_client_looks_where_the_gateway_listens(environment: dict[str, str], user_id: int) -> None:
    directories = choose_directories(parse("node: {name: pi}"), environment, is_root=user_id == 0)
    assert socket_path(None, environment, user_id=user_id) == directories.socket


def test_the_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"WIRELET_SOCKET": "/a"}
    assert socket_path(Path("/b"), environment) == Path("/b")
    assert socket_path(None, environment) == Path("/a")


def test_our_transports_is_ours() -> None:
    assert clash_of_transports() is None


@pytest.mark.parametrize("words", [("run", "--standalone"), ("check-config", "gateway.yaml")])
def test_another_transports_is_told_before_anything_runs(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "transports").mkdir()
    (tmp_path / "transports" / "__init__.py").write_text("")
    result = run_process(*words, env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(b"wirelet: another package 'transports' (")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "<unknown>"),
        (-5, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (47 * 3600, "47h"),
        (49 * 3600, "2d1h"),
        (10 * 86400, "10d"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages_are_written_as_kubectl_does(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_an_age_of_no_time_is_unknown() -> None:
    assert age_since(None, 0) == age_since("soon", 0) == "<unknown>"
    assert age_since("1970-01-01T00:00:00.5+00:00", 10) == "9s"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned(["A", "LONG"], [["wide cell", "x"], ["", "y\ny"]]) == "A           LONG\nwide cell   x\n            y y\n"
