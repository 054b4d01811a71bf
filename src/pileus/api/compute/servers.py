"""Servers: list, show, change, delete."""

from typing import Any

import msgspec

from pileus import clock
from pileus.api import policy
from pileus.api.compute import fields, server_filters, server_views
from pileus.api.compute.server_bodies import ServerChanges
from pileus.api.compute.server_create import canonical, check_addresses
from pileus.api.policy import owned
from pileus.api.request import Request, Response
from pileus.model.errors import Conflict, NotFound
from pileus.model.servers import Server
from pileus.store import actions, server_lists, servers
from pileus.store.database import Reader, Transaction


async def index(request: Request) -> dict[str, Any]:
    """GET /servers: ids and names."""
    query = server_filters.parse(request, "os_compute_api:servers:index:get_all_tenants")
    rows = await server_lists.find(request.cloud.db, query)
    document: dict[str, Any] = {
        "servers": [{"id": row[0], "name": row[2], "links": fields.links(request, "servers", row[0])} for row in rows[: query.limit]]
    }
    if len(rows) > query.limit > 0:
        document["servers_links"] = fields.next_link(request, "servers", rows[query.limit - 1][0])
    return document


async def detail(request: Request) -> Response:
    """GET /servers/detail: encoded here, since most of it has not changed since it was asked for last."""
    query = server_filters.parse(request, "os_compute_api:servers:detail:get_all_tenants")
    rows = await server_lists.find(request.cloud.db, query)
    shown = [(row[0], row[1]) for row in rows[: query.limit]]
    parts = await server_views.page(request, shown)
    after = fields.next_link(request, "servers/detail", shown[-1][0]) if len(rows) > query.limit > 0 else None
    return Response(200, server_views.raw_list("servers", parts, after))


async def show(request: Request) -> dict[str, Any]:
    """GET /servers/{server_id}."""
    fields.check_queries(request, {}, (2, 102))
    server = await visible(request, request.cloud.db)
    return {"server": await server_views.one(request, server)}


async def update(request: Request) -> dict[str, Any]:
    """PUT /servers/{server_id}."""
    wanted: ServerChanges = request.body.server
    changes = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not msgspec.UNSET}
    check_addresses(changes.get("access_ip_v4", ""), changes.get("access_ip_v6", ""))
    changes |= {name: canonical(changes[name]) for name in ("access_ip_v4", "access_ip_v6") if name in changes}

    async def work(tx: Transaction) -> Server:
        server = await unlocked(request, tx)
        if "requested_zone" in changes:
            _check_pin(server, changes["requested_zone"])
        return await servers.save(tx, server, **changes) if changes else server

    changed = await request.cloud.db.write(work)
    request.cloud.wake("servers", changed.id)
    return {"server": await server_views.one(request, changed)}


async def delete(request: Request) -> None:
    """DELETE /servers/{server_id}: it is to go; the reconciler sees to it."""

    async def work(tx: Transaction) -> Server:
        server = await unlocked(request, tx)
        if server.deleted_at is not None:
            return server
        await actions.start(tx, server.id, "delete", request.id, request.identity.user_id, server.project_id)
        return await servers.save(tx, server, deleted_at=clock.now(), request_id=request.id)

    server = await request.cloud.db.write(work)
    request.cloud.wake("servers", server.id)
    if server.migration is not None:  # which lets go of it first
        request.cloud.wake("migrations", server.migration)


async def visible(request: Request, db: Reader, removed: bool = False) -> Server:
    """The server of the path when the caller may see it; `removed`: one that is gone too."""
    key = request.params["server_id"]
    server = await servers.SERVERS.get(db, key)
    if server is not None and server.removed_at is not None and not removed:
        server = None
    try:
        return owned(request, server, "Instance", key)
    except NotFound as error:
        raise NotFound(f"Instance {key} could not be found.") from error


async def unlocked(request: Request, db: Reader) -> Server:
    """The server of the path when the caller may change it now."""
    server = await visible(request, db)
    if server.locked and not policy.allowed(request, "os_compute_api:os-lock-server:unlock:unlock_override"):
        raise Conflict(f"Instance {server.id} is locked")
    return server


def _check_pin(server: Server, zone: str | None) -> None:
    if zone is None or zone == server.requested_zone:
        return
    if server.requested_zone is not None:
        raise Conflict(f"Instance {server.id} is pinned to zone {server.requested_zone}; unpin it first.")
    if zone != server.availability_zone:
        raise Conflict(f"Instance {server.id} is in zone {server.availability_zone}; it can be pinned to that one only.")
