"""Migrations of all servers (os-migrations)."""

import zlib
from typing import Any

from pileus.api import policy
from pileus.api.compute import fields
from pileus.api.request import Request, Version
from pileus.model.errors import Invalid
from pileus.model.migrations import Migration, MigrationKind, MigrationStatus
from pileus.store.listing import Condition, Listing, list_rows
from pileus.store.migration_records import MIGRATIONS

QUERIES: dict[str, Version] = {
    **dict.fromkeys(["hidden", "host", "instance_uuid", "source_compute", "status", "migration_type"], (2, 1)),
    **dict.fromkeys(["limit", "marker", "changes-since"], (2, 59)),
    "changes-before": (2, 66),
    "user_id": (2, 80),
    "project_id": (2, 80),
}
EQUAL = {
    "instance_uuid": "server_id", "source_compute": "source", "status": "status", "migration_type": "kind", "user_id": "user_id",
    "project_id": "project_id",
}  # fmt: skip
IN_PROGRESS = (MigrationStatus.QUEUED, MigrationStatus.PREPARING, MigrationStatus.RUNNING, MigrationStatus.POST_MIGRATING)
"""Live migrations in these statuses are shown at their servers."""
PLACES = ("source_compute", "source_node", "dest_compute", "dest_node", "dest_host")


async def index(request: Request) -> dict[str, Any]:
    """GET /os-migrations: newest first. Whoever is no administrator sees those of the project, without hosts."""
    fields.check_queries(request, QUERIES, (2, 59))
    everywhere = policy.allowed(request, "os_compute_api:os-migrations:index:all_projects")
    conditions, where, args = _filters(request)
    if not everywhere:
        conditions.append(Condition(column="project_id", value=request.identity.project_id))
    limit = fields.page_limit(request)
    listing = Listing(
        conditions=conditions,
        sort=[("created_at", "desc"), ("number", "desc")],
        marker=request.query.get("marker"),
        limit=limit + 1,
        where=where,
        args=args,
    )
    found = await list_rows(request.cloud.db, MIGRATIONS, listing) if request.query.get("hidden") in (None, "0", "False", "false") else []
    document: dict[str, Any] = {"migrations": [_view(request, one, everywhere) for one in found[:limit]]}
    if len(found) > limit > 0:
        document["migrations_links"] = fields.next_link(request, "os-migrations", found[limit - 1].id)
    return document


def _filters(request: Request) -> tuple[list[Condition], str, list[Any]]:
    conditions = [Condition(column=column, value=request.query[name]) for name, column in EQUAL.items() if name in request.query]
    since, before = fields.query_time(request, "changes-since"), fields.query_time(request, "changes-before")
    if since is not None and before is not None and since > before:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.", field="changes-since")
    if since is not None:
        conditions.append(Condition(column="updated_at", value=since, operator="gte"))
    if before is not None:
        conditions.append(Condition(column="updated_at", value=before + 1, operator="lt"))
    host = request.query.get("host")
    return conditions, "" if host is None else "source = ? OR destination = ?", [] if host is None else [host, host]


def _view(request: Request, migration: Migration, everywhere: bool) -> dict[str, Any]:
    view = common(migration)
    view |= {
        "id": migration.number,
        "uuid": migration.id,
        "instance_uuid": migration.server_id,
        "migration_type": migration.kind.value,
        "old_instance_type_id": flavor_number(migration.old_flavor_id),
        "new_instance_type_id": flavor_number(migration.new_flavor_id),
    }
    if not everywhere:
        view |= dict.fromkeys(PLACES)
    if migration.kind == MigrationKind.LIVE and migration.status in IN_PROGRESS:
        view["links"] = fields.links(request, f"servers/{migration.server_id}/migrations", str(migration.number))
    return view


def common(migration: Migration) -> dict[str, Any]:
    """What the lists of all servers' and of one server's migrations both show."""
    return {
        "status": migration.status.value,
        "source_compute": migration.source,
        "source_node": migration.source,
        "dest_compute": migration.destination,
        "dest_node": migration.destination,
        "dest_host": migration.destination,
        "created_at": fields.iso_micro(migration.created_at),
        "updated_at": fields.iso_micro(migration.updated_at),
        "user_id": migration.user_id,
        "project_id": migration.project_id,
    }


def flavor_number(flavor_id: str) -> int:
    """Nova shows a number of its database here; ours is the flavor's id where that is a number, else one made of it."""
    return int(flavor_id) if flavor_id.isascii() and flavor_id.isdigit() and len(flavor_id) < 10 else zlib.crc32(flavor_id.encode()) >> 1
