"""Migrations of servers in the store: one row each, which says the truth whenever it is read."""

import uuid
from typing import Any

import msgspec

from pileus import clock
from pileus.core.migrations import UNDOABLE
from pileus.model.errors import NotFound
from pileus.model.guests import Power
from pileus.model.migrations import ENDED, Migration, MigrationKind, MigrationStatus, MigrationStep, NewMigration
from pileus.model.placement import Wanted
from pileus.model.servers import Resize, ResizeStep, Server
from pileus.store import allocations, servers
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

MIGRATIONS = ResourceTable("server_migrations", Migration)


async def start(tx: Transaction, server: Server, kind: MigrationKind, wanted: NewMigration | None = None) -> Migration:
    """Record that a server is to move away from the host that it is on. The server's row is the caller's to change."""
    wanted = wanted or NewMigration()
    now = clock.now()
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
        stop=wanted.stop,
        status=MigrationStatus.QUEUED if kind == MigrationKind.LIVE else MigrationStatus.ACCEPTED,
        step=MigrationStep.VERIFY if kind == MigrationKind.RESIZE else MigrationStep.PLACE,  # a resize tries the server's own host first
    )
    return await MIGRATIONS.insert(tx, migration)


async def begin(tx: Transaction, server: Server, kind: MigrationKind, wanted: NewMigration) -> Migration:
    """Put a server into the hands of a new migration; wake "migrations" for its id. The action's record is the caller's to start.

    LIVE: as it runs. COLD: off, then it waits to be confirmed; one that is suspended moves as it is, and nothing is to be confirmed.
    """
    migration = await start(tx, server, kind, wanted)
    changes: dict[str, Any] = {"migration": migration.id, "request_id": wanted.request_id, "fault": None}
    if kind == MigrationKind.COLD and server.power != Power.SUSPENDED:
        changes["resize"] = Resize(step=ResizeStep.MOVE, old=server.flavor, new=server.flavor, migration=migration.id)
        changes["power"] = server.power  # a new generation: the host is told to shut the guest down
    await servers.save(tx, server, **changes)
    return migration


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
    await MIGRATIONS.set(tx, seen.id, updated_at=clock.now(), **changes)
    return msgspec.structs.replace(seen, **changes)


async def unsettled(db: Reader) -> list[str]:
    """The moves about which something is to be done."""
    sql = "SELECT id FROM server_migrations WHERE step <> ? AND kind <> ?"
    return [row[0] for row in await db.all(sql, MigrationStep.DONE.value, MigrationKind.EVACUATION.value)]


async def alive(db: Reader) -> list[Migration]:
    """Every migration that is not over in every respect."""
    return await MIGRATIONS.find(db, "step <> ?", MigrationStep.DONE.value)


async def alive_of(db: Reader, server_id: str) -> list[Migration]:
    """A server's migrations that are not over in every respect, newest first."""
    return await MIGRATIONS.find(db, "server_id = ? AND step <> ? ORDER BY created_at DESC", server_id, MigrationStep.DONE.value)


async def of_server(db: Reader, server_id: str) -> list[Migration]:
    """A server's migrations, newest first."""
    return await MIGRATIONS.find(db, "server_id = ? ORDER BY created_at DESC, number DESC", server_id)


async def of_host(db: Reader, host: str) -> list[Migration]:
    """Migrations from or to a host that are not over in every respect."""
    return await MIGRATIONS.find(db, "(source = ? OR destination = ?) AND step <> ?", host, host, MigrationStep.DONE.value)


def ends_with_host(move: Migration) -> bool:
    """Whether a move can be ended when the host that the server is at is lost: until the server is the destination's, and a live one that
    has not arrived there, or goes back. Not one that is over but for what it left, nor one that waits for a word of the server's owner."""
    live_there = move.step in (MigrationStep.FINISH, MigrationStep.RESUME) and move.kind == MigrationKind.LIVE
    return live_there or (move.step in (*UNDOABLE, MigrationStep.UNDO) and not move.restored and not move.back)


async def may_be_evacuated(db: Reader, server: Server) -> bool:
    """Whether a server whose host is lost may start elsewhere: unless a resize or cold migration has begun to change hosts."""
    moves = [one for one in await alive_of(db, server.id) if one.kind != MigrationKind.EVACUATION]
    return server.resize is None or (bool(moves) and all(ends_with_host(one) or one.step == MigrationStep.CLEAN for one in moves))


async def forget_host(tx: Transaction, host: str) -> None:
    """The host will not come back: what was still to be removed from it needs no removing, and what is held of it is free."""
    for one in await of_host(tx, host):
        left = (
            one.source if one.step == MigrationStep.CLEAN else one.destination if one.step == MigrationStep.UNDO and one.restored else None
        )
        if left == host and one.owed:  # its source is still to be told
            await save(tx, one, destination=None)
        elif left == host:
            await allocations.release(tx, one.id)
            await save(tx, one, step=MigrationStep.DONE, keys=None)


async def forget_server(tx: Transaction, server: Server) -> None:
    """The server is gone from its host: what its migrations hold is free, and what other hosts keep of it goes."""
    for one in await alive_of(tx, server.id):
        if one.kind == MigrationKind.EVACUATION:
            continue
        await allocations.release(tx, one.id)
        status = one.status if one.status in ENDED else MigrationStatus.CONFIRMED  # as in Nova, when it waited for a word
        step = MigrationStep.DONE if one.source == server.host else MigrationStep.CLEAN
        await save(tx, one, status=status, step=step, keys=None)


async def swap_claims(tx: Transaction, migration: Migration, server: Server, destination: dict[str, dict[str, int]]) -> None:
    """During the move the migration holds what the server has at the source, and the server what it takes of the destination."""
    held = {one.provider_id: one.resources for one in await allocations.of_consumer(tx, server.id)}
    await allocations.replace(tx, [_share(migration.id, server, held, "MIGRATION"), _share(server.id, server, destination, "INSTANCE")])


async def return_claims(tx: Transaction, migration: Migration, server: Server) -> None:
    """The server has again what the migration held for it."""
    held = {one.provider_id: one.resources for one in await allocations.of_consumer(tx, migration.id)}
    if held:
        await allocations.replace(tx, [_share(migration.id, server, {}, "MIGRATION"), _share(server.id, server, held, "INSTANCE")])


def _share(consumer_id: str, server: Server, shares: dict[str, dict[str, int]], kind: str) -> Wanted:
    return Wanted(
        consumer_id=consumer_id,
        allocations=shares,
        project_id=server.project_id,
        user_id=server.user_id,
        consumer_type=kind,
        unguarded=True,
        released=not shares,
    )
