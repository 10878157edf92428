"""All devices of a gateway: builds boards, protocol cores, links and supervisors from the configuration, and tells what there is.

It knows no kind of link and no kind of protocol: their drivers are what gateway.drivers has loaded for the configuration.
"""

from __future__ import annotations

import functools
import random
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import anyio

from gateway import drivers
from gateway.config import ClassSection, Configuration, DeviceSection, HookSection, PowerSection, SideLinkSection
from gateway.devices.board import MOMENT_S, Board, Hook, LineReset
from gateway.devices.care import Care, Lender
from gateway.devices.events import DeviceEvents
from gateway.devices.fences import Fence
from gateway.devices.known_boards import KnownBoards
from gateway.devices.ledger import Ledger
from gateway.devices.output import DeviceOutput
from gateway.devices.port_addresses import Address, addresses_of
from gateway.devices.runbook import RunBook
from gateway.devices.runs import Runs, is_live
from gateway.devices.side_links import Recorder, SideLink
from gateway.devices.stats import refresh_stats
from gateway.devices.switched_off import SwitchedOff
from gateway.devices.talks import Talker, Talks
from gateway.devices.unused_ports import UnusedPorts
from gateway.devices.workloads import DeviceWorkloads
from gateway.logs.checkpoint import CheckpointFile, checkpoint_path
from gateway.logs.store import AttemptKey, LogStore
from gateway.pods.clock import SystemClock
from gateway.pods.seams import PodUid
from transports.device import Device
from transports.discovery.facts import PortFacts
from transports.discovery.monitor import PortMonitor
from transports.discovery.places import PortOpener
from transports.driver import DeviceFacts, SessionFacts
from transports.link import LineErrors, LinkOpener, ResettingOpener, RunningOpener
from transports.protocol import Counters, PausingProtocol

CLOCK: Final = SystemClock()


class Fleet:
    """Owns boards and supervisors. run() is their life; workloads and events are what the rest of the gateway talks to."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        ledger: Ledger,
        logs: LogStore,
        checkpoints: Path,
        loans: Path,
        pod_changed: Callable[[PodUid], None],
        wall_clock: Callable[[], float],
        loop_time: Callable[[], float] = CLOCK.now,
    ) -> None:
        self._configuration = configuration
        self._loop_time = loop_time
        self.ports = PortMonitor()
        self._openers: list[LinkOpener] = []
        self._all_openers: list[LinkOpener] = []
        """Those of side links, too."""
        self.unused_ports = UnusedPorts(self.ports, self._all_openers)
        self._devices: list[Device] = []
        self._lenders: dict[str, Lender] = {}
        self._talkers: dict[str, Talker] = {}
        self._checkpoints: list[CheckpointFile] = []
        self._rng = random.Random(secrets.randbits(64))
        gateway_id = secrets.randbits(32)
        entries = ledger.entries()
        for entry in entries:
            if not is_live(entry):
                logs.close_attempt(AttemptKey(entry.uid, entry.container, entry.gen))
        runs = Runs(entries)
        self._book = RunBook(runs, ledger, logs, pod_changed, wall_clock)
        self.boards: dict[str, Board] = {}
        self.known_boards = KnownBoards(ledger)
        self.events = DeviceEvents(self.boards, self._book, self.known_boards, loop_time, wall_clock)
        self.workloads = DeviceWorkloads(self.boards, self._book, self.events, loop_time)
        self.talks = Talks(self.boards, self._talkers, runs)
        self.side_links: dict[tuple[str, str], SideLink] = {}
        """(device, role) -> a further link of the device."""
        fences = {section.name: Fence(loans, section.name) for section in configuration.devices}
        switched_off = SwitchedOff(ledger)
        self.care = Care(self.boards, self._lenders, fences, self.side_links, switched_off, lambda: self.events.fleet_changed())
        for section in configuration.devices:
            self._add(section, configuration.class_of(section), runs, logs, checkpoints, gateway_id)
            for side in section.links:
                self._add_side_link(section.name, side, logs, checkpoints, loans)

    async def run(self) -> None:
        """Until cancelled: every supervisor, the drains and the stop ladders."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.ports.run)
            tasks.start_soon(self.events.run)
            tasks.start_soon(self.workloads.run)
            for opener in self._all_openers:
                if isinstance(opener, RunningOpener):
                    tasks.start_soon(opener.run)
            await tasks.start(self.care.respect)
            for device in self._devices:
                tasks.start_soon(device.run)
            for side in self.side_links.values():
                tasks.start_soon(side.run)

    def close(self) -> None:
        """Unmap the checkpoints; call after run() has ended."""
        for checkpoint in self._checkpoints:
            checkpoint.close()

    def capacities(self) -> Mapping[str, tuple[int, int]]:
        """class -> (capacity, allocatable) in slots."""
        now = self._loop_time()
        totals = {section.name: (0, 0) for section in self._configuration.classes}
        for board in self.boards.values():
            capacity, allocatable = totals[board.class_name]
            totals[board.class_name] = (capacity + board.slots, allocatable + board.slots * board.is_allocatable(now))
        return totals

    def allocatable_changes_at(self) -> float | None:
        """Loop time at which a device that is away becomes a problem or its grace ends, if none comes back before."""
        now = self._loop_time()
        away = [(board.away_since, board) for board in self.boards.values() if board.away_since is not None]
        ends = [end for since, board in away for end in (since + MOMENT_S, since + board.grace_s, board.excused_until)]
        return min((end for end in ends if end > now), default=None)

    async def free_addresses(self) -> Mapping[str, Address]:
        """Where the ports of the devices are that nobody has borrowed."""
        openers = zip(self.boards.values(), self._openers, strict=True)
        return await addresses_of({board.name: opener for board, opener in openers if not board.borrower})

    def counters(self) -> Mapping[str, Counters]:
        """device -> what its line carried since the gateway began."""
        return {device.name: device.counters for device in self._devices}

    def line_errors(self) -> Mapping[str, LineErrors]:
        """device -> what its UARTs counted since the gateway began; only devices behind one that counts."""
        return {device.name: errors for device in self._devices if (errors := device.line_errors) is not None}

    async def refresh_stats(self) -> None:
        """Ask the devices that tell stats for them, unless they did just now."""
        await refresh_stats(self.boards.values(), self._loop_time)

    def alone_on(self, device: str) -> tuple[PodUid, str] | None:
        """(pod, container) that has the whole device for itself: what the device uses is what it uses."""
        board, live = self.boards[device], self._book.runs.live_on(device)
        return (PodUid(live[0].uid), live[0].container) if board.slots == len(live) == 1 else None

    def slots_used(self, device: str) -> int:
        return self._book.slots.usage(device)[0]

    def problems(self) -> dict[str, str]:
        """device -> why it cannot take workloads now."""
        now = self._loop_time()
        return {board.name: board.told_problem or board.state for board in self.boards.values() if board.has_problem(now)}

    def device_of(self, uid: PodUid) -> str:
        """The devices of a pod, for a table."""
        return ",".join(sorted({place.device for place in self._book.slots.places(uid).values()}))

    # -- private

    def _add(
        self,
        section: DeviceSection,
        class_section: ClassSection,
        runs: Runs,
        logs: LogStore,
        checkpoints: Path,
        gateway_id: int,
    ) -> None:
        checkpoint = CheckpointFile(checkpoint_path(checkpoints, section.name))
        self._checkpoints.append(checkpoint)
        output = DeviceOutput(section.name, logs, checkpoint, runs)
        link, options = drivers.link(section.link.driver), section.link.options
        known = self.known_boards.boards.get(section.name)
        facts = DeviceFacts(
            name=section.name,
            class_name=class_section.name,
            slots=class_section.slots,
            boot_modes=class_section.vid_pids,
            ports=self.ports,
            last_hub_port=known.hub_port or None if known is not None else None,
        )
        opener = link.opener(options, facts)
        saved = output.saved()
        session = SessionFacts(
            gateway_id=gateway_id,
            keepalive_s=class_section.keepalive,
            line_bytes_per_s=link.bytes_per_s(options),
            rng=random.Random(self._rng.getrandbits(64)),
            refuses=functools.partial(self.events.refuses, section.name),
        )
        protocol = drivers.protocol(class_section.protocol.driver).protocol(class_section.protocol.options, saved, facts, session)
        pausing = protocol if isinstance(protocol, PausingProtocol) else None
        device = Device(
            section.name,
            opener,
            protocol,
            self.events,
            rng=random.Random(self._rng.getrandbits(64)),
            checkpoint=saved,
            read_pause_s=lambda: 0.0 if pausing is None or output.is_followed else pausing.read_pause_s,
        )
        self._openers.append(opener)
        self._all_openers.append(opener)
        self._devices.append(device)
        self._lenders[section.name] = self._talkers[section.name] = device
        power = class_section.hooks.power or PowerSection()
        self.boards[section.name] = Board(
            name=section.name,
            class_name=class_section.name,
            slots=class_section.slots,
            shared=class_section.shared,
            grace_s=class_section.grace,
            link_name=opener.name,
            requester=device,
            output=output,
            port=port_of(opener),
            wanted_id=section.device_id,
            names_a_board=isinstance(opener, PortOpener) and opener.names_a_board,
            reset_hook=_hook(class_section.hooks.reset) or _line_reset(opener, device),
            power_hook=_hook(power.cycle),
            power_on_hook=_hook(power.on),
            power_off_hook=_hook(power.off),
        )

    def _add_side_link(self, device: str, section: SideLinkSection, logs: LogStore, checkpoints: Path, loans: Path) -> None:
        name = f"{device}/{section.role}"
        link, options = drivers.link(section.link.driver), section.link.options
        facts = DeviceFacts(name=name, class_name="", slots=1, boot_modes=(), ports=self.ports, last_hub_port=None)
        opener = link.opener(options, facts)
        self._all_openers.append(opener)
        console = self._recording(name, opener, logs, checkpoints) if section.role == "console" else None
        self.side_links[device, section.role] = SideLink(device, section.role, opener, Fence(loans, name), console)

    def _recording(self, name: str, opener: LinkOpener, logs: LogStore, checkpoints: Path) -> tuple[Device, Recorder]:
        from transports.console_driver import recording_protocol  # few boards have such a link

        checkpoint = CheckpointFile(checkpoint_path(checkpoints, name))
        self._checkpoints.append(checkpoint)
        output = DeviceOutput(name, logs, checkpoint, Runs([]))
        recorder, saved = Recorder(output), output.saved()
        protocol = recording_protocol(saved, random.Random(self._rng.getrandbits(64)))
        rng = random.Random(self._rng.getrandbits(64))
        return Device(name, opener, protocol, recorder, rng=rng, checkpoint=saved), recorder


def _hook(section: HookSection | None) -> Hook | None:
    return None if section is None else Hook(section.command, section.deadline)


def port_of(opener: LinkOpener) -> Callable[[], PortFacts | None]:
    """How to learn where its device is plugged in."""
    return (lambda: opener.port) if isinstance(opener, PortOpener) else lambda: None


def _line_reset(opener: LinkOpener, device: Device) -> LineReset | None:
    """A class that says no command resets by its modem lines, where these do."""
    return LineReset(device.reset_by_line) if isinstance(opener, ResettingOpener) and opener.can_reset else None
