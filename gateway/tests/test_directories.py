"""Where things are kept, and that two gateways never share them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gateway.config import parse
from gateway.directories import Directories, choose_directories
from gateway.errors import ConfigError

PLAIN = "node: {name: desk}\n"


@pytest.mark.parametrize(
    ("text", "environment", "is_root", "runtime", "state"),
    [
        (PLAIN, {}, True, "/run/wirelet", "/var/lib/wirelet"),
        (PLAIN, {"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/a"}, False, "/run/user/7/wirelet", "/home/a/.local/state/wirelet"),
        (PLAIN, {"XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s"}, False, "/r/wirelet", "/s/wirelet"),
        (PLAIN, {"HOME": "/home/a"}, False, f"/dev/shm/wirelet-{os.getuid()}", "/home/a/.local/state/wirelet"),
        (PLAIN + "runtimeDirectory: ./run\nstateDirectory: /srv/s\n", {}, True, "run", "/srv/s"),
    ],
)
def test_directories_follow_the_configuration_then_the_user(
    text: str, environment: dict[str, str], is_root: bool, runtime: str, state: str
) -> None:
    assert choose_directories(parse(text), environment, is_root=is_root) == Directories(Path(runtime), Path(state))


def test_a_second_gateway_is_refused_before_it_touches_anything(tmp_path: Path) -> None:
    first = Directories(tmp_path / "run", tmp_path / "state").take()
    with pytest.raises(ConfigError, match="runtimeDirectory: another gateway uses"):
        Directories(tmp_path / "run", tmp_path / "other").take()
    with pytest.raises(ConfigError, match="stateDirectory: another gateway uses"):
        Directories(tmp_path / "other-run", tmp_path / "state").take()
    first.close()
    Directories(tmp_path / "run", tmp_path / "state").take().close()


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    directories = Directories(tmp_path / "run", tmp_path / "state")
    directories.take().close()
    for path in (directories.runtime, directories.rings, directories.checkpoints, directories.state):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"stateDirectory: cannot use .*file/state: Not a directory"):
        Directories(tmp_path / "run", tmp_path / "file" / "state").take()


def test_a_directory_that_another_user_made_first_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "run", 4711, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 4712)
    with pytest.raises(ConfigError, match=r"runtimeDirectory: .*/run belongs to another user"):
        Directories(tmp_path / "run", tmp_path / "state").take()


def test_what_an_earlier_boot_of_the_machine_left_on_a_disk_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directories, boot = Directories(tmp_path / "run", tmp_path / "state"), tmp_path / "boot_id"
    ring, checkpoint, ledger = directories.rings / "a.ring", directories.checkpoints / "a", directories.state / "ledger.sqlite"
    boot.write_text("first\n")
    directories.take(boot).close()
    for path in (ring, checkpoint, ledger):
        path.write_text("held")
    directories.take(boot).close()
    assert ring.exists()
    assert caplog.messages == []
    boot.write_text("second\n")
    directories.take(boot).close()
    assert [path.exists() for path in (ring, checkpoint, ledger)] == [False, False, True]
    assert len(caplog.messages) == 1
    ring.write_text("new")
    directories.take(boot).close()
    assert ring.exists()
