"""The ledger: every attempt the gateway ever intended and has not let go, which board answered on each device, and which of them are
switched off, in SQLite on the state directory.

An attempt is written before its START is sent and after its end is known; nothing else is. WAL with synchronous=NORMAL: a power cut may
take the last commit, and the device's LIST then says what ran. Many writes that arrive together share one commit. It refuses to know
pods, devices or clocks. What SQLite says about a full disk or a damaged file is one LedgerFailed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import anyio.to_thread

from gateway.errors import GatewayError

SCHEMA_VERSION: Final = 1


class LedgerFailed(GatewayError):
    """It cannot be opened, read or written; the text says why."""


class LedgerFull(LedgerFailed):
    """Its file system has no room."""


_FULL: Final = frozenset({"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"})
"""The second is of its shared memory, a file beside it."""


RunKey: TypeAlias = tuple[str, int, int]
"""device, wid, gen: how a device names a run."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt. state is an AttemptState's value; times are Unix seconds. boot_id: the boot of the device that was to run it."""

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
    boot_id: int = 0
    is_init: bool = False
    is_unready: bool = False
    """It runs, and has said that it is not ready."""

    @property
    def run(self) -> RunKey:
        return self.device, self.wid, self.gen


@dataclass(frozen=True, slots=True)
class KnownBoard:
    """The board that answered last on a device."""

    device: str
    device_id: str
    """In HELLO; in hexadecimal."""
    port: str
    """The identity of its port; empty on none of this machine."""
    hub_port: str = ""
    """Where that was on the USB."""


_COLUMNS: Final = tuple(field.name for field in fields(Entry))
_values: Final = attrgetter(*_COLUMNS)
"""Of an entry, in the order of the columns; dataclasses.astuple copies each of them deeply."""
_INSERT: Final = f"INSERT OR REPLACE INTO attempts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_DELETE_POD: Final = "DELETE FROM attempts WHERE uid = ?"
_DELETE_ATTEMPT: Final = "DELETE FROM attempts WHERE uid = ? AND container = ? AND gen = ?"
_BOARD_COLUMNS: Final = tuple(field.name for field in fields(KnownBoard))
_INSERT_BOARD: Final = f"INSERT OR REPLACE INTO boards ({', '.join(_BOARD_COLUMNS)}) VALUES ({', '.join('?' * len(_BOARD_COLUMNS))})"
_INSERT_SWITCH: Final = "INSERT OR REPLACE INTO switched_off (device) VALUES (?)"
_DELETE_SWITCH: Final = "DELETE FROM switched_off WHERE device = ?"
_ADDED_COLUMNS: Final = ("boot_id", "is_init", "is_unready")
"""Not in a ledger of the first days; 0 where nobody knew."""


class Ledger:
    """Open with `Ledger(path)` in a thread or before the loop runs; then put and forget are durable when they return."""

    def __init__(self, path: Path) -> None:
        """Raises LedgerFailed, and OSError when its folder cannot be made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") in _FULL:  # an error of Python's own module has none
                raise LedgerFull(f"{path}: there is no room on that file system") from error
            raise LedgerFailed(f"{path}: {error}") from error
        self.trouble = ""
        """Why the last write failed; empty when it did not."""
        self.trouble_changed: Callable[[], None] = lambda: None
        self._waiting: list[_Write] = []
        self._turn = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)

    def entries(self) -> list[Entry]:
        """Everything in it, oldest attempt first. Blocks; call before the loop runs. Raises LedgerFailed."""
        try:
            rows = self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM attempts ORDER BY uid, container, gen").fetchall()
        except sqlite3.Error as error:
            raise LedgerFailed(str(error)) from error
        return [replace(Entry(*row), is_init=bool(row[-2]), is_unready=bool(row[-1])) for row in rows]

    def boards(self) -> list[KnownBoard]:
        """Every board it knows. Blocks; call before the loop runs. Raises LedgerFailed."""
        try:
            rows = self._db.execute(f"SELECT {', '.join(_BOARD_COLUMNS)} FROM boards ORDER BY device").fetchall()
        except sqlite3.Error as error:
            raise LedgerFailed(str(error)) from error
        return [KnownBoard(*row) for row in rows]

    def switched_off(self) -> list[str]:
        """The devices that are. Blocks; call before the loop runs. Raises LedgerFailed."""
        try:
            return [str(device) for (device,) in self._db.execute("SELECT device FROM switched_off ORDER BY device")]
        except sqlite3.Error as error:
            raise LedgerFailed(str(error)) from error

    async def put_switch(self, device: str, *, is_off: bool) -> None:
        """Durable on return. Raises LedgerFailed."""
        await self._write(_INSERT_SWITCH if is_off else _DELETE_SWITCH, (device,))

    async def put_board(self, board: KnownBoard) -> None:
        """Insert or replace what is known of one device; durable on return. Raises LedgerFailed."""
        await self._write(_INSERT_BOARD, (board.device, board.device_id, board.port, board.hub_port))

    async def put(self, entry: Entry) -> None:
        """Insert or replace one attempt; durable on return. Raises LedgerFailed."""
        await self._write(_INSERT, _values(entry))

    async def forget(self, uid: str) -> None:
        """Remove every attempt of a pod; durable on return. Raises LedgerFailed."""
        await self._write(_DELETE_POD, (uid,))

    async def forget_attempt(self, uid: str, container: str, gen: int) -> None:
        """Remove one; durable on return. Raises LedgerFailed."""
        await self._write(_DELETE_ATTEMPT, (uid, container, gen))

    async def probe(self) -> None:
        """Write what changes nothing: whether it can be written again. Raises LedgerFailed."""
        await self._write(f"PRAGMA user_version={SCHEMA_VERSION}", ())

    def close(self) -> None:
        self._db.close()

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        """Whoever has the turn commits for all that wait, so a burst of starts costs one commit."""
        write = _Write(statement, values)
        self._waiting.append(write)
        async with self._turn:
            if not write.is_done:
                batch, self._waiting = self._waiting, []
                # No deadline: a thread cannot be taken back, and an SD card may stall for seconds while it moves blocks.
                with anyio.CancelScope(shield=True):
                    await self._commit_in_thread(batch)
        if write.error is not None:
            raise LedgerFailed(f"cannot write the ledger: {write.error}") from write.error

    async def _commit_in_thread(self, batch: Sequence[_Write]) -> None:
        """Afterwards every write of the batch is done, or has an error: who waits for the turn next looks only at its own."""
        error: Exception | None = None
        try:
            await anyio.to_thread.run_sync(self._commit, batch, limiter=self._thread)
        except (sqlite3.Error, OverflowError, RuntimeError) as raised:  # the last: the system gives no thread
            error = raised
        for write in batch:
            write.is_done, write.error = True, error
        if not isinstance(error, OverflowError):  # that is of a value, and not of the file
            self._tell("" if error is None else str(error))

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.trouble_changed()

    def _commit(self, batch: Sequence[_Write]) -> None:
        try:
            self._db.execute("BEGIN")
            for write in batch:
                self._db.execute(write.statement, write.values)
            self._db.execute("COMMIT")
        except (sqlite3.Error, OverflowError):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise LedgerFailed(f"{path} was written by a newer wirelet (schema {version}, this one knows {SCHEMA_VERSION})")
        db.execute(f"CREATE TABLE IF NOT EXISTS attempts ({', '.join(_COLUMNS)}, PRIMARY KEY (uid, container, gen))")
        db.execute(f"CREATE TABLE IF NOT EXISTS boards ({', '.join(_BOARD_COLUMNS)}, PRIMARY KEY (device))")
        db.execute("CREATE TABLE IF NOT EXISTS switched_off (device, PRIMARY KEY (device))")
        held = {row[1] for row in db.execute("PRAGMA table_info(attempts)")}
        for column in _ADDED_COLUMNS:
            if column not in held:
                db.execute(f"ALTER TABLE attempts ADD COLUMN {column} NOT NULL DEFAULT 0")
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


@dataclass(slots=True, eq=False)
class _Write:
    statement: str
    values: tuple[object, ...]
    is_done: bool = False
    error: Exception | None = None
