"""Servers in the store. Whatever is written, status and states are derived anew in the same transaction."""

from typing import Any

import msgspec

from pileus import clock
from pileus.core.servers import derive, observe
from pileus.model.base import Model
from pileus.model.errors import Conflict, NotFound
from pileus.model.guests import ObservedGuest
from pileus.model.servers import Resize, Server
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable, Table

SERVERS = ResourceTable("servers", Server)
KEPT = 7 * 24 * 3600.0
"""Seconds that the row of a server that is gone is kept, for lists of deleted servers and for its history."""
DESIRED = frozenset(
    {"power", "flavor", "reboots_soft", "reboots_hard", "builds", "deleted_at", "name", "hostname", "metadata", "image_id", "image"}
)
"""The columns whose change a node has to be told of: these make a new generation."""


async def insert_servers(tx: Transaction, servers: list[Server]) -> list[Server]:
    """Add servers; quota is the caller's to charge, in the same transaction.

    The first generation is 1: a host that has applied nothing yet observes generation 0.
    """
    derived = [derive(msgspec.structs.replace(server, generation=max(server.generation, 1))) for server in servers]
    await SERVERS.insert_many(tx, derived)
    return derived


async def get(db: Reader, server_id: str) -> Server:
    """The server; NotFound when there is none or it is gone."""
    server = await SERVERS.get(db, server_id)
    if server is None or server.removed_at is not None:
        raise NotFound(f"Instance {server_id} could not be found.", id=server_id)
    return server


async def several(db: Reader, server_ids: list[str]) -> list[Server]:
    """The rows of these servers, of those that are there."""
    return await SERVERS.find(db, f"id IN ({', '.join('?' * len(server_ids))})", *server_ids) if server_ids else []


async def save(tx: Transaction, seen: Server, **changes: Any) -> Server:
    """Change what is wanted or decided. Refused as a Conflict when the row has changed since it was seen.

    A change that a node must hear of makes a new generation; others (tags, lock, fault ...) keep it, so that nothing is applied for them.
    """
    current = await get(tx, seen.id)
    if current.generation != seen.generation:
        raise Conflict(f"Instance {seen.id} was changed by another request; read it again and repeat.", stale=True)
    return await change(tx, current, **changes)


async def change(tx: Transaction, current: Server, **changes: Any) -> Server:
    """As `save`, of a row that was read in this very transaction."""
    grows = 1 if DESIRED & changes.keys() else 0
    changed = msgspec.structs.replace(current, **{"updated_at": clock.now(), **changes, "generation": current.generation + grows})
    return await _write(tx, current, derive(changed))


async def tell_again(tx: Transaction, server_id: str) -> bool:
    """Have the server's host be told anew, since what its guest may read of itself has changed; False where there is nothing to tell."""
    current = await SERVERS.get(tx, server_id)
    if current is None or current.host is None or current.fault or current.deleted_at is not None or current.removed_at is not None:
        return False
    changed = msgspec.structs.replace(current, generation=current.generation + 1, updated_at=clock.now())
    await _write(tx, current, derive(changed))
    return True


async def record_observed(tx: Transaction, server_id: str, observed: ObservedGuest, now: float) -> Server | None:
    """Write what a node saw; None when there is no such server. The first time that it runs is its launch."""
    current = await SERVERS.get(tx, server_id)
    if current is None or current.removed_at is not None:
        return None
    return await observed_as(tx, current, observed, now)


async def observed_as(tx: Transaction, current: Server, observed: ObservedGuest, now: float) -> Server:
    """As `record_observed`, of a row that was read in this very transaction."""
    return await _write(tx, current, derive(observe(current, observed, now)))


async def record_removed(tx: Transaction, server_id: str, now: float) -> Server | None:
    """The server is gone from its host: nothing is left of it but this row."""
    current = await SERVERS.get(tx, server_id)
    if current is None or current.removed_at is not None:
        return None
    gone = msgspec.structs.replace(current, removed_at=now, terminated_at=now, updated_at=now, observed=None, admin_password=None)
    for table in ("device_tags", "console_tokens", "server_group_members"):
        await tx.execute(f"DELETE FROM {table} WHERE server_id = ?", server_id)  # noqa: S608
    return await _write(tx, current, derive(gone))


async def unsettled(db: Reader) -> list[str]:
    """The servers about which something is to be done."""
    return [row[0] for row in await db.all("SELECT id FROM servers WHERE next_step <> 'nothing'")]


async def rederive(tx: Transaction, server_id: str) -> None:
    """Write anew what follows from the rest: for a row of an earlier version."""
    current = await SERVERS.get(tx, server_id)
    if current is not None:
        await _write(tx, current, derive(current))


async def purge(tx: Transaction, now: float) -> int:
    """Forget the servers that are gone for long, with their actions and decisions; returns how many."""
    old = "SELECT id FROM servers WHERE removed_at < ?"
    before = now - KEPT
    await tx.execute(
        f"DELETE FROM server_action_events WHERE action_id IN (SELECT id FROM server_actions WHERE server_id IN ({old}))",  # noqa: S608
        before,
    )
    for table in ("server_actions", "placement_decisions"):
        await tx.execute(f"DELETE FROM {table} WHERE server_id IN ({old})", before)  # noqa: S608
    return await tx.execute("DELETE FROM servers WHERE removed_at < ?", before)


class Placed(Model, frozen=True, kw_only=True):
    """The part of a server that its host's reports are compared with: hosts report often."""

    id: str
    updated_at: float
    next_step: str
    resize: Resize | None
    observed: ObservedGuest | None


PLACED = Table("servers", Placed)


async def placed_on(db: Reader, host: str) -> list[Placed]:
    """What is known of the servers that are placed on a host."""
    return await PLACED.find(db, "host = ? AND removed_at IS NULL", host)


async def on_host(db: Reader, host: str) -> list[Server]:
    """The servers that are placed on a host."""
    return await SERVERS.find(db, "host = ? AND removed_at IS NULL", host)


async def _write(tx: Transaction, before: Server, after: Server) -> Server:
    pairs = zip(SERVERS.columns, msgspec.structs.astuple(before), msgspec.structs.astuple(after), strict=True)
    changed = {name: new for name, old, new in pairs if new is not old and new != old}
    if changed:
        await SERVERS.set(tx, after.id, **changed)
    return after
