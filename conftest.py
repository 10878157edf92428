"""Marks what Hypothesis generates as `property`, so that `make check` stays quick and `make test` runs it as a stage of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["transports.testing.labels"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)
