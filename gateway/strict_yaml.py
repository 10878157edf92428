"""YAML as Kubernetes reads it: of two equal keys neither is silently taken, and what is wrong with a text is said in plain words."""

from __future__ import annotations

from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """A key that is there twice in one mapping is a ComposerError. It is looked for before merges (`<<`) bring keys of other mappings."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.composer.ComposerError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def problem_of(error: yaml.MarkedYAMLError) -> str:
    """Without the line, which is error.problem_mark's."""
    problem = error.problem or error.context or "cannot be read"
    return "there is a tab; indent with spaces" if problem.startswith("found character '\\t'") else problem
