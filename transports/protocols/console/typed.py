"""A container as lines that a person could type into a POSIX shell: nothing in them means anything to the terminal. Pure.

Command, arguments and environment become a script, whose bytes are typed as octal escapes, so that neither the terminal's control
characters nor a line editor's completion, nor the shell's quoting, ever see them. The script says where the output begins and ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MAX_SCRIPT_BYTES: Final = 16 * 1024
"""Typed that is four times as much: six seconds at 115200 baud."""
TYPED_BYTES: Final = 400
"""Of the script in one line. A terminal takes 4096 bytes, busybox's line editor 1024."""

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:,+@")
"""No blank, because a prompt has one: the echo of a typed line never looks like it. No dash, which would begin an option of printf."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MARK: Final = ("WIRELET-", "{kind}{nonce}")


class Untypable(ValueError):
    """A shell cannot be told this; the text says what."""


def quote(word: str) -> str:
    """word as one word of a POSIX shell, whatever is in it. Raises Untypable for a zero byte."""
    if "\0" in word:
        raise Untypable("a zero byte cannot be an argument or in the environment")
    return "'" + word.replace("'", "'\\''") + "'"


def script(argv: Sequence[str], env: Sequence[str], nonce: str, *, has_input: bool = False) -> str:
    """Runs argv in env (NAME=VALUE) as a child and prints both marks. With input it reads the console. Raises Untypable."""
    exports = []
    for each in env:
        name, _, value = each.partition("=")
        if not _NAME.fullmatch(name):
            raise Untypable(f"{name[:80]!r} is no name that a shell can export")
        exports.append(f"export {name}={quote(value)}; ")
    command = " ".join(map(quote, argv))
    begin, end = _print_mark("B", nonce, ""), _print_mark("E", nonce, ":$_x")
    made = f"{begin}; ({''.join(exports)}exec {command}){'' if has_input else ' </dev/null'}; _x=$?; {end}; unset _w"
    size_bytes = len(made.encode("utf-8", "surrogateescape"))
    if size_bytes > MAX_SCRIPT_BYTES:
        raise Untypable(f"command, args and env are {size_bytes} bytes for the shell, more than {MAX_SCRIPT_BYTES}")
    return made


def typed_lines(made: str) -> list[str]:
    """What to type, a line each, without the line ends. A prompt follows each but the last, which runs the script."""
    data = made.encode("utf-8", "surrogateescape")
    lines, at = [" unset HISTFILE _x; _w="], 0
    encoded = [chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in data]
    while at < len(encoded):
        piece, size = at, 0
        while piece < len(encoded) and size + len(encoded[piece]) <= TYPED_BYTES:
            size += len(encoded[piece])
            piece += 1
        # The x keeps what a command substitution takes away: line ends at its end.
        lines.append(f" _w=$_w$(printf '{''.join(encoded[at:piece])}x');_w=${{_w%x}}")
        at = piece
    return [*lines, ' eval "$_w"']


def question(nonce: str, *, only_ended: bool = False) -> str:
    """Typed at a prompt it prints the end's mark again: with the run's status, or with what the shell says if ^C took the script away.

    only_ended: then no status follows, and a shell that is the run itself says nothing of its end."""
    return f" {_print_mark('E', nonce, ':${_x-}' if only_ended else ':${_x-$?}')}"


def mark(kind: str, nonce: str) -> bytes:
    """B for begin, E for end; what a shell prints, and what no typed line contains."""
    return "".join(_MARK).format(kind=kind, nonce=nonce).encode()


def _print_mark(kind: str, nonce: str, status: str) -> str:
    before, after = _MARK
    return f"printf '\\n%s%s%s\\n' {before} {after.format(kind=kind, nonce=nonce)} \"{status}\""
