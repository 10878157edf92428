"""Views find fields where they stand and default what the API server would have defaulted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.pods.times import format_time, parse_time
from gateway.pods.view import PodView, RestartPolicy


def test_a_bare_manifest_reads_as_the_api_server_would_default_it() -> None:
    view = PodView({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    assert (view.namespace, view.restart_policy, view.grace_s, view.service_account) == ("default", RestartPolicy.ALWAYS, 30.0, "default")
    assert (view.phase, view.is_terminal, view.is_deleting, view.controller_uid) == ("Pending", False, False, None)
    assert view.containers[0].path == "spec.containers[0]"
    assert view.labels == {}


def test_the_grace_of_a_deletion_wins_even_when_it_is_zero() -> None:
    view = PodView({"metadata": {"deletionGracePeriodSeconds": 0, "deletionTimestamp": "x"}, "spec": {"terminationGracePeriodSeconds": 60}})
    assert (view.grace_s, view.is_deleting) == (0.0, True)
    assert PodView({"spec": {"terminationGracePeriodSeconds": 60}}).grace_s == 60.0


def test_only_the_controlling_owner_counts() -> None:
    owners = [{"kind": "ConfigMap", "uid": "a"}, {"kind": "DaemonSet", "uid": "b", "controller": True}]
    view = PodView({"metadata": {"ownerReferences": owners}})
    assert (view.controller_uid, view.is_daemon) == ("b", True)


@pytest.mark.parametrize(
    ("written", "unix_s"),
    [
        ("1970-01-01T00:01:40Z", 100.0),
        ("1970-01-01T00:01:40.5+00:00", 100.5),
        (datetime(1970, 1, 1, 0, 1, 40), 100.0),
        (datetime(1970, 1, 1, 0, 1, 40, tzinfo=UTC), 100.0),
        ("soon", None),
        (None, None),
        (5, None),
    ],
)
def test_times_are_read_wherever_they_come_from(written: object, unix_s: float | None) -> None:
    assert parse_time(written) == unix_s


def test_times_are_written_in_whole_seconds() -> None:
    assert format_time(1_700_000_000.9) == "2023-11-14T22:13:20Z"
