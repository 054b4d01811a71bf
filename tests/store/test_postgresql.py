"""PostgreSQL: races are played again, what was lost is told, several processes may start at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pileus.config import Config
from pileus.model.errors import Conflict, Invalid, QuotaExceeded, Unavailable
from pileus.model.networks import Network
from pileus.store import schema
from pileus.store.database import Database, Transaction
from pileus.store.networks import insert_network
from pileus.store.open import open_database
from pileus.store.quotas import charge, set_limits
from tests import postgresql

SECRET = "a-password-nobody-may-see"


@pytest.fixture(autouse=True)
def engine() -> str:
    """Of this file there is one."""
    postgresql.server()
    return "postgresql"


def with_stores(count: int, test: Callable[..., Awaitable[Any]]) -> None:
    """As many processes as `count` have, each with its own connections, on one database."""

    url = postgresql.database(schema.migrate)

    async def run() -> None:
        stores = [postgresql.connect(url) for _ in range(count)]
        try:
            await test(*stores)
        finally:
            for one in stores:
                await one.close()

    asyncio.run(run())


def add(key: str) -> Callable[[Transaction], Awaitable[int]]:
    return lambda tx: tx.execute("INSERT INTO things (id, number) VALUES (?, 0)", key)


async def things(db: Database) -> None:
    await db.write(lambda tx: tx.execute("CREATE TABLE things (id TEXT PRIMARY KEY, number BIGINT NOT NULL)"))


def test_a_quota_holds_whoever_asks_at_once() -> None:
    async def test(one: Database, two: Database) -> None:
        await one.write(lambda tx: set_limits(tx, "p", {"network": 10}))

        async def create(tx: Transaction, key: int) -> None:
            await charge(tx, "p", network=1)
            await insert_network(tx, Network(id=f"n{key}", project_id="p"))

        wanted = [db.write(lambda tx, key=key: create(tx, key)) for key, db in enumerate([one, two] * 10)]
        outcomes = await asyncio.gather(*wanted, return_exceptions=True)
        assert [type(found) for found in outcomes if found is not None] == [QuotaExceeded] * 10
        assert await one.value("SELECT count(*) FROM networks") == 10

    with_stores(2, test)


def test_writes_that_race_for_one_row_all_happen() -> None:
    async def test(one: Database, two: Database) -> None:
        await things(one)
        await one.write(add("x"))

        async def count(tx: Transaction) -> None:
            seen = await tx.value("SELECT number FROM things WHERE id = 'x'")
            await tx.execute("UPDATE things SET number = ? WHERE id = 'x'", seen + 1)

        await asyncio.gather(*(db.write(count) for db in [one, two] * 30))
        assert await two.value("SELECT number FROM things") == 60

    with_stores(2, test)


def test_a_key_that_is_there_is_a_conflict_and_undoes_what_was_written_with_it() -> None:
    async def test(db: Database) -> None:
        await things(db)
        await db.write(add("x"))

        async def both(tx: Transaction) -> None:
            await add("y")(tx)
            await add("x")(tx)

        with pytest.raises(Conflict):
            await db.write(both)
        assert await db.all("SELECT id FROM things") == [("x",)]

    with_stores(1, test)


def test_a_write_whose_caller_left_is_done_all_the_same() -> None:
    async def test(db: Database) -> None:
        await things(db)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(db.write(add("x")), 0)
        waiting = asyncio.create_task(db.write(add("y")))
        await asyncio.sleep(0)
        waiting.cancel()
        deadline = time.monotonic() + 10
        while await db.value("SELECT count(*) FROM things WHERE id = 'y'") == 0:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    with_stores(1, test)


def test_values_come_back_as_they_do_from_sqlite() -> None:
    async def test(db: Database) -> None:
        await things(db)
        await db.write(add("b"))
        await db.write(add("B"))
        await db.write(add("a"))
        await db.write(lambda tx: tx.execute("UPDATE things SET number = ? WHERE id LIKE ?", True, "A%"))
        assert await db.all("SELECT id, number FROM things WHERE id IN (?, ?) ORDER BY id", "a", "B") == [("B", 0), ("a", 1)]
        assert await db.all("SELECT id FROM things WHERE id NOT IN () AND id NOT IN (?) ORDER BY id", "a") == [("B",), ("b",)]
        assert await db.all("SELECT id FROM things WHERE id IN ()") == []
        assert type(await db.value("SELECT sum(number) FROM things")) is int
        assert await db.value("SELECT count(*) FROM things WHERE id = 'what?' OR id = ?", 7) == 0
        with pytest.raises(Invalid):
            await db.write(add("a\0b"))
        with pytest.raises(Invalid):
            await db.value("SELECT id FROM things WHERE number = ?", 1 << 70)

    with_stores(1, test)


def test_processes_that_start_at_once_migrate_once() -> None:
    async def run() -> None:
        url = postgresql.database()
        stores = [postgresql.connect(url) for _ in range(4)]
        ran = await asyncio.gather(*(schema.migrate(db) for db in stores))
        assert sorted(map(len, ran)) == [0, 0, 0, len(schema.migrations())]
        await schema.erase(stores[0])
        assert await stores[1].value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        for db in stores:
            await db.close()

    asyncio.run(run())


def test_a_server_that_crashed_and_is_back_is_used_again() -> None:
    async def test(db: Database) -> None:
        await things(db)
        await db.write(add("x"))
        server = postgresql.server()
        server.stop()
        try:
            for call in (db.value("SELECT 1"), db.write(add("y"))):
                with pytest.raises(Unavailable, match="can't be used") as refused:
                    await call
                assert "postgresql" not in refused.value.data["public"]
        finally:
            server.start()
        assert await db.all("SELECT id FROM things") == [("x",)]
        await db.write(add("y"))

    with_stores(1, test)


def test_a_connection_that_the_server_ended_is_replaced_unseen() -> None:
    async def test(db: Database) -> None:
        await things(db)
        end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        for call in (lambda: db.write(add("x")), lambda: db.all("SELECT id FROM things")):
            await asyncio.gather(*(db.value("SELECT 1 FROM pg_sleep(0.01)") for _ in range(4)))
            await db.value(end)
            await call()
        assert await db.value("SELECT count(*) FROM things") == 1

    with_stores(1, test)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://pileus:{SECRET}@127.0.0.1:1/x", "pileus@127.0.0.1:1/x.*reached at this address"),
        (f"postgresql://pileus:{SECRET}@/absent?host={{directory}}", "createdb"),
        (f"postgresql://nobody-known:{SECRET}@/postgres?host={{directory}}", "check user and password"),
    ],
)
def test_a_database_that_cannot_be_used_says_why_and_never_the_password(url: str, says: str) -> None:
    async def run() -> None:
        db = open_database(Config(database=url.format(directory=postgresql.server().directory)))
        with pytest.raises(Unavailable, match=says) as refused:
            await schema.migrate(db)
        assert SECRET not in str(refused.value) and SECRET not in repr(refused.value.__cause__)
        await db.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["mysql://u:{}@h/x", "postgresql://u:{}@h:99999999/x", "postgresql://u:{}@h", "{}", "postgresql://u:{}@[h/x"]
)
def test_a_url_that_is_none_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(Invalid, match="expected postgresql://") as refused:
        open_database(Config(database=url.format(SECRET)))
    assert SECRET not in str(refused.value) and SECRET not in repr(refused.value.__cause__)


def test_the_settings_do_not_show_the_password() -> None:
    config = Config(database=f"postgresql://u:{SECRET}@h/x")
    assert SECRET not in repr(config) and SECRET not in str(config)
