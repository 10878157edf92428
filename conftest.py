"""Marks what Hypothesis generates as `property`, so that `make check` stays quick and `make test` runs it as a stage of its own.

Its examples have no deadline: a busy machine is no failure, and pytest-timeout ends what hangs.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("wirelet", deadline=None)
settings.load_profile("wirelet")

pytest_plugins = ["transports.testing.labels"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)
