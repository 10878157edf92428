"""The documentation names every key that the configuration has, and its examples are valid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from gateway.config import Configuration, parse

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"


def leaf_keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = list(models(field.annotation))
        if inner:
            for section in inner:
                yield from leaf_keys(section)
        else:
            yield field.alias or name


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models(argument)


def test_every_key_is_in_the_reference() -> None:
    text = REFERENCE.read_text()
    assert not [key for key in leaf_keys(Configuration) if key not in text]


@pytest.mark.parametrize("page", [REFERENCE, ROOT / "README.md"], ids=lambda page: page.name)
def test_configurations_in_the_documentation_are_valid(page: Path) -> None:
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL) if "GatewayConfiguration" in block]
    assert blocks
    for block in blocks:
        parse(block)


def test_example_configurations_are_valid() -> None:
    for path in sorted((ROOT / "examples").rglob("gateway*.yaml")):
        parse(path.read_text())


def test_example_manifests_are_objects() -> None:
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            assert {"apiVersion", "kind"} <= document.keys(), path
