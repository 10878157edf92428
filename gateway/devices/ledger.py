"""The ledger: every attempt the gateway ever intended and has not let go, in SQLite on the state directory.

An attempt is written before its START is sent and after its end is known; nothing else is. WAL with synchronous=NORMAL: a power cut may
take the last commit, and the device's LIST then says what ran. Many writes that arrive together share one commit. It refuses to know
pods, devices or clocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

SCHEMA_VERSION: Final = 1
_COMMIT_DEADLINE_S: Final = 10.0
"""An SD card may stall for seconds while it moves blocks; longer is an error someone must see."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt. state is an AttemptState's value; times are Unix seconds."""

    uid: str
    container: str
    gen: int
    namespace: str
    pod: str
    device: str
    wid: int
    state: str
    epoch: int | None = None
    slot: int | None = None
    start_off: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""


_COLUMNS: Final = tuple(field.name for field in fields(Entry))
_INSERT: Final = f"INSERT OR REPLACE INTO attempts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_DELETE: Final = "DELETE FROM attempts WHERE uid = ?"


class Ledger:
    """Open with `Ledger(path)` in a thread or before the loop runs; then put and forget are durable when they return."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise ValueError(f"{path} was written by a newer wirelet (schema {version}, this one knows {SCHEMA_VERSION})")
        self._db.execute(f"CREATE TABLE IF NOT EXISTS attempts ({', '.join(_COLUMNS)}, PRIMARY KEY (uid, container, gen))")
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._waiting: list[_Write] = []
        self._turn = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)

    def entries(self) -> list[Entry]:
        """Everything in it, oldest attempt first. Blocks; call before the loop runs."""
        rows = self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM attempts ORDER BY uid, container, gen")
        return [Entry(*row) for row in rows]

    async def put(self, entry: Entry) -> None:
        """Insert or replace one attempt; durable on return."""
        await self._write(_INSERT, astuple(entry))

    async def forget(self, uid: str) -> None:
        """Remove every attempt of a pod; durable on return."""
        await self._write(_DELETE, (uid,))

    def close(self) -> None:
        self._db.close()

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        """Whoever has the turn commits for all that wait, so a burst of starts costs one commit."""
        write = _Write(statement, values)
        self._waiting.append(write)
        async with self._turn:
            if not write.is_done:
                batch, self._waiting = self._waiting, []
                with anyio.fail_after(_COMMIT_DEADLINE_S, shield=True):
                    await anyio.to_thread.run_sync(self._commit, batch, limiter=self._thread)
        if write.error is not None:
            raise write.error

    def _commit(self, batch: Sequence[_Write]) -> None:
        error: sqlite3.Error | None = None
        try:
            self._db.execute("BEGIN")
            for write in batch:
                self._db.execute(write.statement, write.values)
            self._db.execute("COMMIT")
        except sqlite3.Error as raised:
            error = raised
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        for write in batch:
            write.is_done, write.error = True, error


@dataclass(slots=True, eq=False)
class _Write:
    statement: str
    values: tuple[object, ...]
    is_done: bool = False
    error: sqlite3.Error | None = None
