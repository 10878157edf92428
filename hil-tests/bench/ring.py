"""Microseconds per 80-byte record through the log store: append in batches, and read back. Medians of five runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import anyio

from gateway.logs.clock import SystemClock
from gateway.logs.reader import LogOptions, read
from gateway.logs.record import Entry, Stream
from gateway.logs.store import AttemptKey, LogStore

RECORDS = 20_000
KEY = AttemptKey("uid", "main", 1)
LINE = b"x" * 80


def measure(work: Callable[[], None], records: int) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / records * 1e6


def append_us(store: LogStore, batch: int, epoch: int) -> float:
    entries = [Entry(n, Stream.STDOUT, LINE, False, epoch, 90 * (n + 1)) for n in range(RECORDS)]
    batches = [entries[at : at + batch] for at in range(0, RECORDS, batch)]

    def work() -> None:
        for some in batches:
            store.append(KEY, some)

    return measure(work, RECORDS)


def read_us(store: LogStore, options: LogOptions) -> float:
    async def drain() -> None:
        async for _ in read(store, KEY, options, clock=SystemClock()):
            pass

    log = store.find(KEY)
    assert log is not None
    assert log.ring is not None
    return measure(lambda: anyio.run(drain), log.ring.records)


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        store = LogStore(Path(directory), budget_bytes=16 << 20, ring_bytes=4 << 20)
        epoch = 0
        for batch in (1, 10, 100):
            results = []
            for _ in range(5):
                epoch += 1
                results.append(append_us(store, batch, epoch))
            print(f"append, {batch:3} a batch: {median(results):5.2f} us a record")
        reads = {"read": LogOptions(), "read, timestamps": LogOptions(timestamps=True), "tail 10": LogOptions(tail_lines=10)}
        for name, options in reads.items():
            print(f"{name:19}: {median(read_us(store, options) for _ in range(5)):5.2f} us a record of the ring")
        store.close()


if __name__ == "__main__":
    main()
