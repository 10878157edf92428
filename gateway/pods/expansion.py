"""$(VAR) references in command, args and env, exactly as Kubernetes expands them (third_party/forked/golang/expansion/expand.go). Pure.

$(NAME) becomes the value of NAME; an unknown NAME stays as written; $$ is one $, so $$(NAME) is the text $(NAME); a $ before anything else
stays; a value is not expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|\((?P<name>[^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """text with its references replaced."""

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        return variables.get(match["name"], match[0])

    return _REFERENCE.sub(value, text) if "$" in text else text
