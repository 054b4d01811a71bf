"""SQLite: reads inline on the event loop, writes by one thread that puts all that wait into one commit.

Transactions are coroutines that await nothing but the database; here the database never suspends them, so the writer thread
runs each to its end with a single `send`. The same coroutines run on a database that does suspend.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from pileus.model.errors import Conflict, Unavailable
from pileus.store.database import Row, Work

T = TypeVar("T")

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=10000",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-8000",
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection with our settings; raises Unavailable when the file can't be used."""
    try:
        _keep_private(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        for pragma in PRAGMAS:
            connection.execute(pragma)
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"The database {path} can't be opened: {error}") from error
    return connection


def _keep_private(path: Path) -> None:
    """Only its owner reads the file: every tenant's data is in it. The journals beside it take its mode over.

    A file that is there is never opened here: closing it would take the locks of this process's other connections away (POSIX), and
    the next program that looks at the database would take it for unused and remove the journal that we write.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if path.stat().st_mode & 0o077:
        for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if one.exists() and not one.is_symlink():
                one.chmod(0o600)


def _told(error: sqlite3.DatabaseError) -> Exception:
    """The error as it is, unless the file is damaged."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return error
    words = f"The database is damaged: {error}. Stop the cloud, look at it with pileus db check, go back to a copy with pileus db restore."
    return Unavailable(words, public="The cloud's database is damaged; its operator is to look at it.")


class SqliteConnection:
    """Reader and Transaction on one connection; its coroutines never suspend."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    async def one(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        try:
            return self.connection.execute(sql, args).fetchone()
        except sqlite3.DatabaseError as error:
            raise _told(error) from None

    async def all(self, sql: str, *args: Any) -> list[Row]:
        """Every row."""
        try:
            return cast(list[Row], self.connection.execute(sql, args).fetchall())
        except sqlite3.DatabaseError as error:
            raise _told(error) from None

    async def value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        row = await self.one(sql, *args)
        return None if row is None else row[0]

    async def clock(self) -> float:
        """The database's own time."""
        return float(await self.value("SELECT (julianday('now') - 2440587.5) * 86400.0"))

    async def execute(self, sql: str, *args: Any) -> int:
        """Run a statement; returns the number of rows that it changed."""
        try:
            return self.connection.execute(sql, args).rowcount
        except sqlite3.DatabaseError as error:
            raise _told(error) from None

    async def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row."""
        try:
            self.connection.executemany(sql, rows)
        except sqlite3.DatabaseError as error:
            raise _told(error) from None


class SqliteDatabase(SqliteConnection):
    """A database file. `write` may be called from one event loop only; reads run inline. `apart`: writes are done by a thread."""

    def __init__(self, path: Path, apart: bool = True) -> None:
        super().__init__(connect(path))
        self.path = path
        self._queue: queue.SimpleQueue[tuple[Work[Any], asyncio.AbstractEventLoop, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._writing = connect(path)  # here and not in the thread: who makes a database is told why it can't be used
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            self._writing.execute("PRAGMA application_id = 0")  # a write: to begin one is allowed on a read-only file too
            self._writing.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise Unavailable(f"The database {path} can't be written: {error}") from error
        self._writer = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        if apart:
            self._writer.start()

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; returns when it is on disk."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((work, loop, future))
        return await future

    async def exclusive(self, work: Work[T]) -> T:
        """As `write`: a file has one writer at a time."""
        return await self.write(work)

    async def version(self) -> int | None:
        """As long as it is the same, nothing was committed: who reads has a connection of his own, which commits nothing."""
        return cast(int, await self.value("PRAGMA data_version"))

    async def close(self) -> None:
        """Finish what waits and close."""
        if self._writer.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._writer.join)
        self.connection.close()

    def _run(self) -> None:
        connection = self._writing
        transaction = SqliteConnection(connection)
        closing = False
        while not closing:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            closing = None in batch
            _commit_together(transaction, [item for item in batch if item is not None])
        connection.close()


class InlineSqlite(SqliteDatabase):
    """A database whose writes are done by whoever asks for them, so that their order is that of the event loop: for simulations.

    Once `dead`, nobody writes to it: the process that had it open was killed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, apart=False)
        self.dead = False
        self._transaction = SqliteConnection(self._writing)

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; others have their turn before and after it."""
        await asyncio.sleep(0)
        if self.dead:
            raise asyncio.CancelledError
        [(result, error)] = _committed(self._transaction, [work])
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return cast(T, result)

    async def close(self) -> None:
        """Let go of the file."""
        self.dead = True
        self._writing.close()
        self.connection.close()


def _commit_together(transaction: SqliteConnection, batch: list[tuple[Work[Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]]) -> None:
    outcomes = _committed(transaction, [work for work, _, _ in batch])
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
    for (_, loop, future), (result, error) in zip(batch, outcomes, strict=True):
        loops.setdefault(loop, []).append((future, result, error))
    for loop, results in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, results)


def _committed(transaction: SqliteConnection, batch: list[Work[Any]]) -> list[tuple[Any, BaseException | None]]:
    connection = transaction.connection
    outcomes: list[tuple[Any, BaseException | None]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for work in batch:
            outcomes.append(_run_one(transaction, work))
        connection.execute("COMMIT")
    except sqlite3.Error as error:  # the disk is full, the file is gone: nobody's write happened
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        told = _told(error) if isinstance(error, sqlite3.DatabaseError) else error
        refused = told if isinstance(told, Unavailable) else Unavailable(f"The database could not be written: {error}")
        outcomes = [(None, refused)] * len(batch)
    return outcomes


def _run_one(transaction: SqliteConnection, work: Work[Any]) -> tuple[Any, BaseException | None]:
    connection = transaction.connection
    connection.execute("SAVEPOINT work")
    try:
        result = _drive(work, transaction)
    except sqlite3.IntegrityError as error:
        connection.execute("ROLLBACK TO work")
        return None, Conflict(f"The database refused the change: {error}")
    except sqlite3.OperationalError as error:
        if not connection.in_transaction:  # SQLite has undone everybody's
            raise
        connection.execute("ROLLBACK TO work")
        wrong = error.sqlite_errorcode == sqlite3.SQLITE_ERROR  # the statement, not the disk: nobody else's fault
        return None, error if wrong else Unavailable(f"The database could not be written: {error}")
    except BaseException as error:  # goes to the caller of `write`
        connection.execute("ROLLBACK TO work")
        return None, error
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE work")
    return result, None


def _drive(work: Work[T], transaction: SqliteConnection) -> T:
    coroutine = cast(Coroutine[Any, Any, T], work(transaction))
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    coroutine.close()
    raise RuntimeError("a transaction awaited something other than the database")


def _resolve(results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, error in results:
        if future.done():  # its caller was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
