"""What a server's steps look up before they decide: the placement's wishes, and the guest's metadata."""

import msgspec

from pileus.core.placement_request import hinted, request_of, with_hints
from pileus.model.placement import PlacementRequest
from pileus.model.servers import Server
from pileus.store import aggregates, server_groups
from pileus.store.database import Reader

GIB = 1 << 30


async def placement_request(db: Reader, server: Server) -> PlacementRequest:
    """What the server needs of a host, with where its group's members and the servers of its hints are."""
    size = int(server.image.get("virtual_size") or server.image.get("size") or 0)
    request = request_of(server, server.image.get("properties") or {}, root_gib=-(-size // GIB))
    named = hinted(server.hints, "same_host") + hinted(server.hints, "different_host")
    if named:
        request = with_hints(request, server.hints, await _hosts_of(db, named))
    group_id = await server_groups.group_of(db, server.id)
    if group_id is None:
        return request
    group = await server_groups.get(db, group_id)
    members = [member for member in await server_groups.members(db, group_id) if member != server.id]
    counts: dict[str, int] = {}
    for host in (await _hosts_of(db, members)).values():
        counts[host] = counts.get(host, 0) + 1
    most = int(group.rules.get("max_server_per_host", 1))
    return msgspec.structs.replace(request, group_policy=group.policy, group_hosts=counts, max_per_host=most)


async def aggregate_metadata(db: Reader) -> dict[str, dict[str, str]]:
    """Aggregate id -> its metadata."""
    return {one.id: one.metadata for one in await aggregates.every(db)}


async def _hosts_of(db: Reader, server_ids: list[str]) -> dict[str, str]:
    marks = ", ".join("?" * len(server_ids))
    sql = f"SELECT id, host FROM servers WHERE host IS NOT NULL AND removed_at IS NULL AND id IN ({marks})"  # noqa: S608
    return {row[0]: row[1] for row in await db.all(sql, *server_ids)}
