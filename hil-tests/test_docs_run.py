"""Pages of the documentation whose blocks are run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from gateways import WIRELET
from processes import Process
from workbench import Workbench

ROOT: Final = Path(__file__).resolve().parents[1]
TIMEOUT_S: Final = 90.0
"""The script of the CI page itself gives the pod a minute."""
PATH: Final = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```\w+\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def test_the_readme_without_a_cluster_shows_a_log(tmp_path: Path, workbench: Workbench) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    board, gateway = [block for block in blocks(ROOT / "README.md") if "cd examples/standalone" in block]

    def terminal(name: str, typed: str) -> Process:
        there = f"cd {tmp_path}\nexport PATH={PATH}\n"
        return workbench.process(name, ["sh", "-c", there + typed.replace("\nwirelet", "\nexec wirelet")], has_stdin=True)

    terminal("board", board)
    run = terminal("gateway", gateway)

    def shown(*words: str) -> str:
        # From its folder: the whole path of a socket may be longer than the 107 bytes that Linux takes.
        folder, environment = tmp_path / "examples" / "standalone", {**os.environ, "WIRELET_SOCKET": "run/wirelet.sock"}
        ran = subprocess.run(
            [*WIRELET, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        return ran.stdout + ran.stderr

    run.wait_for(lambda: "1/1" in shown("get", "pods"), "the pod", timeout_s=TIMEOUT_S)
    assert "Ready" in shown("get", "devices")
    assert shown("logs", "counter").startswith("1\n")


def test_the_script_for_ci_passes_with_its_pod_and_fails_with_another(tmp_path: Path) -> None:
    configuration, pod, script = blocks(ROOT / "docs" / "how-to" / "run-a-ci-test-with-a-simulated-board.md")[:3]
    (tmp_path / "pods").mkdir()
    (tmp_path / "gateway.yaml").write_text(configuration)
    for manifest, is_passed in ((pod, True), (pod.replace('"300"', '"299"'), False)):
        (tmp_path / "pods" / "job.yaml").write_text(manifest)
        environment = {**os.environ, "PATH": PATH}
        ran = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert (ran.returncode == 0) is is_passed, (ran, (tmp_path / "gateway.log").read_text())
