"""Boards that come and go: what the gateway's watch of ports makes of it, on real libudev and a real netlink socket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import hotplug_stories
import pytest
import umockdev

DEADLINE_S: Final = 100
HERE: Final = Path(__file__).parent


@pytest.mark.parametrize("story", hotplug_stories.STORIES)
def test_story(story: str, need: Callable[[str], None], tmp_path: Path) -> None:
    need("umockdev")
    given = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}", "HOTPLUG_FOLDER": str(tmp_path)}
    argv = [sys.executable, str(HERE / "hotplug_stories.py"), story]
    told = subprocess.run(argv, env=umockdev.environment(given), capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert told.stdout == "ok\n", told.stderr


def test_events_that_are_lost_are_found_again_by_a_look(need: Callable[[str], None]) -> None:
    need("umockdev")  # for its namespaces
    script = 'mount -t tmpfs none /run && mkdir /run/udev && touch /run/udev/control && exec "$@"'
    story = hotplug_stories.events_that_are_lost_are_found_again_by_a_look.__name__
    argv = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, str(HERE / "hotplug_stories.py"), story]
    given = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"}
    told = subprocess.run(argv, env=given, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert told.stdout == "ok\n", told.stderr
