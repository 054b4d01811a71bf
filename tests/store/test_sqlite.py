"""Writes of SQLite: together on disk, each for itself when one fails."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pileus.model.errors import Conflict
from pileus.store.database import Transaction
from pileus.store.sqlite import SqliteDatabase


@pytest.fixture(autouse=True)
def engine() -> str:
    """Of this file there is one."""
    return "sqlite"


def on_a_table(directory: Path, test: Callable[[SqliteDatabase], Awaitable[None]]) -> None:
    async def run() -> None:
        db = SqliteDatabase(directory / "x.db")
        try:
            await db.write(lambda tx: tx.execute("CREATE TABLE things (id TEXT PRIMARY KEY)"))
            await test(db)
        finally:
            await db.close()

    asyncio.run(run())


def add(key: str) -> Callable[[Transaction], Awaitable[int]]:
    return lambda tx: tx.execute("INSERT INTO things (id) VALUES (?)", key)


def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    async def test(db: SqliteDatabase) -> None:
        await asyncio.gather(*(db.write(add(str(number))) for number in range(50)))
        assert await db.value("SELECT count(*) FROM things") == 50

    on_a_table(tmp_path, test)


def test_one_failure_undoes_its_own_writes_only(tmp_path: Path) -> None:
    async def twice(tx: Transaction) -> None:
        await add("lost")(tx)
        await add("lost")(tx)

    async def wrong(tx: Transaction) -> None:
        await add("gone")(tx)
        await tx.execute("INSERT INTO nowhere VALUES (1)")

    async def stop(tx: Transaction) -> None:
        await add("undone")(tx)
        raise ValueError("stop")

    async def test(db: SqliteDatabase) -> None:
        works = [db.write(work) for work in (add("a"), twice, wrong, stop, add("b"))]
        results = await asyncio.gather(*works, return_exceptions=True)
        assert [type(result) for result in results] == [int, Conflict, sqlite3.OperationalError, ValueError, int]
        assert [row[0] for row in await db.all("SELECT id FROM things ORDER BY id")] == ["a", "b"]

    on_a_table(tmp_path, test)


def test_a_transaction_that_waits_for_something_else_is_refused(tmp_path: Path) -> None:
    async def sleepy(tx: Transaction) -> None:
        await add("x")(tx)
        await asyncio.sleep(0)

    async def test(db: SqliteDatabase) -> None:
        with pytest.raises(RuntimeError, match="awaited something"):
            await db.write(sleepy)
        assert await db.value("SELECT count(*) FROM things") == 0

    on_a_table(tmp_path, test)


def test_the_version_is_another_once_something_was_committed_and_only_then(tmp_path: Path) -> None:
    async def test(db: SqliteDatabase) -> None:
        before = await db.version()
        assert await db.all("SELECT * FROM things") == []
        assert await db.version() == before
        await db.write(add("a"))
        after = await db.version()
        assert after != before and await db.version() == after

    on_a_table(tmp_path, test)
