"""`kubectl logs` to the byte: every option on a real gateway and board, and what is too big or too odd for a board on real rings."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from anyio import to_thread
from control_plane import ControlPlane, KubectlFailed
from gateways import Simulator, device
from kube_gateway import kube_gateway, make_pod
from lab import GAP, Follower, Lab, assert_counted, condition, container, waiting_reason
from test_kubelet_access import endpoint
from workbench import Workbench

from gateway.endpoint import AttemptLogs
from gateway.logs.clock import SystemClock
from gateway.logs.record import Entry, Stream
from gateway.logs.store import AttemptKey, LogStore
from gateway.tests.endpoint_fakes import FakePods, pod

STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{9}Z ")
SHORT_RING: Final = 2048
"""Of the board whose log overflows when its cable is pulled."""


class LogLab(Lab):
    """With one more board, whose log holds SHORT_RING bytes."""

    short: Simulator


@pytest.fixture(scope="module")
def lab(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogLab]:
    namespace = f"logs-{os.getpid()}"
    control_plane.create_namespace(namespace)
    workbench = Workbench(tmp_path_factory.mktemp("logs"))
    made = LogLab(control_plane, workbench, namespace)
    try:
        made.short = workbench.boards(1, "--slots", "4", "--ring", str(SHORT_RING), "--id", "short")
        made.boards = workbench.boards(2, "--slots", "8", "--ring", "262144", "--id", "long")
        configuration = made.configuration(boards=2, slots=8, shared=True)
        configuration["classes"].append({"name": "short", "slots": 4})
        configuration["devices"].append(device("short", "short", made.short.links[0]))
        made.gateway = workbench.gateway(configuration, wait=False)
        made.wait_for_node(lambda node: node["status"]["allocatable"].get("wirelet.dev/short") == "4")
        made.wait_for_node(lambda node: condition(node, "Ready").get("status") == "True")
        made.wait_for_node(lambda node: node["status"]["allocatable"].get(made.resource) == "16")
        yield made
        assert made.refused_requests() == []
        assert "Traceback" not in made.gateway.log()
    finally:
        made.close()
        workbench.clear()
        control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


def output_of(argv: Sequence[str]) -> bytes:
    """kubectl's output as it is: its text mode would make LF of CRLF."""
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    if ran.returncode:
        raise KubectlFailed(argv, ran.returncode, ran.stderr.decode())
    return ran.stdout


def logs(lab: Lab, *args: str) -> bytes:
    return output_of(lab.control_plane.kubectl_argv("-n", lab.namespace, "logs", *args))


# -- options


@pytest.fixture(scope="module")
def counted(lab: Lab) -> str:
    """A pod that printed 1 to 60 in three seconds and ended."""
    lab.run("counted", "counter", "--rate", "20", "--count", "60", restartPolicy="Never")
    lab.wait_for_phase("counted", "Succeeded")
    return "counted"


def lines(first: int, last: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(first, last + 1))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], lines(1, 60)),
        (["--tail=-1"], lines(1, 60)),
        (["--tail=0"], b""),
        (["--tail=1"], b"60\n"),
        (["--tail=60"], lines(1, 60)),
        (["--tail=1000"], lines(1, 60)),
        (["--limit-bytes=5"], b"1\n2\n3"),
        (["--limit-bytes=1"], b"1"),
        (["--limit-bytes=100000"], lines(1, 60)),
        (["--tail=3", "--limit-bytes=4"], b"58\n5"),  # the tail first, then the limit
        (["--since=1h"], lines(1, 60)),
        (["--since=1h", "--tail=2", "--limit-bytes=3"], b"59\n"),
        (["--since-time=2020-01-01T00:00:00Z", "--tail=2"], b"59\n60\n"),
        (["--since-time=2100-01-01T00:00:00Z"], b""),
        (["-f"], lines(1, 60)),
        (["-f", "--tail=2"], b"59\n60\n"),
        (["-f", "--limit-bytes=5"], b"1\n2\n3"),
    ],
)
def test_options(lab: Lab, counted: str, options: list[str], shown: bytes) -> None:
    assert logs(lab, counted, *options) == shown


def test_timestamps_stand_before_each_line_and_count_for_the_limit(lab: Lab, counted: str) -> None:
    stamped = logs(lab, counted, "--timestamps")
    found = [STAMP.match(line) for line in stamped.splitlines()]
    assert all(found)
    assert STAMP.sub(b"", stamped) == lines(1, 60)
    assert stamped.splitlines() == sorted(stamped.splitlines(), key=lambda line: line[:30])
    assert logs(lab, counted, "--timestamps", "--limit-bytes=40") == stamped[:40]
    assert logs(lab, counted, "--timestamps", "--tail=4") == b"".join(stamped.splitlines(keepends=True)[-4:])


def test_since_filters_what_the_tail_left(lab: Lab, counted: str) -> None:
    stamped = logs(lab, counted, "--timestamps").splitlines(keepends=True)
    seconds = sorted({line[:19].decode() for line in stamped})
    since = seconds[-1]  # kubectl sends whole seconds
    younger = [STAMP.sub(b"", line) for line in stamped if line[:19].decode() >= since]
    assert 0 < len(younger) < 60
    assert logs(lab, counted, f"--since-time={since}Z") == b"".join(younger)
    assert logs(lab, counted, f"--since-time={since}Z", "--tail=60") == b"".join(younger)
    assert logs(lab, counted, f"--since-time={since}Z", f"--tail={len(younger) + 1}") == b"".join(younger)
    assert logs(lab, counted, f"--since-time={since}Z", "--tail=1", "-f") == b"60\n"
    ended = time.monotonic()
    lab.wait(lambda: time.monotonic() > ended + 1.5, "a second to pass")
    assert logs(lab, counted, "--since=1s") == b""


def test_what_kubectl_says_when_there_is_no_such_log(lab: Lab, counted: str) -> None:
    for args, text in [
        ((counted, "--previous"), 'previous terminated container "main" in pod "counted" not found'),
        ((counted, "-c", "other"), "container other is not valid for pod counted"),
    ]:
        with pytest.raises(KubectlFailed, match=re.escape(text)):
            logs(lab, *args)


# -- bytes


def test_carriage_returns_colours_and_every_script_are_kept(lab: Lab) -> None:
    text = "10%\r20%\r100%\r\n\x1b[31mred\x1b[0m\r\n\ttab\n\nžluťoučký 日本 🐎\n" + GAP + " not from the gateway"
    lab.run("odd", "echo", text, restartPolicy="Never")
    lab.wait_for_phase("odd", "Succeeded")
    shown = logs(lab, "odd")
    assert shown == text.replace(GAP, "\\" + GAP).encode() + b"\n"
    assert logs(lab, "odd", "--tail=2").splitlines() == shown.split(b"\n")[-3:-1]


# -- attempts


def test_in_crash_loop_back_off_the_last_attempt_is_shown(lab: Lab) -> None:
    lab.run("crash", "crash", container={"terminationMessagePolicy": "FallbackToLogsOnError"})
    looping = lab.wait_for_pod("crash", lambda pod: waiting_reason(pod) == "CrashLoopBackOff" and container(pod)["restartCount"] >= 1)
    last = container(looping)["lastState"]["terminated"]
    stamped = logs(lab, "crash", "--timestamps")
    assert STAMP.sub(b"", stamped) == b"panic: crash was asked for\n"
    assert last["startedAt"][:19] <= stamped[:19].decode() <= last["finishedAt"][:19]
    assert logs(lab, "crash", "--previous", "--timestamps") == stamped
    assert logs(lab, "crash", "-f") == STAMP.sub(b"", stamped)


def test_previous_is_the_attempt_before_the_restart(lab: Lab) -> None:
    placed = {"annotations": {"wirelet.dev/device": "board-1"}}
    lab.run("again", "counter", "--rate", "100", metadata=placed)
    lab.wait_for_ready("again")
    follower = lab.follow("again")
    follower.wait_for_lines(100)
    lab.boards.reset(1)
    lab.wait_for_pod("again", lambda pod: container(pod).get("restartCount") == 1 and "running" in container(pod)["state"])
    followed = follower.wait_for_end()
    before = logs(lab, "again", "--previous").decode().splitlines()
    assert followed == before
    assert_counted(before, first=1)
    assert before[-1].startswith(GAP), "what the board had not sent when it lost its memory"
    lab.wait(lambda: logs(lab, "again").startswith(b"1\n2\n"), "the log of the second attempt")


# -- gaps


def test_a_gap_is_a_line_that_has_its_stamp_and_counts_for_the_tail(lab: LogLab) -> None:
    limits = {"resources": {"limits": {"wirelet.dev/short": 1}}}
    lab.run("gappy", "counter", "--rate", "1000", "--count", "4000", restartPolicy="Never", container=limits)
    lab.wait_for_ready("gappy")
    lab.short.unplug()
    time.sleep(1.5)  # 1500 lines of 12 bytes into 2 KiB
    lab.short.plug()
    lab.wait_for_phase("gappy", "Succeeded")
    whole = logs(lab, "gappy")
    shown = whole.decode().splitlines()
    assert_counted(shown, first=1)
    gaps = [line for line in shown if line.startswith(GAP)]
    assert gaps
    missing = sum(int(re.findall(r"(\d+) records", line)[0]) for line in gaps)
    assert missing + len(shown) - len(gaps) == 4000
    assert lab.gateway.metrics().total("wirelet_gaps_total", device="short") >= len(gaps)
    behind = len(shown) - shown.index(gaps[-1])
    for tail in (behind - 1, behind, behind + 1):
        assert logs(lab, "gappy", f"--tail={tail}").decode().splitlines() == shown[-tail:]
    stamped = logs(lab, "gappy", "--timestamps")
    assert STAMP.sub(b"", stamped) == whole
    assert len(STAMP.findall(stamped)) == len(shown)


# -- sizes


def numbered(data: bytes) -> list[int]:
    """The numbers of firehose's lines."""
    return [int(line[:10]) for line in data.splitlines() if not line.startswith(GAP.encode())]


def test_a_log_takes_as_much_as_its_pod_says(lab: Lab) -> None:
    small_log = {"annotations": {"wirelet.dev/log-bytes": "64Ki"}}
    lab.run("small", "firehose", "--count", "3000", restartPolicy="Never", metadata=small_log)
    lab.run("usual", "firehose", "--count", "3000", restartPolicy="Never")
    for name in ("small", "usual"):
        lab.wait_for_phase(name, "Succeeded")
    assert numbered(logs(lab, "usual")) == list(range(1, 3001))
    small = logs(lab, "small")
    first, kept = small.splitlines()[0].decode(), numbered(small)
    assert re.match(re.escape(GAP) + r" \d+ records, \d+ bytes, log full, ", first)
    assert kept == list(range(3001 - len(kept), 3001))
    assert int(first.split()[3]) + len(kept) == 3000
    assert len(small) < 65536
    assert numbered(logs(lab, "small", "--tail=5")) == list(range(2996, 3001))


def test_a_size_that_is_none_is_told_on_the_pod(lab: Lab) -> None:
    lab.run("wrong", "hello", metadata={"annotations": {"wirelet.dev/log-bytes": "plenty"}})
    wrong = lab.wait_for_pod("wrong", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
    assert "wirelet.dev/log-bytes" in container(wrong)["state"]["waiting"]["message"]


# -- rings of this process behind the real API server: more than a board can print in a test


@contextlib.asynccontextmanager
async def ring_behind_kubectl(control_plane: ControlPlane, namespace: str, name: str, store: LogStore) -> AsyncIterator[AttemptKey]:
    subject = pod(name, namespace=namespace)
    logs = AttemptLogs(store, SystemClock())
    async with (
        endpoint(control_plane, name, FakePods([subject]), logs) as caller,
        kube_gateway(control_plane, name, port=caller.port),
    ):
        await make_pod(control_plane, namespace, name, name)
        yield AttemptKey(str(subject["metadata"]["uid"]), "main", 1)


def append(store: LogStore, key: AttemptKey, numbers: range, line_bytes: int) -> None:
    stamp_ns = SystemClock().boot_ns()
    store.append(key, [Entry(stamp_ns, Stream.STDOUT, (b"%010d " % number).ljust(line_bytes - 1, b".")) for number in numbers])


async def test_fifty_megabytes_and_what_is_no_text(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    store = LogStore(tmp_path, budget_bytes=160 << 20, ring_bytes=100 << 20)
    line_bytes, count = 500, 100_000
    expected = hashlib.sha256()

    async def kubectl(*args: str) -> bytes:
        argv = control_plane.kubectl_argv("-n", namespace, "logs", "big", *args)
        return await to_thread.run_sync(output_of, argv)

    async with ring_behind_kubectl(control_plane, namespace, "big", store) as key:
        odd = bytes(range(256)).replace(b"\n", b"") * 4
        store.append(key, [Entry(SystemClock().boot_ns(), Stream.STDERR, odd)])
        for first in range(0, count, 1000):
            append(store, key, range(first, first + 1000), line_bytes)
        store.close_attempt(key)
        expected.update(odd + b"\n")
        for number in range(count):
            expected.update((b"%010d " % number).ljust(line_bytes - 1, b".") + b"\n")
        assert hashlib.sha256(await kubectl()).digest() == expected.digest()
        assert (await kubectl("--limit-bytes=1000")) == odd[:1000]
        assert [int(line[:10]) for line in (await kubectl("--tail=3", "-f")).splitlines()] == [count - 3, count - 2, count - 1]
    store.close()


async def test_a_follower_that_does_not_read_is_told_what_it_missed_and_holds_up_nobody(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    store = LogStore(tmp_path, budget_bytes=16 << 20, ring_bytes=4 << 20)
    line_bytes, count = 4000, 16_000  # 64 MB: more than all buffers between the ring and a kubectl that does not read
    argv = control_plane.kubectl_argv("-n", namespace, "logs", "-f", "two")
    async with ring_behind_kubectl(control_plane, namespace, "two", store) as key:
        append(store, key, range(1), line_bytes)
        quick = Follower(argv)
        slow = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # noqa: ASYNC220 - it is to be stopped by a signal
        assert slow.stdout is not None
        try:
            await to_thread.run_sync(quick.wait_for_lines, 1)
            await to_thread.run_sync(slow.stdout.readline)
            os.kill(slow.pid, signal.SIGSTOP)
            for first in range(1, count, 500):
                append(store, key, range(first, min(first + 500, count)), line_bytes)
                await to_thread.run_sync(quick.wait_for_lines, min(first + 500, count))
            store.close_attempt(key)
            os.kill(slow.pid, signal.SIGCONT)
            rest = (await to_thread.run_sync(slow.stdout.read)).decode().splitlines()
            seen = await to_thread.run_sync(quick.wait_for_end)
        finally:
            quick.close()
            slow.kill()
            slow.stdout.close()
            slow.wait()
    store.close()
    assert [int(line[:10]) for line in seen] == list(range(count))
    gaps = [line for line in rest if line.startswith(GAP)]
    assert gaps
    assert all("reader too slow" in line for line in gaps)
    assert sum(int(line.split()[3]) for line in gaps) + len(rest) - len(gaps) + 1 == count
    assert [int(line[:10]) for line in rest[-100:]] == list(range(count - 100, count))
