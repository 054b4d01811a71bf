"""What is demanded of a cloud at rest: nothing is under way, no invariant is broken, customers have what they were told."""

from typing import Any

import msgspec

from pileus.core.verify import View, breaches
from pileus.simulation.hosts import LifeHost
from pileus.store import migration_records, routing, servers
from pileus.store.database import Database
from pileus.store.world import gather


async def under_way(db: Database) -> list[str]:
    """What is not at rest."""
    found = [f"server {one}" for one in await servers.unsettled(db)]
    moves = [one for one in await migration_records.alive(db) if one.step != "verify"]
    return found + [f"{one.kind} {one.status} {one.step} of {one.server_id}: {one.error or ''}" for one in moves]


async def broken(db: Database, stores: Any, hosts: list[LifeHost]) -> list[Any]:
    """Breaches of the invariants, with what the hosts themselves say taken in."""
    world = await gather(db, stores)
    views = [await _view(db, host) for host in hosts]
    return sorted(set(breaches(msgspec.structs.replace(world, views=views))))


async def _view(db: Database, host: LifeHost) -> View:
    guests = await host.driver.observe()
    domains = {domain.id: [port.id for port in domain.ports if port.local] for domain in await routing.all_domains(db, host.name)}
    return View(
        host=host.name,
        guests=guests,
        guest_directories=[one.id for one in guests],
        namespaces=sorted(await host.network.observe()),
        domains=domains,
    )
