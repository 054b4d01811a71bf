"""The live migrations of one server: how far they are, ending them, forcing them; and what one would take (ours)."""

from typing import Any

import msgspec

from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.compute.migrations import IN_PROGRESS, common
from pileus.api.compute.server_migrate import move_options
from pileus.api.request import Request
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.messages import ForecastMove, MoveReply
from pileus.model.migrations import Migration, MigrationKind, MigrationStatus
from pileus.model.moves import MovePhase, MoveProgress
from pileus.model.servers import Server
from pileus.store import actions, migration_records
from pileus.store.database import Reader, Transaction

STRICT = (2, 102)
FORECAST_TIMEOUT = 30.0
WAITING = (MigrationStatus.QUEUED, MigrationStatus.PREPARING)


async def index(request: Request) -> dict[str, Any]:
    """GET migrations: the live migrations that are under way."""
    fields.check_queries(request, {}, STRICT)
    server = await resource.visible(request, request.cloud.db)
    found = await migration_records.of_server(request.cloud.db, server.id)
    return {"migrations": [_view(one) for one in found if one.kind == MigrationKind.LIVE and one.status in IN_PROGRESS]}


async def show(request: Request) -> dict[str, Any]:
    """GET migrations/{migration_id}."""
    fields.check_queries(request, {}, STRICT)
    server = await resource.visible(request, request.cloud.db)
    migration = await _find(request, request.cloud.db, server)
    if migration.kind != MigrationKind.LIVE:
        raise NotFound(f"Migration {migration.number} for server {server.id} is not live-migration.")
    if migration.status not in IN_PROGRESS:
        raise NotFound(f"Live migration {migration.number} for server {server.id} is not in progress.")
    return {"migration": _view(migration)}


async def progress(request: Request) -> dict[str, Any]:
    """GET migrations/{migration_id}/progress (ours): phase, rounds and forecast, also of a migration that is over."""
    server = await resource.visible(request, request.cloud.db)
    migration = await _find(request, request.cloud.db, server)
    shown = {
        "id": migration.number,
        "uuid": migration.id,
        "migration_type": migration.kind.value,
        **common(migration),
        "error": migration.error,
        "started_at": fields.iso_micro(migration.started_at),
        "finished_at": fields.iso_micro(migration.finished_at),
        "forecast": msgspec.to_builtins(migration.forecast),
        "progress": msgspec.to_builtins(migration.progress),
    }
    return {"progress": shown}


async def forecast(request: Request) -> dict[str, Any]:
    """GET pileus-forecast (ours): what a live migration of the server would take now, as its host measures it."""
    server = await resource.visible(request, request.cloud.db)
    if server.host is None or server.vm_state not in ("active", "paused"):
        raise Conflict(f"Instance {server.id} does not run: there is nothing to forecast.")
    wanted = ForecastMove(guest_id=server.id, options=move_options(request.cloud.config))
    reply = await request.cloud.bus.request(server.host, wanted, timeout=FORECAST_TIMEOUT)
    assert isinstance(reply, MoveReply)  # the bus gives what the request asks for
    return {"forecast": msgspec.to_builtins(reply.progress.forecast)}


async def abort(request: Request) -> None:
    """DELETE migrations/{migration_id}: the server stays where it is."""
    await _wish(request, "live_migration_cancel", "abort", (*WAITING, MigrationStatus.RUNNING))


async def abort_running(request: Request) -> None:
    """The same before 2.65: only what has begun."""
    await _wish(request, "live_migration_cancel", "abort", (MigrationStatus.RUNNING,))


async def force_complete(request: Request) -> None:
    """The action force_complete: it ends now, whatever pause that takes."""
    await _wish(request, "live_migration_force_complete", "force_complete", (MigrationStatus.RUNNING,))


async def _wish(request: Request, action: str, column: str, states: tuple[MigrationStatus, ...]) -> None:
    async def work(tx: Transaction) -> Migration:
        server = await resource.unlocked(request, tx)
        migration = await _find(request, tx, server)
        if server.task_state != "migrating":
            raise Conflict(f"Cannot '{action}' instance {server.id} while it is in task_state {server.task_state}")
        if migration.kind != MigrationKind.LIVE or migration.status not in states:
            raise Invalid(
                f"Migration {migration.number} state of instance {server.id} is {migration.status}. Cannot {action} while the migration is "
                "in this state."
            )
        await actions.start(tx, server.id, action, request.id, request.identity.user_id, server.project_id)
        await actions.finish(tx, server.id, request.id, f"compute_{action}", host=server.host)
        return await migration_records.save(tx, migration, **{column: True})

    migration = await request.cloud.db.write(work)
    request.cloud.wake("migrations", migration.id)


async def _find(request: Request, db: Reader, server: Server) -> Migration:
    key = request.params["migration_id"]
    found = await migration_records.of_server(db, server.id)
    for one in found:
        if key in (str(one.number), one.id):
            return one
    raise NotFound(f"Migration {key} not found for server {server.id}")


def _view(migration: Migration) -> dict[str, Any]:
    seen = migration.progress or MoveProgress(phase=MovePhase.READY)
    figures = {
        "memory_total_bytes": seen.memory_total,
        "memory_processed_bytes": seen.memory_sent,
        "memory_remaining_bytes": seen.memory_remaining,
        "disk_total_bytes": seen.disk_total,
        "disk_processed_bytes": seen.disk_sent,
        "disk_remaining_bytes": max(seen.disk_total - seen.disk_sent, 0),
    }
    view = {"id": migration.number, "uuid": migration.id, "server_uuid": migration.server_id, **common(migration)}
    return view | {name: value or None for name, value in figures.items()}  # Nova's schema has no zero here
