"""No test run leaves processes behind, whatever ends it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from processes import Process, Reaper, free_port

HERE = Path(__file__).parent
OWNER = """
import sys
from pathlib import Path
from processes import Process, Reaper
child = Process("sleeper", ["sleep", "300"], Path(sys.argv[1]), Reaper())
child.start()
print(child.pid, flush=True)
sys.stdin.read()
"""
DEADLINE_S = 10


def test_a_killed_owner_takes_its_processes_along(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "log")], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        child = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
    try:
        # A pidfd becomes readable when its process ends.
        assert select.select([child], [], [], DEADLINE_S)[0]
    finally:
        os.close(child)


def test_a_process_is_stopped_and_started_again(tmp_path: Path) -> None:
    reaper = Reaper()
    sleeper = Process("sleeper", ["sleep", "300"], tmp_path / "log", reaper)
    sleeper.start()
    first = sleeper.pid
    sleeper.stop()
    sleeper.stop()
    assert sleeper.has_ended
    sleeper.start()
    assert sleeper.is_running
    assert sleeper.pid != first
    sleeper.stop(signal.SIGKILL)
    reaper.close()


def test_the_last_lines_of_a_process_are_kept(tmp_path: Path) -> None:
    reaper = Reaper()
    talker = Process("talker", ["sh", "-c", "seq 100; exit 3"], tmp_path / "log", reaper)
    talker.start()
    end = os.pidfd_open(talker.pid)
    assert select.select([end], [], [], DEADLINE_S)[0]
    os.close(end)
    assert talker.has_ended
    assert talker.log_tail(2) == "99\n100"
    reaper.close()


def test_free_ports_stay_clear_of_outgoing_connections() -> None:
    assert all(20000 <= free_port() < 32000 for _ in range(20))
