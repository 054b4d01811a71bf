"""PostgreSQL: reads on any free connection, each by itself; writes by the process's one writer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import asyncpg

from pileus import clock
from pileus.model.errors import Invalid, Unavailable
from pileus.store.database import Row, Work
from pileus.store.postgresql_connections import Address, Connections, LostConnection
from pileus.store.postgresql_dialect import Statement, translate
from pileus.store.postgresql_writer import LOST_RACE, Write, Writer, play, told

T = TypeVar("T")

MIGRATION_LOCK = 0x70696C657573  # "pileus"
MIGRATION_PATIENCE = 60.0

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

    async def clock(self) -> float:
        """The database's own time."""
        return float(await self.value("SELECT extract(epoch FROM clock_timestamp())::float8"))

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

    def __init__(self, address: Address, size: int = 8) -> None:
        self.address = address
        self._connections = Connections(address, size)
        self._coercions: dict[str, list[Coercion]] = {}
        self._writer = Writer(address, self._connections, self._on)

    async def one(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        return await self._read(lambda reader: reader.one(sql, *args))

    async def all(self, sql: str, *args: Any) -> list[Row]:
        """Every row."""
        return await self._read(lambda reader: reader.all(sql, *args))

    async def value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._read(lambda reader: reader.value(sql, *args))

    async def version(self) -> int | None:
        """There is none: other processes write as well."""
        return None

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; returns when it is durable. Who waits may be cancelled, the write goes on."""
        return await self._writer.write(work)

    async def exclusive(self, work: Work[T]) -> T:
        """As `write`, while no other process that shares the database is in here."""
        deadline = clock.monotonic() + MIGRATION_PATIENCE
        try:
            async with self._connections.one() as connection:
                while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK):
                    if clock.monotonic() > deadline:
                        raise Unavailable(f"Another process has been preparing the database for {MIGRATION_PATIENCE:g} s; try again.")
                    await asyncio.sleep(0.05)
                try:
                    one = await self._alone(connection, work)
                finally:
                    if not connection.is_closed():
                        await connection.fetchval("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
        except LostConnection as error:
            raise self.address.lost(error) from error.__cause__
        except asyncpg.PostgresError as error:
            raise told(error) from error
        one.tell()
        return await one.future

    async def _alone(self, connection: Any, work: Work[Any]) -> Write:
        one = Write(work)
        while True:
            try:
                await play(connection, self._on(connection), [one])
                return one
            except LOST_RACE:  # against a write of a process that runs already
                if clock.monotonic() > one.deadline:
                    raise

    async def close(self) -> None:
        """Finish what waits and close."""
        await self._writer.close()
        await self._connections.close()

    def _on(self, connection: Any) -> PostgresqlConnection:
        return PostgresqlConnection(connection, self._coercions)

    async def _read(self, read: Callable[[PostgresqlConnection], Awaitable[T]]) -> T:
        for last in (False, True):
            try:
                async with self._connections.one(fresh=last) as connection:
                    return await read(self._on(connection))
            except LostConnection as error:
                if last:
                    raise self.address.lost(error) from error.__cause__
            except asyncpg.PostgresError as error:
                raise told(error) from error
        raise AssertionError("the second try returns or raises")


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
