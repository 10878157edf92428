"""What the gateway tells monitoring, over a real fleet with a simulated board."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.config import check, parse, published
from gateway.kubelet.exposition import Family, Kind, Sample, render
from gateway.metrics import GatewayVitals
from gateway.pods.seams import AttemptState
from gateway.tests.endpoint_fakes import FakePods, pod
from gateway.tests.exposition_parser import Scrape
from gateway.tests.exposition_parser import parse as parse_scrape
from gateway.tests.test_fleet import CONFIGURATION, POD, Bench, bench
from gateway.usage import read_usage
from transports.link import LineErrors

REFERENCE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"


def vitals(desk: Bench, pods: FakePods | None = None) -> GatewayVitals:
    others = [Family("wirelet_other_total", Kind.COUNTER, "Others.", [Sample(1)])]
    return GatewayVitals(parse(CONFIGURATION), desk.fleet, desk.logs, pods or FakePods(), {200: 7, 401: 2}, lambda: others)


async def scrape(subject: GatewayVitals) -> Scrape:
    return parse_scrape(render(await subject.metrics()).decode())


def running_pod(desk: Bench | None = None) -> dict[str, Any]:
    """With desk: as the API server would have the pod that runs there."""
    found = pod("hello")
    if desk is not None:
        found["metadata"]["uid"] = str(POD.uid)
    found["status"]["startTime"] = "2026-01-01T00:00:00Z"
    found["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = "2026-01-01T00:00:05Z"
    return found


async def test_links_starts_and_logs_are_counted(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.start("--count", "3", "--rate", "1000")
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        found = await scrape(vitals(desk, FakePods([running_pod()])))

    assert found.value("wirelet_device_up", device="sim-1", **{"class": "sim"}) == 1
    assert found.value("wirelet_sessions_total", device="sim-1") == 1
    assert found.value("wirelet_frames_received_total", device="sim-1") > 3
    assert found.value("wirelet_pod_starts_total", device="sim-1") == 1
    assert found.value("wirelet_slots", of="capacity", **{"class": "sim"}) == 2
    assert found.value("wirelet_pods", phase="Running") == 1
    assert found.value("wirelet_log_bytes") == found.value("wirelet_log_rings") * 65536 > 0
    assert found.value("wirelet_endpoint_answers_total", code="401") == 2
    assert found.value("wirelet_other_total") == 1
    assert found.value("process_resident_memory_bytes") > 1e6
    assert all(name.startswith(("wirelet_", "process_")) for name in found.types)


async def test_the_reference_names_every_metric_with_its_meaning(tmp_path: Path) -> None:
    page = REFERENCE.read_text()
    async with bench(tmp_path) as desk:
        families = await vitals(desk).metrics()
    told = [family for family in families if family.name.startswith("wirelet_") and family.name != "wirelet_other_total"]
    missing = [row for family in told if (row := f"| `{family.name}` | {family.kind.value} | {family.about} |") not in page]
    assert missing == []


async def test_a_gap_is_counted_by_its_cause(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await desk.start(image="reboot")
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        desk.fleet.boards["sim-1"].output.gaps.clear()
        (entry,) = desk.ledger.entries()
        desk.fleet.boards["sim-1"].output.declare_lost(entry, None)
        found = await scrape(vitals(desk))
    assert found.value("wirelet_gaps_total", device="sim-1", cause="unknown cause") == 1


async def test_line_errors_are_told_by_kind_where_a_uart_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as desk:
        assert not [name for name in (await scrape(vitals(desk))).values if name[0] == "wirelet_line_errors_total"]
        monkeypatch.setattr(desk.fleet, "line_errors", lambda: {"sim-1": LineErrors(framing=3, buffer_overrun=1)})
        found = await scrape(vitals(desk))
    assert found.value("wirelet_line_errors_total", device="sim-1", kind="framing") == 3
    assert found.value("wirelet_line_errors_total", device="sim-1", kind="buffer_overrun") == 1
    assert found.value("wirelet_line_errors_total", device="sim-1", kind="parity") == 0


async def test_usage_is_told_for_the_node_and_never_invented_for_a_container(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        subject = vitals(desk, FakePods([running_pod()]))
        found = parse_scrape(render(await subject.resources()).decode())
        summary = await subject.summary()
    assert found.value("node_cpu_usage_seconds_total") > 0
    assert found.value("node_memory_working_set_bytes") > 1e6
    assert found.value("container_start_time_seconds", namespace="default", pod="hello", container="main") == 1767225605
    assert [key for key in found.values if key[0].startswith(("container_cpu", "container_memory", "pod_"))] == []

    assert summary["node"]["nodeName"] == "desk"
    assert summary["node"]["memory"]["workingSetBytes"] > 1e6
    assert summary["pods"] == [
        {
            "podRef": {"name": "hello", "namespace": "default", "uid": "uid-hello"},
            "startTime": "2026-01-01T00:00:00Z",
            "containers": [{"name": "main", "startTime": "2026-01-01T00:00:05Z"}],
        }
    ]


ALONE = CONFIGURATION.replace("slots: 2", "slots: 1")


async def test_what_a_device_reports_is_told_and_is_its_only_containers_usage(tmp_path: Path) -> None:
    async with bench(tmp_path, ALONE) as desk:
        await desk.start("--count", "100", "--rate", "10000", image="counter")
        await desk.until(lambda: desk.state() is AttemptState.EXITED)
        await desk.start(gen=2)
        subject = vitals(desk, FakePods([running_pod(desk)]))
        found = await scrape(subject)
        resources = parse_scrape(render(await subject.resources()).decode())
        board = desk.fleet.boards["sim-1"]
        assert board.stats is not None
        board.stats = replace(board.stats, cpu_permille=125, temperature_mc=41_500)
        summary = await subject.summary()
        later = await scrape(subject)
        board.stats_at, board.tells_stats = None, False
        board.stats = None
        silent = await scrape(subject)
    heap = found.value("wirelet_device_heap_bytes", device="sim-1")
    used = found.value("wirelet_device_heap_used_bytes", device="sim-1")
    assert 0 < used <= heap
    assert found.value("wirelet_device_reading", device="sim-1", reading="boots") == 1
    assert resources.value("container_memory_working_set_bytes", namespace="default", pod="hello", container="main") == used
    usage = summary["pods"][0]["containers"][0]
    assert usage["memory"]["workingSetBytes"] == used
    assert usage["memory"]["availableBytes"] == heap - used
    assert usage["cpu"]["usageNanoCores"] == 125_000_000
    assert later.value("wirelet_device_temperature_celsius", device="sim-1") == 41.5
    assert later.value("wirelet_device_cpu_ratio", device="sim-1") == 0.125
    assert [key for key in silent.values if key[0].startswith("wirelet_device_heap")] == []


HOOKS = """
apiVersion: wirelet.dev/v1alpha1
kind: GatewayConfiguration
node: {name: pi}
classes:
- name: esp32
  keepalive: 250ms
  hooks:
    reset: {command: [curl, -u, "user:hunter2", "http://pdu"], deadline: 20s}
    power: {on: {command: [relay, secret]}, off: {command: [relay, secret]}}
devices: [{name: a, class: esp32, link: {serial: {path: /dev/ttyUSB0}}}]
"""


def test_the_published_configuration_is_a_configuration_without_the_arguments_of_hooks() -> None:
    document = published(parse(HOOKS))
    text = json.dumps(document)
    assert "hunter2" not in text
    assert "secret" not in text
    hooks = document["classes"][0]["hooks"]
    assert (hooks["reset"]["command"], hooks["reset"]["deadline"]) == (["curl"], "20s")
    assert hooks["power"] == {
        "on": {"command": ["relay"], "deadline": "10s"},
        "off": {"command": ["relay"], "deadline": "10s"},
        "cycle": None,
    }
    again = check(document)
    assert again.classes[0].keepalive == 0.25
    assert again.devices == parse(HOOKS).devices


def test_the_process_knows_what_it_takes() -> None:
    usage = read_usage()
    assert 0 < usage.working_set_bytes <= usage.resident_bytes
    assert usage.started_at_s < usage.at_s
    assert usage.cpu_s > 0
    assert usage.open_files > 2
