"""`wirelet lend DEVICE -- COMMAND`: the gateway closes the device's port, the command runs, the gateway opens the port again.

The device is lent for as long as this process lives, however it ends: the gateway sees the connection go. A gateway that is started
meanwhile sees the lock that this process and the command hold.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import getpass
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.cli.client import Client, ClientError, add_socket_argument, socket_path
from gateway.cli.progress import waiting
from gateway.cli.targets import Ambiguous, program_of

NOT_RUN: Final = 127
"""What a shell says of a command that it does not find."""
PORT: Final = "{port}"
MAX_HOLDER_BYTES: Final = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument("--link", metavar="ROLE", default="", help="not the device's own port but that of its console or debug link")
    parser.add_argument(
        "argv",
        metavar="-- PROGRAM",
        nargs=argparse.REMAINDER,
        help=f"run with WIRELET_PORT and ESPTOOL_PORT in its environment; {PORT} in an argument is the port, too",
    )
    add_socket_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: the command's, 128 + its signal, 127 when it cannot be run; 1 when the device is not lent; 2 without a command."""
    try:
        argv = program_of(arguments.argv, f"wirelet lend {arguments.device} -- esptool flash-id")
    except Ambiguous as error:
        print(f"wirelet lend: {error}", file=sys.stderr)
        return 2
    borrower = f"{_user()}: {argv[0]}"  # no more: the arguments may hold a password, and a condition of the Node says this
    try:
        with contextlib.ExitStack() as loan:
            with waiting(f"the gateway closes the port of {arguments.device}"):
                lent = loan.enter_context(Client(socket_path(arguments.socket)).lent(arguments.device, borrower, arguments.link))
            lock = loan.enter_context(_locked(lent.fence, borrower))
            return _run([word.replace(PORT, lent.port) for word in argv], arguments.device, lent.port, lock)
    except (ClientError, _StillHeld) as error:
        print(f"wirelet lend: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"wirelet lend: {error.filename or 'the lock of the loan'}: {error.strerror}; run this as the user the gateway runs as",
            file=sys.stderr,
        )
        return 1


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody has given this one a name
        return str(os.getuid())


class _StillHeld(Exception):
    """A command of an earlier loan has outlived it."""


@contextlib.contextmanager
def _locked(fence: Path, borrower: str) -> Iterator[int]:
    """The locked file, which says who borrows."""
    lock = os.open(fence, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, MAX_HOLDER_BYTES).decode(errors="replace").strip()
            raise _StillHeld(f"what was lent before is still in use by {holder}; end that program, and try again") from error
        os.ftruncate(lock, 0)
        os.write(lock, f"{borrower}\n".encode())
        yield lock
    finally:
        os.close(lock)


def _run(argv: list[str], device: str, port: str, lock: int) -> int:
    """lock stays open in the command, and so locked until that has ended too."""
    environment = {**os.environ, "WIRELET_DEVICE": device, "WIRELET_PORT": port, "ESPTOOL_PORT": port}
    try:
        command = subprocess.Popen(argv, env=environment, pass_fds=[lock])
    except OSError as error:
        print(f"wirelet lend: cannot run {argv[0]}: {error.strerror}; install it, or give its path", file=sys.stderr)
        return NOT_RUN
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's, which has the terminal, too
    try:
        code = command.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code
