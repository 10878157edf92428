"""What put and forget say is on disk when they return, one commit for many, and a kill leaves the last commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from gateway.devices.ledger import Entry, KnownBoard, Ledger, LedgerFailed

ENTRY = Entry(uid="u1", container="main", gen=1, namespace="default", pod="hello", device="board-a", wid=7, state="intended")


async def test_an_attempt_is_there_after_reopening(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state" / "ledger.sqlite")
    await ledger.put(ENTRY)
    await ledger.put(replace(ENTRY, state="running", slot=2, epoch=0xFFFFFFFF, start_off=2**40, started_at=1.5))
    # The first one is still open: this is what a kill leaves behind.
    assert Ledger(tmp_path / "state" / "ledger.sqlite").entries() == [
        replace(ENTRY, state="running", slot=2, epoch=0xFFFFFFFF, start_off=2**40, started_at=1.5)
    ]


async def test_the_board_that_answered_last_is_remembered(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.put_board(KnownBoard("board-a", "00aa", "port 1-1"))
    await ledger.put_board(KnownBoard("board-b", "00bb", "", ""))
    await ledger.put_board(KnownBoard("board-a", "00cc", "0403:6001 A5 interface 0", "1-1"))
    assert Ledger(tmp_path / "ledger.sqlite").boards() == [
        KnownBoard("board-a", "00cc", "0403:6001 A5 interface 0", "1-1"),
        KnownBoard("board-b", "00bb", ""),
    ]


async def test_what_is_switched_off_is_remembered_until_it_is_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for device, is_off in (("board-b", True), ("board-a", True), ("board-a", True), ("board-b", False), ("board-c", False)):
        await ledger.put_switch(device, is_off=is_off)
    assert Ledger(tmp_path / "ledger.sqlite").switched_off() == ["board-a"]


async def test_a_forgotten_pod_is_gone_and_others_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    other = replace(ENTRY, uid="u2")
    for entry in (ENTRY, replace(ENTRY, gen=2), other):
        await ledger.put(entry)
    await ledger.forget("u1")
    assert ledger.entries() == [other]


async def test_a_burst_of_starts_shares_commits(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    statements: list[str] = []
    ledger._db.set_trace_callback(statements.append)
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(ledger.put, replace(ENTRY, uid=f"u{number}"))
    assert len(ledger.entries()) == 100
    assert statements.count("COMMIT") < 10


async def test_a_write_that_fails_is_told_to_everyone_who_waited(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger._db.execute("DROP TABLE attempts")
    failures = []

    async def put(number: int) -> None:
        try:
            await ledger.put(replace(ENTRY, uid=f"u{number}"))
        except LedgerFailed as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(put, number)
    assert len(failures) == 10


async def test_a_caller_that_leaves_takes_nobodys_write_along(tmp_path: Path) -> None:
    """It has the turn, and commits for all that wait."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    async with anyio.create_task_group() as staying, anyio.create_task_group() as leaving:
        leaving.start_soon(ledger.put, replace(ENTRY, uid="u1"))
        staying.start_soon(ledger.put, replace(ENTRY, uid="u2"))
        await anyio.lowlevel.checkpoint()
        leaving.cancel_scope.cancel()
    assert "u2" in [entry.uid for entry in ledger.entries()]


def test_a_ledger_of_a_newer_wirelet_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.sqlite")._db.execute("PRAGMA user_version=99")
    with pytest.raises(LedgerFailed, match="written by a newer wirelet"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_damaged_ledger_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerFailed, match=r"ledger.sqlite: file is not a database"):
        Ledger(tmp_path / "ledger.sqlite")


async def test_one_attempt_is_forgotten_and_the_others_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for gen in (1, 2, 3):
        await ledger.put(replace(ENTRY, gen=gen))
    await ledger.forget_attempt("u1", "main", 2)
    assert [entry.gen for entry in ledger.entries()] == [1, 3]


async def test_a_ledger_of_the_first_days_is_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.put(ENTRY)
    for column in ("boot_id", "is_init", "is_unready"):
        ledger._db.execute(f"ALTER TABLE attempts DROP COLUMN {column}")
    ledger.close()
    reopened = Ledger(tmp_path / "ledger.sqlite")
    assert reopened.entries() == [ENTRY]
    await reopened.put(replace(ENTRY, boot_id=0xFFFFFFFF, is_init=True, is_unready=True))
    assert reopened.entries() == [replace(ENTRY, boot_id=0xFFFFFFFF, is_init=True, is_unready=True)]


async def test_a_value_that_the_database_cannot_hold_fails_and_the_ledger_goes_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with pytest.raises(LedgerFailed):
        await ledger.put(replace(ENTRY, start_off=1 << 64))
    await ledger.put(ENTRY)
    assert ledger.entries() == [ENTRY]


async def test_a_ledger_that_cannot_be_written_says_so_until_it_can(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    told: list[str] = []
    ledger.trouble_changed = lambda: told.append(ledger.trouble)
    ledger._db.execute("PRAGMA query_only=1")
    for _ in range(2):
        with pytest.raises(LedgerFailed):
            await ledger.put(ENTRY)
    with pytest.raises(LedgerFailed):
        await ledger.probe()
    ledger._db.execute("PRAGMA query_only=0")
    await ledger.probe()
    assert told == ["attempt to write a readonly database", ""]
