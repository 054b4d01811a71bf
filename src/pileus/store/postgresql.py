"""PostgreSQL: reads on any free connection, writes side by side, each serializable and played again when it lost a race.

A transaction that loses a race is undone by the server and its `work` run again; after a second loss with no other write of this process
beside it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import asyncpg

from pileus.model.errors import Conflict, Invalid, Unavailable
from pileus.store.database import Row, Work
from pileus.store.postgresql_connections import BROKEN, Address, Connections, LostConnection, state_of
from pileus.store.postgresql_dialect import Statement, translate

T = TypeVar("T")

SIDE_BY_SIDE = 8  # writes at once
OPTIMISTIC = 2  # tries beside others
PATIENCE = 15.0  # seconds of lost races before the caller is told
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2
MIGRATION_LOCK = 0x70696C657573  # "pileus"
MIGRATION_PATIENCE = 60.0

LOST_RACE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
# Two who looked before they wrote: one after the other the second would have seen the first's row, and said so in better words.
PERHAPS_LOST_RACE = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
Coercion = Callable[[Any], Any]


class PostgresqlConnection:
    """Reader and Transaction on one connection."""

    def __init__(self, connection: Any, coercions: dict[str, list[Coercion]]) -> None:
        self.connection = connection
        self._coercions = coercions

    async def one(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        return await self._run(self.connection.fetchrow, sql, args)

    async def all(self, sql: str, *args: Any) -> list[Row]:
        """Every row."""
        return await self._run(self.connection.fetch, sql, args)

    async def value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._run(self.connection.fetchval, sql, args)

    async def execute(self, sql: str, *args: Any) -> int:
        """Run a statement; returns the number of rows that it changed."""
        status: str = await self._run(self.connection.execute, sql, args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else -1

    async def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row."""
        statement = translate(sql)
        given = [statement.arguments(row) for row in rows]
        try:
            if coercions := self._coercions.get(statement.sql):
                given = [coerced(coercions, row) for row in given]
            await self.connection.executemany(statement.sql, given)
        except asyncpg.DataError as error:
            if not unsent(error):
                raise
            coercions = await self._learn(statement)
            await self.connection.executemany(statement.sql, [coerced(coercions, row) for row in given])

    async def _run(self, call: Callable[..., Awaitable[Any]], sql: str, args: Sequence[Any]) -> Any:
        statement = translate(sql)
        given = statement.arguments(args)
        try:
            if coercions := self._coercions.get(statement.sql):
                given = coerced(coercions, given)
            return await call(statement.sql, *given)
        except asyncpg.DataError as error:
            if not unsent(error):
                raise
            # The client refused a value before it was sent (a number for a TEXT, which SQLite takes): from now on convert.
            return await call(statement.sql, *coerced(await self._learn(statement), given))

    async def _learn(self, statement: Statement) -> list[Coercion]:
        prepared = await self.connection.prepare(statement.sql)
        found = [COERCIONS.get(one.name, _as_it_is) for one in prepared.get_parameters()]
        self._coercions[statement.sql] = found
        return found


class PostgresqlDatabase:
    """A database on a server. It belongs to the event loop that uses it first; connections are made when they are needed."""

    def __init__(self, address: Address, size: int = 16) -> None:
        self.address = address
        self._connections = Connections(address, size)
        self._coercions: dict[str, list[Coercion]] = {}
        self._writes = asyncio.Semaphore(SIDE_BY_SIDE)
        self._alone = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def one(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        return await self._read(lambda reader: reader.one(sql, *args))

    async def all(self, sql: str, *args: Any) -> list[Row]:
        """Every row."""
        return await self._read(lambda reader: reader.all(sql, *args))

    async def value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._read(lambda reader: reader.value(sql, *args))

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; returns when it is durable. Who waits may be cancelled, the write goes on."""
        return await self._to_its_end(self._write(work))

    async def exclusive(self, work: Work[T]) -> T:
        """As `write`, while no other process that shares the database is in here."""
        return await self._to_its_end(self._exclusive(work))

    async def close(self) -> None:
        """Finish what waits and close."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._connections.close()

    async def _read(self, read: Callable[[PostgresqlConnection], Awaitable[T]]) -> T:
        for last in (False, True):
            try:
                async with self._connections.one(fresh=last) as connection:
                    return await read(PostgresqlConnection(connection, self._coercions))
            except LostConnection as error:
                if last:
                    raise self.address.lost(error) from error.__cause__
            except asyncpg.PostgresError as error:
                raise told(error) from error
        raise AssertionError("the second try returns or raises")

    async def _to_its_end(self, work: Any) -> Any:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _write(self, work: Work[T]) -> T:
        deadline = time.monotonic() + PATIENCE
        tries = lost = 0
        while True:
            tries += 1
            try:
                async with self._turn(alone=tries > OPTIMISTIC):
                    return await self._attempt(work, fresh=lost > 0)
            except LostConnection as error:  # before the commit was sent: nothing was written
                lost += 1
                if lost > 1:
                    raise self.address.lost(error) from error.__cause__
            except (*LOST_RACE, *PERHAPS_LOST_RACE) as error:
                if isinstance(error, PERHAPS_LOST_RACE) and tries > 1:
                    raise told(error) from error
                if time.monotonic() > deadline:
                    raise Conflict("The change lost every race against others; repeat it.", stale=True) from error
            except asyncpg.PostgresError as error:
                raise told(error) from error
            await asyncio.sleep(random.uniform(0, min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE)))

    @contextlib.asynccontextmanager
    async def _turn(self, alone: bool) -> AsyncIterator[None]:
        """A place among the writes of this process; `alone` has all of them."""
        taken = 0
        try:
            async with self._alone if alone else contextlib.nullcontext():
                for _ in range(SIDE_BY_SIDE if alone else 1):
                    await self._writes.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._writes.release()

    async def _attempt(self, work: Work[T], fresh: bool = False) -> T:
        async with self._connections.one(fresh=fresh) as connection:
            return await self._transact(connection, work)

    async def _transact(self, connection: Any, work: Work[T]) -> T:
        await connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        try:
            result = await work(PostgresqlConnection(connection, self._coercions))
        except BaseException:
            try:
                await connection.execute("ROLLBACK")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, *BROKEN):
                connection.terminate()  # the server undoes it then
            raise
        try:
            await connection.execute("COMMIT")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, *BROKEN) as error:
            if isinstance(error, asyncpg.PostgresError) and state_of(error)[:2] in ("40", "23"):
                raise  # the server has undone it
            connection.terminate()
            raise Unavailable("The database was lost while it wrote: look whether the change is there, and repeat it if not.") from error
        return result

    async def _exclusive(self, work: Work[T]) -> T:
        deadline = time.monotonic() + MIGRATION_PATIENCE
        try:
            async with self._connections.one() as connection:
                while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK):
                    if time.monotonic() > deadline:
                        raise Unavailable(f"Another process has been preparing the database for {MIGRATION_PATIENCE:g} s; try again.")
                    await asyncio.sleep(0.05)
                try:
                    return await self._transact(connection, work)
                finally:
                    if not connection.is_closed():
                        await connection.fetchval("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
        except LostConnection as error:
            raise self.address.lost(error) from error.__cause__
        except asyncpg.PostgresError as error:
            raise told(error) from error


def told(error: asyncpg.PostgresError) -> Exception:
    """The server's refusal as ours: what a value, a row or the server's state is to blame for. What our own statement is stays as it is."""
    message = str(
        getattr(error, "message", None) or "it does not fit its column"
    )  # what the client itself refuses it quotes: it may be a secret
    kind = state_of(error)[:2]
    if kind == "23":
        return Conflict(f"The database refused the change: {message}")
    if kind == "22":
        return Invalid(f"The database can't hold a value: {message}")
    if kind in ("53", "55", "57", "58", "25"):
        return Unavailable(f"The database could not be used: {message}")
    return error


def unsent(error: asyncpg.DataError) -> bool:
    """Whether the client could not put a value into its column's type, so that the server knows nothing of it."""
    return str(error).startswith("invalid input for query argument")


def coerced(coercions: list[Coercion], args: Sequence[Any]) -> list[Any]:
    """The arguments in the columns' types."""
    return [None if value is None else coerce(value) for coerce, value in zip(coercions, args, strict=True)]


def _whole(value: Any) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise Invalid(f"{value} is not a whole number.") from error


def _as_it_is(value: Any) -> Any:
    return value


def _each(one: Coercion) -> Coercion:
    return lambda values: [None if value is None else one(value) for value in values]


COERCIONS: dict[str, Coercion] = {
    "int8": _whole, "int4": _whole, "float8": float, "text": str,
    "int8[]": _each(_whole), "int4[]": _each(_whole), "float8[]": _each(float), "text[]": _each(str),
}  # fmt: skip
