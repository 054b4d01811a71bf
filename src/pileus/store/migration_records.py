"""Migrations of servers in the store: one row each, which says the truth whenever it is read."""

import time
import uuid
from typing import Any

import msgspec

from pileus.model.errors import NotFound
from pileus.model.migrations import Migration, MigrationKind, MigrationStep, NewMigration
from pileus.model.servers import Server
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

MIGRATIONS = ResourceTable("server_migrations", Migration)


async def start(tx: Transaction, server: Server, kind: MigrationKind, wanted: NewMigration | None = None) -> Migration:
    """Record that a server is to move away from the host that it is on. The server's row is the caller's to change."""
    wanted = wanted or NewMigration()
    now = time.time()
    migration = Migration(
        id=str(uuid.uuid4()),
        created_at=now,
        updated_at=now,
        number=int(await tx.value("SELECT coalesce(max(number), 0) + 1 FROM server_migrations")),
        server_id=server.id,
        kind=kind,
        source=server.host or "",
        requested_host=wanted.requested_host,
        force=wanted.force,
        block_migration=wanted.block_migration,
        old_flavor_id=server.flavor.id,
        new_flavor_id=wanted.new_flavor_id or server.flavor.id,
        user_id=wanted.user_id,
        project_id=wanted.project_id,
        request_id=wanted.request_id,
        options=wanted.options,
    )
    return await MIGRATIONS.insert(tx, migration)


async def get(db: Reader, migration_id: str) -> Migration:
    """The migration; NotFound when there is none."""
    migration = await MIGRATIONS.get(db, migration_id)
    if migration is None:
        raise NotFound(f"Migration {migration_id} could not be found.", id=migration_id)
    return migration


async def save(tx: Transaction, seen: Migration, **changes: Any) -> Migration:
    """Change a migration; a Conflict when it has changed since it was seen."""
    return await MIGRATIONS.update(tx, seen, **changes)


async def note(tx: Transaction, seen: Migration, **changes: Any) -> Migration:
    """Write what is observed of it: progress and forecast, which the reconciler alone writes; the generation stays."""
    await MIGRATIONS.set(tx, seen.id, updated_at=time.time(), **changes)
    return msgspec.structs.replace(seen, **changes)


async def unsettled(db: Reader) -> list[str]:
    """The moves about which something is to be done."""
    sql = "SELECT id FROM server_migrations WHERE step <> ? AND kind <> ?"
    return [row[0] for row in await db.all(sql, MigrationStep.DONE.value, MigrationKind.EVACUATION.value)]


async def alive_of(db: Reader, server_id: str) -> list[Migration]:
    """A server's migrations that are not over in every respect, newest first."""
    return await MIGRATIONS.find(db, "server_id = ? AND step <> ? ORDER BY created_at DESC", server_id, MigrationStep.DONE.value)


async def of_server(db: Reader, server_id: str) -> list[Migration]:
    """A server's migrations, newest first."""
    return await MIGRATIONS.find(db, "server_id = ? ORDER BY created_at DESC, number DESC", server_id)


async def of_host(db: Reader, host: str) -> list[Migration]:
    """Migrations from or to a host that are not over in every respect."""
    return await MIGRATIONS.find(db, "(source = ? OR destination = ?) AND step <> ?", host, host, MigrationStep.DONE.value)
