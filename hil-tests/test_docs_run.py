"""Pages of the documentation whose blocks are run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
TIMEOUT_S: Final = 90.0
"""The script of the CI page itself gives the pod a minute."""


def test_the_script_for_ci_passes_with_its_pod_and_fails_with_another(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "run-a-ci-test-with-a-simulated-board.md").read_text()
    configuration, pod, script = re.findall(r"^```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[:3]
    (tmp_path / "pods").mkdir()
    (tmp_path / "gateway.yaml").write_text(configuration)
    for manifest, is_passed in ((pod, True), (pod.replace('"300"', '"299"'), False)):
        (tmp_path / "pods" / "job.yaml").write_text(manifest)
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        ran = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert (ran.returncode == 0) is is_passed, (ran, (tmp_path / "gateway.log").read_text())
