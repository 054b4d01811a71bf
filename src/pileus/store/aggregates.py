"""Host aggregates in the store. A host is in one availability zone; an aggregate that names one gives it to its hosts."""

from typing import Any

from pileus import clock
from pileus.model.aggregates import Aggregate
from pileus.model.errors import Conflict, NotFound
from pileus.store import providers
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

AGGREGATES = ResourceTable("aggregates", Aggregate)
DEFAULT_ZONE = "nova"


async def get(db: Reader, number: int) -> Aggregate:
    """The aggregate; NotFound when there is none."""
    aggregate = await AGGREGATES.first(db, "number = ?", number)
    if aggregate is None:
        raise NotFound(f"Aggregate {number} could not be found.", id=number)
    return aggregate


async def every(db: Reader) -> list[Aggregate]:
    """All aggregates, oldest first."""
    return await AGGREGATES.find(db, "1 = 1 ORDER BY number")


async def next_number(tx: Transaction) -> int:
    """The id of the next aggregate."""
    return int(await tx.value("SELECT coalesce(max(number), 0) + 1 FROM aggregates"))


async def create(tx: Transaction, aggregate: Aggregate) -> Aggregate:
    """Add an aggregate; a Conflict when its name is taken."""
    await _unique(tx, aggregate.name)
    return await AGGREGATES.insert(tx, aggregate)


async def change(tx: Transaction, aggregate: Aggregate, **changes: Any) -> Aggregate:
    """Change an aggregate, and the zone of the hosts that it has or had."""
    if "name" in changes and changes["name"] != aggregate.name:
        await _unique(tx, changes["name"])
    changed = await AGGREGATES.update(tx, aggregate, **changes)
    for host in {*aggregate.hosts, *changed.hosts}:
        await _refresh_zone(tx, host)
        await providers.set_member(tx, host, changed.id, host in changed.hosts)
    return changed


async def leave(tx: Transaction, host: str, aggregate_id: str | None = None) -> None:
    """A host that goes, or is gone, is in no aggregate any more, or in this one."""
    for one in await every(tx):
        if host in one.hosts and aggregate_id in (None, one.id):
            await change(tx, one, hosts=[name for name in one.hosts if name != host])


async def remove(tx: Transaction, aggregate: Aggregate) -> None:
    """Remove an aggregate that has no hosts."""
    if aggregate.hosts:
        raise Conflict(f"Cannot remove aggregate {aggregate.number}: it is not empty.", status=400)
    await AGGREGATES.delete(tx, aggregate.id)


async def zone_of(db: Reader, host: str) -> str:
    """The availability zone that a host is in."""
    zones = [one.availability_zone for one in await every(db) if host in one.hosts and one.availability_zone]
    return zones[0] if zones else DEFAULT_ZONE


async def _refresh_zone(tx: Transaction, host: str) -> None:
    zone = await zone_of(tx, host)
    await tx.execute("UPDATE hosts SET availability_zone = ?, updated_at = ? WHERE name = ?", zone, clock.now(), host)
    await tx.execute("UPDATE servers SET availability_zone = ? WHERE host = ? AND removed_at IS NULL", zone, host)


async def _unique(tx: Transaction, name: str) -> None:
    if await tx.value("SELECT 1 FROM aggregates WHERE name = ?", name):
        raise Conflict(f"Aggregate {name} already exists.")
