"""A target whose disk is full: jobs wait instead of losing lines, what is stored elsewhere makes room, and nothing is started half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import OWN_MOUNTS
from shell_target import Session, Target, session, target

from transports.protocol import Gap, StartWorkload
from transports.wire.numbers import Code

COUNT_BYTES = 'i=0; x=$(printf %1000d 0); while [ $i -lt "$0" ]; do i=$((i+1)); echo "$i $x"; done'


@pytest.fixture
def machine(tmp_path: Path, need: Callable[[str], None]) -> Iterator[Target]:
    """Its state is on a disk of 2 MiB, which only it sees: it lasts as long as its connection."""
    need("tmpfs")
    with target(tmp_path, "dash", spool_bytes=64 << 20, slots=31) as made:
        state = made.directory.parent
        state.mkdir()
        made.shell = [*OWN_MOUNTS, "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
        made.shell.append(f"mount -t tmpfs -o size=2m tmpfs {state} && exec sh")
        yield made


@pytest.fixture
def gateway(machine: Target) -> Iterator[Session]:
    with session(machine) as made:
        made.join()
        yield made


def test_a_job_waits_while_nobody_fetches_its_log_and_no_line_is_missing_beyond_the_gap(gateway: Session) -> None:
    gateway.core.stored = lambda checkpoint, now: None  # type: ignore[method-assign]  # a gateway that stores nothing: nothing may go
    gateway.start("sh", "-c", COUNT_BYTES, "6000")
    gateway.end_of()
    numbers = [int(line.split()[0]) for line in gateway.lines()]
    gaps = [item for item in gateway.items if isinstance(item, Gap)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 6000
    assert 6000 - len(numbers) <= sum((gap.end or 0) - gap.offset for gap in gaps) / 1000 + len(gaps)
    assert gaps or len(numbers) == 6000


def test_a_gateway_that_keeps_up_makes_room(gateway: Session) -> None:
    gateway.start("sh", "-c", COUNT_BYTES, "6000")
    gateway.end_of()
    numbers = [int(line.split()[0]) for line in gateway.lines()]
    gaps = [item for item in gateway.items if isinstance(item, Gap)]
    assert gaps or numbers == list(range(1, 6001))
    assert numbers[-1] == 6000


def test_a_start_on_a_full_disk_is_refused_whole_and_possible_later(gateway: Session) -> None:
    fill = gateway.target.directory / "fill"
    gateway.start("sh", "-c", f"cat /dev/zero >{fill}; sleep 4; rm {fill}", wid=1)
    large = ("printf", "%.1s", "x" * 100_000)
    answers = (gateway.request(StartWorkload(wid, 1, "p", large)) for wid in range(2, 30))  # the first may be quicker than the disk is full
    refused = next(answer for answer in answers if answer.code != Code.OK)
    assert (refused.code, refused.text) == (Code.NO_SPACE, f"no space in {gateway.target.directory}")
    gateway.end_of(1)
    said = len(gateway.lines())
    gateway.start(*large, wid=99)
    gateway.end_of(99)
    assert gateway.lines()[said:] == [b"x"]
