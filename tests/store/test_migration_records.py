"""Migrations in the store: numbered, found by server and host, with claims that change hands."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.model.errors import Conflict
from pileus.model.guests import Power
from pileus.model.migrations import MigrationKind, MigrationStatus, MigrationStep, NewMigration
from pileus.model.placement import Claim, Inventory
from pileus.model.servers import ResizeStep, Server, ServerFlavor
from pileus.store import allocations, migration_records, providers, servers
from pileus.store.database import Database, Transaction
from pileus.store.schema import migrate
from tests.store.conftest import store_at

HAVE = {"VCPU": 1}


def with_database(path: Path, work: Callable[[Database], Awaitable[None]]) -> None:
    """Run it on a fresh store."""

    async def run() -> None:
        db = store_at(path)
        try:
            await migrate(db)
            await work(db)
        finally:
            await db.close()

    asyncio.run(run())


async def fill(tx: Transaction, **fields: Any) -> Server:
    """Two hosts' providers and a server on the first."""
    now = time.time()
    ids = [str(uuid.uuid4()), str(uuid.uuid4())]
    for number, provider_id in enumerate(ids):
        provider = await providers.create(tx, provider_id, f"h{number}-{provider_id}")
        await providers.set_inventories(tx, provider, {"VCPU": Inventory(total=2)})
    server = Server(
        id=str(uuid.uuid4()), created_at=now, updated_at=now, project_id="p", user_id="u", name="one", hostname="one", vcpus=1,
        memory_mib=64, flavor=ServerFlavor(id="1", name="tiny", vcpus=1, ram=64, disk=1), host=ids[0], **fields,
    )  # fmt: skip
    [made] = await servers.insert_servers(tx, [server])
    seen = await providers.get(tx, ids[0])
    await allocations.claim(
        tx, Claim(consumer_id=made.id, provider_id=ids[0], generation=seen.generation, resources=HAVE, project_id="p", user_id="u")
    )
    return made


async def other(tx: Transaction, server: Server) -> str:
    return str(await tx.value("SELECT id FROM resource_providers WHERE id <> ?", server.host))


def test_numbers_grow_and_the_newest_comes_first(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        server = await db.write(fill)
        first = await db.write(lambda tx: migration_records.start(tx, server, MigrationKind.EVACUATION))
        second = await db.write(lambda tx: migration_records.start(tx, server, MigrationKind.EVACUATION))
        assert second.number == first.number + 1
        assert [one.id for one in await migration_records.of_server(db, server.id)] == [second.id, first.id]
        assert await migration_records.unsettled(db) == []  # evacuations are another reconciler's

    with_database(tmp_path, work)


def test_a_live_migration_takes_the_server_into_its_hands(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        server = await db.write(fill)
        made = await db.write(lambda tx: migration_records.begin(tx, server, MigrationKind.LIVE, NewMigration(request_id="r")))
        after = await servers.get(db, server.id)
        assert (after.migration, after.resize, after.generation) == (made.id, None, server.generation)
        assert (made.status, made.step, made.source) == (MigrationStatus.QUEUED, MigrationStep.PLACE, server.host)
        assert await migration_records.unsettled(db) == [made.id]
        assert [one.id for one in await migration_records.of_host(db, str(server.host))] == [made.id]

    with_database(tmp_path, work)


@pytest.mark.parametrize(("power", "stops"), [(Power.RUNNING, True), (Power.STOPPED, True), (Power.SUSPENDED, False)])
def test_a_cold_migration_shuts_down_what_is_not_suspended(tmp_path: Path, power: Power, stops: bool) -> None:
    async def work(db: Database) -> None:
        server = await db.write(lambda tx: fill(tx, power=power))
        await db.write(lambda tx: migration_records.begin(tx, server, MigrationKind.COLD, NewMigration()))
        after = await servers.get(db, server.id)
        assert (after.resize is not None and after.resize.step == ResizeStep.MOVE) == stops
        assert (after.generation > server.generation) == stops

    with_database(tmp_path, work)


def test_a_change_of_what_has_changed_since_is_refused(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        server = await db.write(fill)
        made = await db.write(lambda tx: migration_records.start(tx, server, MigrationKind.LIVE))
        await db.write(lambda tx: migration_records.note(tx, made, error="seen"))
        await db.write(lambda tx: migration_records.save(tx, made, abort=True))
        with pytest.raises(Conflict):
            await db.write(lambda tx: migration_records.save(tx, made, step=MigrationStep.PREPARE))

    with_database(tmp_path, work)


def test_claims_change_hands_and_come_back(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        server = await db.write(fill)
        made = await db.write(lambda tx: migration_records.start(tx, server, MigrationKind.LIVE))

        async def swap(tx: Transaction) -> str:
            destination = await other(tx, server)
            await migration_records.swap_claims(tx, made, server, {destination: HAVE})
            return destination

        destination = await db.write(swap)
        assert [one.provider_id for one in await allocations.of_consumer(db, made.id)] == [server.host]
        assert [one.provider_id for one in await allocations.of_consumer(db, server.id)] == [destination]
        await db.write(lambda tx: migration_records.return_claims(tx, made, server))
        assert await allocations.of_consumer(db, made.id) == []
        assert [one.provider_id for one in await allocations.of_consumer(db, server.id)] == [server.host]
        assert (await providers.get(db, destination)).used == {}

    with_database(tmp_path, work)


def test_a_server_that_is_gone_leaves_only_what_another_host_has_to_remove(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        server = await db.write(fill)
        made = await db.write(lambda tx: migration_records.start(tx, server, MigrationKind.COLD))
        await db.write(lambda tx: migration_records.save(tx, made, step=MigrationStep.VERIFY, source="elsewhere", keys="sealed"))
        await db.write(lambda tx: migration_records.forget_server(tx, server))
        [left] = await migration_records.alive_of(db, server.id)
        assert (left.step, left.status, left.keys) == (MigrationStep.CLEAN, MigrationStatus.CONFIRMED, None)

    with_database(tmp_path, work)
