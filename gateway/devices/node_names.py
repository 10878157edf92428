"""Takes the names of device files out of a text that leaves this machine. Pure.

/dev/ttyUSB0 is another board tomorrow, so an object of the API that names it would lie to whoever reads it then.
"""

from __future__ import annotations

import re
from typing import Final

_PORT: Final = "the port"
_NODE: Final = re.compile(r"(?:/dev/|\btty)[^\s:;,'\")]+")


def without_nodes(text: str, link_name: str) -> str:
    """text about the device whose link is called link_name: a path, or what the configuration says instead."""
    if "/" in link_name:
        text = text.removeprefix(f"{link_name}: ").replace(link_name, _PORT)
    return _NODE.sub(_PORT, text)
