"""The lock around a lent port."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

from gateway.devices.fences import MAX_TEXT_BYTES, SOMEBODY, Fence


def test_a_fence_names_its_holder_until_the_last_program_that_has_it_ends(tmp_path: Path) -> None:
    fence = Fence(tmp_path / "lent", "board/a")
    assert fence.borrower() is None
    with fence.path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("ann: esptool\n")
        lock.flush()
        program = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    assert Fence(tmp_path / "lent", "board/a").borrower() == "ann: esptool"  # the lender is gone, its program is not
    program.communicate(timeout=10)
    assert fence.borrower() is None


def test_a_fence_without_a_name_is_held_by_somebody_and_a_long_one_is_cut(tmp_path: Path) -> None:
    fence = Fence(tmp_path / "lent", "a")
    with fence.path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert fence.borrower() == SOMEBODY
        lock.write("x" * 4096)
        lock.flush()
        assert fence.borrower() == "x" * MAX_TEXT_BYTES


def test_two_devices_have_two_fences(tmp_path: Path) -> None:
    assert Fence(tmp_path, "a").path != Fence(tmp_path, "b").path
