"""The guest: Debian's kernel in QEMU on this machine's own root, with udev, USB buses, and an agent that runs what a test asks for.

One boot serves a whole test run. What a test plugs in it plugs out again; what it starts it ends. Files of the machine are there at the
same paths, as they were when the guest looked at them first; what the guest writes is gone with it.
"""

from __future__ import annotations

import compileall
import contextlib
import itertools
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from guest.image import HERE, QEMU, find_image, has_kvm
from guest.messages import CHANNEL, Answer, Decoder, Ended, Kind, Output, Ready, Start, encode
from guest.process import GuestError, GuestProcess
from guest.qmp import Qmp, QmpError
from processes import NotReady, Process, Reaper

T = TypeVar("T")

CHECKOUT: Final = HERE.parent.parent
PACKAGES: Final = ("gateway", "transports", "hil-tests/guest")
BOOT_TIMEOUT_S: Final = 240.0
"""Half a minute of one core by emulation."""
COMMAND_LINE_BYTES: Final = 2048
"""Of an x86 kernel."""
MEMORY_MIB: Final = 768
ANSWER_TIMEOUT_S: Final = 30.0
"""For the agent alone, which has only to be scheduled."""
READ_BYTES: Final = 65536
GONE: Final = -1
"""Exit code of what ran when the guest ended."""
SERIAL_BUS: Final = "xhci.0"
"""For QEMU's own adapters, which are full speed."""
REDIRECTED_BUS: Final = "ehci.0"
"""For devices that we emulate: this controller tells the truth about a transfer that was cancelled, xhci says it was done."""
REDIRECTED_SLOT: Final = 0x10
"""On the PCI bus, fixed for the names below by-path."""
REDIRECTED_PORTS: Final = range(1, 7)
MACHINE: Final = "10.0.2.2"
"""The machine's loopback address as the guest sees it."""


class Guest:
    """Boots when it is made, with its files in folder; close() ends it. preload: what Python processes in it need not import."""

    def __init__(self, folder: Path, reaper: Reaper, preload: Sequence[str]) -> None:
        self.folder = folder
        for package in PACKAGES:  # compiling takes the guest long, and it could not keep what it compiled
            compileall.compile_dir(str(CHECKOUT / package), quiet=1)
        self._numbers = itertools.count()
        self._processes: dict[int, GuestProcess] = {}
        self._free_ports = set(REDIRECTED_PORTS)
        self._is_ready = threading.Event()
        self._write = threading.Lock()
        self._console = folder / "console.log"
        self._qemu = Process("qemu", self._argv(find_image(), preload), folder / "qemu.log", reaper)
        self._qemu.start()
        try:
            self._qemu.wait_for(lambda: (folder / "qmp").exists() and (folder / "agent").exists(), "its sockets")
            self.qmp = Qmp(folder / "qmp")
            self._channel = socket.socket(socket.AF_UNIX)
            self._channel.connect(str(folder / "agent"))
            self._reader = threading.Thread(target=self._read, name="guest", daemon=True)
            self._reader.start()
            self._qemu.wait_for(self._is_ready.is_set, "the agent's first word", BOOT_TIMEOUT_S)
        except NotReady as late:
            self._qemu.stop()
            raise GuestError(f"{late}\n{self.console_tail()}") from late

    def _argv(self, image: Path, preload: Sequence[str]) -> list[str]:
        environment = f"BOOT={HERE / 'boot'} PYTHON={sys.executable} PYTHONPATH={HERE.parent} PRELOAD={','.join(preload)}"
        # no_timer_check: when the machine is busy the emulated timer seems broken to the kernel, and it gives up.
        kernel = "console=ttyS0 quiet loglevel=4 mitigations=off nokaslr nowatchdog no_timer_check panic=-1 random.trust_cpu=on"
        words = f"{kernel} {environment}"
        assert len(words) < COMMAND_LINE_BYTES, "the kernel would cut its command line"
        parts = {
            "accel": "kvm" if has_kvm() else "tcg,thread=multi",
            "machine": "pc",
            "cpu": "max",
            "smp": "1",  # emulated, two do less than one: each access of memory has to reckon with the other
            "m": str(MEMORY_MIB),
            "kernel": str(image / "kernel"),
            "initrd": str(image / "initrd.img"),
            "append": words,
            "serial": f"file:{self._console}",
            "qmp": f"unix:{self.folder / 'qmp'},server=on,wait=off",
            "virtfs": "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
            "netdev": "user,id=net0",
        }
        devices = (
            "virtio-net-pci,netdev=net0,romfile=",
            "virtio-serial-pci",
            f"virtserialport,chardev=agent,name={CHANNEL}",
            "qemu-xhci,id=xhci,p2=8,p3=8",
            f"usb-ehci,id=ehci,addr={REDIRECTED_SLOT:#x}",
        )
        argv = [QEMU, "-nodefaults", "-no-reboot", "-display", "none"]
        argv += [word for name, value in parts.items() for word in (f"-{name}", value)]
        argv += ["-chardev", f"socket,id=agent,path={self.folder / 'agent'},server=on,wait=off"]
        return argv + [word for device in devices for word in ("-device", device)]

    def close(self) -> None:
        """Every process in it has ended then. Idempotent."""
        self._qemu.stop()
        self._reader.join()
        self._channel.close()
        self.qmp.close()

    def explain_silence(self) -> str:
        """For a wait that was in vain. A guest that answers nothing at all is closed here, so that nothing else waits for it."""
        self._is_ready.clear()
        with contextlib.suppress(GuestError):
            self._send(Ready())
        if self._is_ready.wait(ANSWER_TIMEOUT_S):
            return "the guest itself answers"
        try:
            told = str(self.qmp.execute("query-status"))
        except (OSError, ValueError, QmpError) as silent:
            told = f"nothing ({silent!r}): does a far end not read?"
        self.close()
        return f"the guest answers nothing and was ended; QEMU said of itself {told}\n{self._qemu.log_tail()}\n{self.console_tail()}"

    def console_tail(self, lines: int = 15) -> str:
        text = self._console.read_text(errors="replace") if self._console.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # -- what runs in it

    def start(self, *argv: str, env: Mapping[str, str] | None = None, user: str = "", groups: tuple[str, ...] = ()) -> GuestProcess:
        """A program. user: by name, with no groups but its own and those named."""
        return self._start(Kind.PROGRAM, argv, env, user, groups)

    def start_module(self, *argv: str, env: Mapping[str, str] | None = None, user: str = "", groups: tuple[str, ...] = ()) -> GuestProcess:
        """As `python -m` argv, in a fork of a process that has imported much already."""
        return self._start(Kind.MODULE, argv, env, user, groups)

    def start_calls(self, *, user: str = "", groups: tuple[str, ...] = ()) -> GuestProcess:
        """A process for `call` and `keep`, until its end_input()."""
        return self._start(Kind.CALLS, ("calls",), None, user, groups)

    def run(self, *argv: str, check: bool = True) -> str:
        """A program to its end; what it said. Raises GuestError when it fails, unless check is False."""
        process = self.start(*argv)
        exit_code = process.wait()
        if check and exit_code:
            raise GuestError(f"{' '.join(argv)} ended with {exit_code}\n{process.output}")
        return process.output

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """function(*args) in a process of its own; see GuestProcess.call."""
        process = self.start_calls()
        try:
            return process.call(function, *args)
        finally:
            process.end_input()

    def _start(self, kind: Kind, argv: tuple[str, ...], env: Mapping[str, str] | None, user: str, groups: tuple[str, ...]) -> GuestProcess:
        number = next(self._numbers)
        process = self._processes[number] = GuestProcess(" ".join(argv), number, self._send, self.explain_silence)
        self._send(Start(number, kind, argv, env or {}, user, groups))
        return process

    # -- what is plugged into it

    def add_socket(self, name: str) -> Path:
        """A chardev of this name, for a device; who plays its far end connects to the path."""
        path = self.folder / name
        address = {"type": "unix", "data": {"path": str(path)}}
        backend = {"type": "socket", "data": {"addr": address, "server": True, "wait": False}}
        self.qmp.execute("chardev-add", {"id": name, "backend": backend})
        return path

    def remove_socket(self, name: str) -> None:
        """When its device has let go."""
        self.qmp.execute_when_free("chardev-remove", {"id": name})

    def take_port(self) -> int:
        """A free port of REDIRECTED_BUS, the lowest."""
        port = min(self._free_ports)
        self._free_ports.remove(port)
        return port

    def free_port(self, port: int) -> None:
        self._free_ports.add(port)

    # -- the channel

    def _send(self, message: object) -> None:
        try:
            with self._write:
                self._channel.sendall(encode(message))
        except OSError as error:
            raise GuestError(f"the guest is gone: {error}") from error

    def _read(self) -> None:
        """In a thread, until QEMU ends; then every process has ended, too."""
        try:
            with contextlib.suppress(ConnectionError):  # it ended with something unread
                self._dispatch(Decoder())
        finally:
            for process in list(self._processes.values()):
                process.ended(GONE)

    def _dispatch(self, decoder: Decoder) -> None:
        while data := self._channel.recv(READ_BYTES):
            for message in decoder.receive_data(data):
                match message:
                    case Ready():
                        self._is_ready.set()
                    case Output(number, text):
                        self._processes[number].said(text)
                    case Answer(number, answer):
                        self._processes[number].answered(answer)
                    case Ended(number, exit_code):
                        self._processes.pop(number).ended(exit_code)
