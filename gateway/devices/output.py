"""From a device's LOG stream to the rings: who owns a record, when it was made, and the order of writing.

The order is the no-loss promise: whole records go to the rings of their attempts, then the device's checkpoint is saved, and only then
the caller may acknowledge. What belongs to nobody goes to the device's own ring; nothing is dropped here. Memory only, so it may run on the
event loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gateway.devices.attribution import Attribution, Run
from gateway.devices.device_log import DeviceLog
from gateway.devices.ledger import Entry as RunEntry
from gateway.devices.runs import Runs
from gateway.logs.block import Block
from gateway.logs.checkpoint import CheckpointFile, SavedCheckpoint
from gateway.logs.record import Entry, GapCause, Stream, gap_entry, text_entries
from gateway.logs.record import Gap as LogGap
from gateway.logs.store import AttemptKey, DeviceKey, LogStore
from transports.protocol import DEVICE_SLOT, Checkpoint, ClockSample, Gap, GapReason, Lines, Output, Record, RecordKind
from transports.wire.lines import split_lines

_STREAMS: Final = {
    RecordKind.STDOUT: (Stream.STDOUT, False),
    RecordKind.STDERR: (Stream.STDERR, False),
    RecordKind.STDOUT_PARTIAL: (Stream.STDOUT, True),
    RecordKind.STDERR_PARTIAL: (Stream.STDERR, True),
}

RingKey = AttemptKey | DeviceKey


def boot_clock_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_clock_minus_loop_ns() -> int:
    """What to add to the loop's clock to get CLOCK_BOOTTIME; they drift apart only while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class DeviceOutput:
    """One device's way into the rings. stored is how far whole records of the current epoch are kept."""

    def __init__(
        self,
        device: str,
        logs: LogStore,
        checkpoint: CheckpointFile,
        runs: Runs,
        clock_offset_ns: Callable[[], int] = boot_clock_minus_loop_ns,
        boot_ns: Callable[[], int] = boot_clock_ns,
    ) -> None:
        self._device = device
        self._logs = logs
        self._checkpoint = checkpoint
        self._runs = runs
        self._clock_offset_ns = clock_offset_ns
        self._boot_ns = boot_ns
        self.attribution = Attribution()
        self.is_followed = False
        """Somebody was waiting for what was stored last: then it should not be late."""
        self._own = DeviceKey(device)
        self._own_log = DeviceLog(logs, self._own)
        self._last_stamp_ns = 0
        self.gaps: Counter[GapCause] = Counter()
        """Losses declared in a log since the gateway began, for a metric."""
        saved = checkpoint.value
        self.epoch = saved.epoch if saved else None
        self.stored = saved.expected if saved else 0
        if saved is not None:
            self._relearn(saved.epoch)

    def saved(self) -> Checkpoint | None:
        """What the protocol core starts from."""
        value = self._checkpoint.value
        return None if value is None else Checkpoint(*value)

    def begin_epoch(self, epoch: int) -> None:
        """A session of this epoch began; offsets of another one mean nothing any more."""
        if epoch != self.epoch:
            self.epoch, self.stored = epoch, 0
        self._relearn(epoch)

    def store(self, output: Output) -> None:
        """Rings, then checkpoint. When it returns the output may be acknowledged."""
        if output.epoch != self.epoch:
            self.begin_epoch(output.epoch)
        base_ns = int(output.clock.now * 1e9) + self._clock_offset_ns()
        batches: dict[RingKey, list[Entry | Block]] = {}
        for item in output.items:
            if isinstance(item, Lines):
                begin = self.attribution.next_begin(item.slot, item.offset)
                for lines in (item,) if begin is None or begin >= item.end else self._of_each_run(item):
                    stamp_ns = _stamp_ns(lines.uptime_ms, output.clock, base_ns)
                    self._put(lines.slot, lines.offset, Block(stamp_ns, lines, output.epoch), batches)
            elif isinstance(item, Gap):
                self._sort_gap(item, output.epoch, batches)
            else:
                self._sort_record(item, output.epoch, _stamp_ns(item.uptime_ms, output.clock, base_ns), batches)
        served = self._logs.served
        for key, entries in batches.items():
            self._logs.append(key, entries)
        self.is_followed = self._logs.served != served
        self._checkpoint.save(SavedCheckpoint(*output.checkpoint))
        self.stored = output.checkpoint.expected
        if self._own in batches:
            self._own_log.grew()

    def text(self, data: bytes, stamp_ns: int | None = None) -> None:
        """Console text beside frames, and the gateway's own notes: into the device's ring."""
        stamp = self._boot_ns() if stamp_ns is None else stamp_ns
        self._logs.append(self._own, text_entries(stamp, data))

    def declare_lost(self, run: RunEntry, size_bytes: int | None) -> None:
        """The rest of a run's output will never come."""
        now_ns = max(self._boot_ns(), self._last_stamp_ns)
        gap = LogGap(None, size_bytes, GapCause.UNKNOWN, self._last_stamp_ns or now_ns, now_ns)
        self.gaps[gap.cause] += 1
        self._logs.append(_key(run), [gap_entry(gap)])

    def _relearn(self, epoch: int) -> None:
        self.attribution.begin_epoch(epoch)
        for entry in self._runs.live_on(self._device):
            if entry.epoch == epoch and entry.slot is not None and entry.start_off is not None:
                self.attribution.learn(entry.slot, entry.start_off, Run(entry.wid, entry.gen))

    def _of_each_run(self, lines: Lines) -> Iterator[Lines]:
        """Runs whose start record is not in the stream may begin between two of the lines."""
        rest: Lines | None = lines
        while rest is not None:
            begin = self.attribution.next_begin(rest.slot, rest.offset)
            piece, rest = split_lines(rest, rest.end if begin is None else begin)
            if piece is not None:
                yield piece

    def _sort_record(self, record: Record, epoch: int, stamp_ns: int, batches: dict[RingKey, list[Entry | Block]]) -> None:
        if record.start is not None:
            self.attribution.learn(record.slot, record.offset, Run(*record.start))
            if record.log_from is not None:
                self._copy_own(Run(*record.start), record.log_from, epoch)
            return
        if record.lost is not None:
            records, size_bytes, reason = record.lost
            gap = LogGap(records, size_bytes, _cause(reason), self._last_stamp_ns or stamp_ns, stamp_ns)
            self.gaps[gap.cause] += 1
            entry = gap_entry(gap, epoch=epoch, offset_end=record.end)
        elif record.kind in _STREAMS:
            stream, partial = _STREAMS[record.kind]
            entry = Entry(stamp_ns, stream, record.data, partial, epoch, record.end)
        else:
            return
        self._put(record.slot, record.offset, entry, batches)

    def _put(self, slot: int, offset: int, entry: Entry | Block, batches: dict[RingKey, list[Entry | Block]]) -> None:
        self._last_stamp_ns = entry.stamp_ns
        batches.setdefault(self._owner(slot, offset), []).append(entry)

    def _owner(self, slot: int, offset: int) -> RingKey:
        if slot != DEVICE_SLOT:
            run = self.attribution.owner(slot, offset)
            entry = self._runs.of_run((self._device, run.wid, run.gen)) if run is not None else None
            if entry is not None:
                return _key(entry)
        return self._own

    def _sort_gap(self, gap: Gap, epoch: int, batches: dict[RingKey, list[Entry | Block]]) -> None:
        """Lost bytes of the stream may be of any run on the device, so each run's log names the gap.

        It ends now, when it is learnt: the bytes themselves had stamps that nobody will see.
        """
        stamp_ns = max(self._boot_ns(), self._last_stamp_ns)
        since_ns = self._last_stamp_ns or stamp_ns
        # Nobody knows how much an epoch still held that ended unread; why it ended is known.
        is_unread = gap.end is None and gap.reason == GapReason.UNKNOWN
        cause = GapCause.DEVICE_RESTARTED if is_unread else _cause(gap.reason)
        self.gaps[cause] += 1
        if gap.end is None:
            entry = gap_entry(LogGap(gap.records, None, cause, since_ns, stamp_ns))
        else:
            # With the offset a ring that holds the beginning already declares only the rest.
            lost = LogGap(gap.records, gap.end - gap.offset, cause, since_ns, stamp_ns, gap.offset)
            entry = gap_entry(lost, epoch=epoch, offset_end=gap.end)
        self._last_stamp_ns = stamp_ns
        for key in self._keys(run for run in self._runs.live_on(self._device) if _may_miss(run, epoch, gap)):
            batches.setdefault(key, []).append(entry)
        if cause is GapCause.NOBODY_READING and entry not in (own := batches.setdefault(self._own, [])):
            own.append(entry)  # such a device's own log has everything

    def _copy_own(self, run: Run, begin: int, epoch: int) -> None:
        """What the device's own log has from offset begin on is the beginning of a run's."""
        entry = self._runs.of_run((self._device, run.wid, run.gen))
        if entry is not None:
            self._logs.append(_key(entry), self._own_log.since(begin, epoch))

    def _keys(self, runs: Iterable[RunEntry]) -> list[RingKey]:
        return [_key(run) for run in runs] or [self._own]


def _key(run: RunEntry) -> AttemptKey:
    return AttemptKey(run.uid, run.container, run.gen)


def _may_miss(run: RunEntry, epoch: int, gap: Gap) -> bool:
    """False for a run that is known to have begun after the gap. An intent whose START was not answered may have begun before."""
    return run.epoch != epoch or run.start_off is None or gap.end is None or run.start_off < gap.end


def _cause(reason: int) -> GapCause:
    try:
        return GapCause(reason)
    except ValueError:
        return GapCause.UNKNOWN


def _stamp_ns(uptime_ms: int, clock: ClockSample, base_ns: int) -> int:
    """Uptimes are u32 milliseconds and wrap; a difference is signed (SPEC.md, Session)."""
    difference = (uptime_ms - clock.uptime_ms) & 0xFFFFFFFF
    if difference >= 0x80000000:
        difference -= 0x100000000
    return base_ns + difference * 1_000_000
