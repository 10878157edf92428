"""What a fork of the agent becomes: a program, a Python module, or a server of calls."""

from __future__ import annotations

import grp
import os
import pickle
import pwd
import runpy
import signal
import sys
import traceback
from typing import Any, Final, NoReturn

from guest.messages import Call, Decoder, Kind, Raised, Returned, Start, encode

ANSWERS: Final = 3
"""Descriptor on which a server of calls writes; 0 to 2 are as usual."""
READ_BYTES: Final = 65536
EXIT_UNCAUGHT: Final = 1
EXIT_NOT_FOUND: Final = 127
"""As of a shell."""


def become(start: Start, stdin: int, output: int, answers: int) -> NoReturn:
    """In the child, right after the fork. The three descriptors are none of 0 to 3."""
    exit_code = EXIT_UNCAUGHT
    try:
        os.setpgid(0, 0)
        for old, new in ((stdin, 0), (output, 1), (output, 2), (answers, ANSWERS)):
            os.dup2(old, new)
        os.closerange(ANSWERS + 1, os.sysconf("SC_OPEN_MAX"))
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # they are text files here
        os.environ.update(start.env)
        if start.user:
            _change_user(start.user, start.groups)
        exit_code = _run(start)
    except BaseException:  # the process ends here whatever happened, and says why
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(exit_code)


def _change_user(name: str, groups: tuple[str, ...]) -> None:
    user = pwd.getpwnam(name)
    os.setgroups([user.pw_gid, *(grp.getgrnam(group).gr_gid for group in groups)])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=name)


def _run(start: Start) -> int:
    match start.kind:
        case Kind.PROGRAM:
            os.set_inheritable(ANSWERS, False)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            try:
                os.execvp(start.argv[0], start.argv)
            except FileNotFoundError as error:
                print(error, file=sys.stderr)
                return EXIT_NOT_FOUND
        case Kind.MODULE:
            os.close(ANSWERS)
            return _run_module(start.argv)
        case Kind.CALLS:
            serve_calls()
            return 0


def _run_module(argv: tuple[str, ...]) -> int:
    sys.argv = list(argv)
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return EXIT_UNCAUGHT
        return end.code or 0
    return 0


def serve_calls() -> None:
    """Until the end of stdin."""
    decoder = Decoder()
    kept: Any = None
    while data := os.read(0, READ_BYTES):
        for call in decoder.receive_data(data):
            try:
                value = _make(call, kept)
                if call.keeps:
                    kept, value = value, None
                answer = encode(Returned(value))
            except Exception as error:  # carried over to the one who called
                answer = encode(Raised(_if_picklable(error), traceback.format_exc()))
            while answer:
                answer = answer[os.write(ANSWERS, answer) :]


def _make(call: Call, kept: Any) -> Any:
    function = getattr(kept, call.function) if isinstance(call.function, str) else call.function
    return function(*call.args)


def _if_picklable(error: Exception) -> Exception | None:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its __reduce__ does
        return None
    return error
