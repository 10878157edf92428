"""A container as a script for MicroPython: the words of a python command line become code, with argv and environ at hand. Pure.

`exec` gives the program names of its own, so that nothing is left for the next one. SystemExit is caught: on most boards it would be a
soft reset. Its code comes back as the text of an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from transports.protocols.console.typed import Untypable

MAX_SCRIPT_BYTES: Final = 16 * 1024
"""More than fits the heap of most boards."""
INTERPRETERS: Final = frozenset({"micropython", "python", "python3"})
"""As the first word of a command they are left out."""

STATEMENT_BYTES: Final = 60
"""The smallest boards keep 64 bytes of input, and nothing holds a sender back."""
RUN: Final = b"exec(''.join(_s))"
"""The last statement."""

_SCRIPT: Final = """\
_s=_a=None
argv={argv}
environ={environ}
try:
 import sys
 sys.argv.clear();sys.argv.extend(argv)
except Exception:pass
_w=0
try:
 {run}
except SystemExit as e:
 _w=e.args[0] if e.args else 0
if _w is None:_w=0
if type(_w) is not int:
 print(_w);_w=1
del argv,environ
if _w:raise Exception("{mark}%d"%(_w&255))
"""


def script(argv: Sequence[str], env: Sequence[str], nonce: str) -> bytes:
    """Plain ASCII without control characters but line ends. argv is `-c CODE`, `-m MODULE` or a file of the board, and its arguments.

    Raises Untypable.
    """
    words = list(argv)
    if words and words[0].rpartition("/")[2] in INTERPRETERS:
        del words[0]
    environ = {name: value for name, _, value in (each.partition("=") for each in env)}
    made = _SCRIPT.format(argv=ascii(_argv(words)), environ=ascii(environ), run=_run(words), mark=mark(nonce)).encode()
    if len(made) > MAX_SCRIPT_BYTES:
        raise Untypable(f"command, args and env are {len(made)} bytes for MicroPython, more than {MAX_SCRIPT_BYTES}")
    return made


def statements(made: bytes) -> list[bytes]:
    """What to execute one after another before RUN, each at most STATEMENT_BYTES with its end: the script, piece by piece."""
    text, made_of = made.decode(), [b"_s=[];_a=_s.append"]
    while text:
        size = STATEMENT_BYTES
        while len(statement := f"_a({text[:size]!a})") >= STATEMENT_BYTES:
            size -= 1
        made_of.append(statement.encode())
        text = text[size:]
    return made_of


def mark(nonce: str) -> str:
    """What the exception's text begins with that brings an exit code."""
    return f"WIRELET-{nonce}:"


def _argv(words: Sequence[str]) -> list[str]:
    """As Python has it: the code and the module's name are no arguments."""
    return [words[0], *words[2:]] if words[:1] in (["-c"], ["-m"]) else list(words)


def _run(words: Sequence[str]) -> str:
    names = "{'__name__':'__main__','argv':argv,'environ':environ}"
    match words:
        case ["-c", code, *_]:
            return f"exec({code!a},{names})"
        case ["-m", module, *_]:
            return f"__import__({module!a})"
        case [file, *_] if not file.startswith("-"):
            return f"exec(open({file!a}).read(),{names})"
        case _:
            raise Untypable("a console with profile micropython runs `-c CODE`, `-m MODULE` or a FILE of the board: the command says none")
