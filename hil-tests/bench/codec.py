"""Microseconds per frame to encode and to decode, on whole read chunks: `python hil-tests/bench/codec.py`.

The limits at 243 bytes are 0.8 us to encode and, with the stream layer (stream.py), 1.0 us to decode.
"""

from __future__ import annotations

import os
import statistics
import timeit
from collections.abc import Callable
from functools import partial
from typing import Final

from transports.protocol import RecordKind
from transports.wire.framing import DATA, Deframer, encode_frame
from transports.wire.records import encode_record, parse_records

RUNS: Final = 5
READ_BYTES: Final = 4095
"""What one read of a tty returns at most."""
FRAMES: Final = 2000


def cpu_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))), "unknown CPU")


def median_us(action: Callable[[], object], per_call: int, calls: int = 1) -> float:
    return statistics.median(timeit.repeat(action, number=calls, repeat=RUNS)) / calls / per_call * 1e6


def decode_all(chunks: list[bytes]) -> None:
    deframer = Deframer(4096)
    for chunk in chunks:
        deframer.feed(chunk, 0.0)
    if deframer.rx_frames != FRAMES:
        raise AssertionError(f"{deframer.rx_frames} frames of {FRAMES}")


def main() -> None:
    print(f"codec on {cpu_name()}, medians of {RUNS}")
    for size in (64, 243, 1024):
        payload = os.urandom(size)
        encode = median_us(partial(encode_frame, DATA, 0, 7, 2, 1234567, payload), 1, 20000)
        stream = encode_frame(DATA, 0, 7, 2, 1234567, payload) * FRAMES
        chunks = [stream[at : at + READ_BYTES] for at in range(0, len(stream), READ_BYTES)]
        decode = median_us(partial(decode_all, chunks), FRAMES, 5)
        print(f"{size:5} B   encode {encode:.2f} us   decode {decode:.2f} us")
    records = encode_record(1234567, 3, RecordKind.STDOUT, b"x" * 60) * 50
    print(f"   60 B   record parse {median_us(lambda: parse_records(b'', records, 0), 50, 200):.2f} us")


if __name__ == "__main__":
    main()
