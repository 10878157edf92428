"""Is `transports` ours? Another distribution on PyPI has a package of that name, and pip lays the two over each other without a word.

Then half of our modules are gone and errors appear anywhere. So the commands that need devices look first.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

_NEXT_STEP: Final = "install wirelet alone: pipx install wirelet, or a virtual environment of its own"


def clash_of_transports() -> str | None:
    """One line when the package `transports` is not, or not only, ours; None when all is well."""
    ours = Path(__file__).resolve().parents[2] / "transports"
    found = importlib.util.find_spec("transports")
    if found is None or found.origin is None:
        return f"the package 'transports' is missing; {_NEXT_STEP}"
    directory = Path(found.origin).resolve().parent
    if directory != ours:
        return f"another package 'transports' ({directory}) hides ours; {_NEXT_STEP}"
    try:
        other = distribution("transports")
    except PackageNotFoundError:
        return None
    if Path(str(other.locate_file("transports"))).resolve() != ours:
        return None  # it is somewhere behind us on the path
    return f"the distribution 'transports' {other.version} is installed over ours in {directory}; {_NEXT_STEP}"
