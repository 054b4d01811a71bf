"""Admissions to the message bus: whose key is whose, what a removal voids, and what a removed host says."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.model.errors import Conflict, Forbidden, Unavailable
from pileus.model.hosts import HostReport
from pileus.reconcile.hosts import Hosts
from pileus.store import admissions, schema
from pileus.store.database import Database, Transaction
from pileus.store.hosts import HOSTS
from tests.store.conftest import store_at


def on_store(directory: Path, work: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        db = store_at(directory)
        try:
            await schema.migrate(db)
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


async def admit(db: Database, host: str, key: str, now: float, fresh: bool = True) -> None:
    await db.write(lambda tx: admissions.admit(tx, host, key, "default", now, fresh))


async def revoke(db: Database, host: str, now: float) -> None:
    await db.write(lambda tx: admissions.revoke(tx, host, now))


def test_a_removed_hosts_key_is_void_and_its_old_token_does_not_bring_it_back(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await admit(db, "one", "KEY1", 10.0)
        await admit(db, "one", "KEY1", 11.0, fresh=False)  # its answer was lost
        await admit(db, "two", "KEY2", 12.0)
        assert await admissions.revoked(db) == {}
        await revoke(db, "one", 20.7)
        await revoke(db, "one", 30.0)
        assert await admissions.revoked(db) == {"KEY1": 20}
        assert await admissions.shut_out(db, ["one", "two", "unknown"]) == {"one"}
        with pytest.raises(Forbidden, match="was removed"):
            await admit(db, "one", "KEY1", 40.0, fresh=False)
        await admit(db, "one", "KEY3", 50.0)
        assert await admissions.shut_out(db, ["one", "two"]) == set()
        assert await admissions.revoked(db) == {"KEY1": 20}

    on_store(tmp_path, work)


def test_a_host_that_joins_anew_has_one_key_and_no_host_has_anothers(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await admit(db, "one", "KEY1", 10.0)
        await admit(db, "one", "KEY2", 20.0)
        assert await admissions.revoked(db) == {"KEY1": 20}
        with pytest.raises(Conflict, match="that of one"):
            await admit(db, "two", "KEY2", 30.0)

    on_store(tmp_path, work)


def test_a_removed_host_that_reports_does_not_come_back_but_one_that_has_joined_anew_does(tmp_path: Path) -> None:
    def said(host: str, at: float) -> HostReport:
        return HostReport(host=host, address="", version="", started_at=1.0, reported_at=at, vcpus=1, memory_mib=1, disk_gib=1)

    async def work(db: Database) -> None:
        hosts = Hosts(db, LocalBus(), Config(state=str(tmp_path)), lambda name, id: None)

        async def known(*reports: HostReport) -> list[str]:
            for one in reports:
                hosts.receive(one)
            for one in reports:
                await hosts.step(one.host)
            return sorted(host.name for host in await HOSTS.find(db, "1 = 1"))

        async def remove(tx: Transaction) -> None:
            host = await HOSTS.first(tx, "name = ?", "one")
            assert host
            await tx.execute("DELETE FROM resource_providers")
            await HOSTS.delete(tx, host.id)
            await admissions.revoke(tx, "one", 105.0)

        await admit(db, "one", "KEY1", 90.0)
        assert await known(said("one", 100.0)) == ["one"]
        await db.write(remove)
        assert await known(said("one", 110.0), said("never-admitted", 110.0)) == ["never-admitted"]
        assert await known(said("one", 120.0)) == ["never-admitted"]
        await admit(db, "one", "KEY2", 130.0)
        assert await known(said("one", 140.0)) == ["never-admitted", "one"]

    on_store(tmp_path, work)


def test_a_process_that_may_not_migrate_says_which_does(tmp_path: Path) -> None:
    async def run() -> None:
        db = store_at(tmp_path)
        try:
            with pytest.raises(Unavailable, match="serve --role cloud"):
                await schema.check(db)
            assert await schema.missing(db) == [name for name, _ in schema.migrations()]
            await schema.migrate(db)
            await schema.check(db)
            await db.write(lambda tx: tx.execute("INSERT INTO schema_migrations (name, applied_at) VALUES ('9999_later', 1)"))
            with pytest.raises(Unavailable, match="newer"):
                await schema.check(db)
        finally:
            await db.close()

    asyncio.run(run())
