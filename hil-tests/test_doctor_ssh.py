"""`wirelet doctor` for devices behind sshd: what a real one with other limits than the shipped ones does to them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from gateways import WIRELET
from sshd import Sshd, running

DEVICES: Final = 6


@pytest.fixture(autouse=True)
def sshd(need: Callable[[str], None]) -> None:
    need("sshd")


def findings(folder: Path, server: Sshd, devices: int = 1) -> tuple[list[str], list[str]]:
    """Of an examination with that server behind the devices: those that need a hand, and the notes."""
    file = folder / "gateway.yaml"
    document = {
        "apiVersion": "wirelet.dev/v1alpha1",
        "kind": "GatewayConfiguration",
        "node": {"name": "desk"},
        "classes": [{"name": "sbc", "protocol": "exec"}],
        "devices": [{"name": f"rack-{number}", "class": "sbc", "link": server.link()} for number in range(devices)],
    }
    file.write_text(json.dumps(document))
    argv = [*WIRELET, "doctor", "--config", str(file), "--socket", "/nowhere"]
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    lines = ran.stderr.splitlines()
    return [line for line in lines if line.startswith("rack-")], [line for line in lines if line.startswith("note: rack-")]


def setting_of(finding: str) -> dict[str, str]:
    """What a finding says to write into sshd_config."""
    name, value = finding.partition("in its sshd_config: ")[2].partition(";")[0].split()
    return {name: value}


def test_an_sshd_that_drops_logins_at_once_is_found_until_it_takes_them(tmp_path: Path) -> None:
    with running(tmp_path / "few", MaxStartups="2:100:3") as server:
        told, _ = findings(tmp_path, server, DEVICES)
        assert findings(tmp_path, server, devices=2)[0] == []
    finding = next(line for line in told if "drops logins" in line)
    assert finding.startswith(f"rack-0: {DEVICES} devices log in to ssh://")
    with running(tmp_path / "mended", **setting_of(finding)) as server:
        assert findings(tmp_path, server, DEVICES)[0] == []


def test_an_sshd_that_starts_no_commands_is_found_until_it_does(tmp_path: Path) -> None:
    with running(tmp_path / "none", MaxSessions="0") as server:
        (finding,), _ = findings(tmp_path, server)
    assert "logged in, but the command was not started" in finding
    with running(tmp_path / "mended", **setting_of(finding)) as server:
        assert findings(tmp_path, server)[0] == []


def test_who_may_not_log_in_is_told_what_is_missing_there(tmp_path: Path) -> None:
    with running(tmp_path / "sshd") as server:
        allowed = server.folder / "authorized_keys"
        key = allowed.read_text()
        allowed.write_text("")
        (finding,), _ = findings(tmp_path, server)
        assert f"put the public key into ~{server.user}/.ssh/authorized_keys there" in finding
        allowed.write_text(key)
        assert findings(tmp_path, server)[0] == []


def test_an_sshd_that_never_looks_for_its_clients_is_noted(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("root")  # `sshd -T` of Debian 12 tells nobody else
    with running(tmp_path / "shipped") as server:
        told, (note,) = findings(tmp_path, server)
    assert told == []
    assert "never looks whether its clients live" in note
    with running(tmp_path / "mended", **setting_of(note)) as server:
        assert findings(tmp_path, server) == ([], [])
