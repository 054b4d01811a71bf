"""Subnets in the store."""

from pileus.model.subnets import Subnet
from pileus.store.addresses import forget_cursor
from pileus.store.database import Reader, Transaction
from pileus.store.quotas import charge
from pileus.store.tables import ResourceTable

SUBNETS = ResourceTable("subnets", Subnet)


async def subnets_of_network(db: Reader, network_id: str) -> list[Subnet]:
    """A network's subnets, oldest first."""
    return await SUBNETS.find(db, "network_id = ? ORDER BY created_at, id", network_id)


async def subnet_ids(db: Reader, network_ids: list[str]) -> dict[str, list[str]]:
    """Network id -> ids of its subnets, oldest first."""
    found: dict[str, list[str]] = {network_id: [] for network_id in network_ids}
    if network_ids:
        marks = ", ".join("?" * len(network_ids))
        sql = f"SELECT network_id, id FROM subnets WHERE network_id IN ({marks}) ORDER BY created_at, id"  # noqa: S608
        for network_id, subnet_id in await db.all(sql, *network_ids):
            found[network_id].append(subnet_id)
    return found


async def insert_subnet(tx: Transaction, subnet: Subnet) -> Subnet:
    """Add a subnet; takes quota."""
    await charge(tx, subnet.project_id, subnet=1)
    return await SUBNETS.insert(tx, subnet)


async def remove_subnet(tx: Transaction, subnet_id: str) -> None:
    """Remove a subnet whose addresses were given back."""
    await forget_cursor(tx, subnet_id)
    await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", subnet_id)
    await SUBNETS.delete(tx, subnet_id)
