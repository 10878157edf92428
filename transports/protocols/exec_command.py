"""What is asked of a container as a script for sh on the target: every word between single quotes, so that no shell reads anything into it.

Pure. What no script can say, or is too long for a kernel, is refused here with both sizes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from transports.errors import LocalProtocolError
from transports.protocol import StartWorkload

MAX_WORD_BYTES: Final = 131071
"""Of Linux (MAX_ARG_STRLEN), for each argument and each variable."""
MAX_SCRIPT_BYTES: Final = 1 << 20
"""Half of what Linux gives argv and environment together; a pod's ConfigMap cannot be larger."""
CANNOT_CHANGE_DIRECTORY: Final = 126

_PLAIN_NAME: Final = re.compile(r"[^=\0]+")


def quoted(word: str) -> str:
    """The word for sh: between single quotes nothing has a meaning but the next single quote."""
    return "'" + word.replace("'", "'\\''") + "'"


def job_script(request: StartWorkload) -> bytes:
    """Lines that end with a newline. argv is the whole command; without any, the image's name is. Raises LocalProtocolError."""
    return script_of(request.args or (request.program,), request.env, request.working_dir)


def command_line(argv: Sequence[str], env: Sequence[str], working_dir: str) -> str:
    """The same for the shell of a login, which gets it as one argument. Raises LocalProtocolError."""
    line = f"exec sh -c {quoted(script_of(argv, env, working_dir).decode())}"
    _check(line)
    return line


def script_of(argv: Sequence[str], env: Sequence[str], working_dir: str) -> bytes:
    """See job_script."""
    for word in (*argv, *env, working_dir):
        _check(word)
    for variable in env:
        if not _PLAIN_NAME.match(variable):
            raise LocalProtocolError(f"{variable!r} has no name of a variable")
    directory = quoted(working_dir) if working_dir else '"$HOME"'
    lines = [f"cd -- {directory} || exit {CANNOT_CHANGE_DIRECTORY}"]
    # env, not export: it takes names that no shell would. It would take a program with `=` in its name for a variable, too.
    program = ("sh", "-c", '"$0" "$@"', *argv) if "=" in argv[0] else argv
    lines.append(" ".join(["exec env --", *map(quoted, env), *map(quoted, program)]))
    script = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
    if len(script) > MAX_SCRIPT_BYTES:
        raise LocalProtocolError(f"command and environment of {len(script)} bytes exceed {MAX_SCRIPT_BYTES}")
    return script


def _check(word: str) -> None:
    if "\0" in word:
        raise LocalProtocolError(f"{word[:40]!r} has a NUL character, which no argument and no variable can hold")
    size = len(word.encode("utf-8", "surrogateescape"))
    if size > MAX_WORD_BYTES:
        raise LocalProtocolError(f"{word[:40]!r}... of {size} bytes exceeds {MAX_WORD_BYTES}, the most that Linux takes for one word")
