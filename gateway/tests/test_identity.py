"""Numbers and tags that must never change: devices keep them over every restart and update of the gateway."""

from __future__ import annotations

import pytest

from gateway.devices.identity import container_id, is_unnamed, uid_of_tag, uid_without_tag, unnamed, workload_id, workload_tag

UID = "6f1f4a52-6d0c-4c8e-9a55-0d5f0d9a3c01"


def test_the_numbers_of_a_run_are_frozen() -> None:
    assert workload_id(UID, "main") == 0x72D8D19B
    assert workload_tag(UID, "main").hex() == "6f1f4a526d0c4c8e9a550d5f0d9a3c01026e63cb9e60d1ef"
    assert container_id(0x72D8D19B, 3) == "wirelet://72d8d19b-3"


def test_a_tag_gives_back_its_pod() -> None:
    assert uid_of_tag(workload_tag(UID, "main")) == UID


@pytest.mark.parametrize("tag", [b"", b"short", bytes(23), bytes(25)])
def test_a_foreign_tag_is_no_pod(tag: bytes) -> None:
    assert uid_of_tag(tag) is None


def test_containers_of_a_pod_are_told_apart() -> None:
    assert len({workload_id(UID, name) for name in ("main", "side", "init")}) == 3
    assert len({workload_tag(UID, name) for name in ("main", "side", "init")}) == 3


def test_a_uid_that_is_no_uuid_has_a_tag_too() -> None:
    assert len(workload_tag("mirror-0123", "main")) == 24


def test_names_of_runs_without_a_name_cannot_be_names_of_containers() -> None:
    assert is_unnamed(unnamed(7))
    assert not is_unnamed("wid-00000007")
    assert uid_without_tag(7) == "unknown-00000007"
