"""A pytest plugin (`-p transports.testing.labels`): every contract case tells a junit report which contract, case, driver and stand it was.

They are set when a case is collected, so that one whose stand could not be made has them too.
"""

from __future__ import annotations

import pytest

from transports.testing.link_contract import LinkContract


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and item.cls is not None and issubclass(item.cls, LinkContract):
        labels = {"contract": "link", "case": item.originalname, "driver": item.cls.driver, "over": item.cls.over}
        item.user_properties += labels.items()
