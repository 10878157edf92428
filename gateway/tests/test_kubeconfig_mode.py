"""Credentials that others may read are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import tell_if_shared


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o644, 1), (0o606, 1)])
def test_a_kubeconfig_that_others_may_use_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, told: int) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    kubeconfig.chmod(mode)
    tell_if_shared(kubeconfig)
    assert len(caplog.messages) == told


def test_a_kubeconfig_that_is_not_there_is_told_by_who_reads_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tell_if_shared(tmp_path / "none")
    assert caplog.messages == []
