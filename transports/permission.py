"""Who may open a file of /dev, in words for whoever was refused."""

from __future__ import annotations

import grp
import os


def who_may(path: str) -> str:
    """The end of a sentence, or nothing when it is not known. Asks the file system; not for the event loop."""
    try:
        status = os.stat(path)
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return ""
    if status.st_mode & 0o060 != 0o060:
        return f"; its mode is {status.st_mode & 0o777:o}, owner {status.st_uid}, group {group}"
    return f"; members of the group {group} may"
