"""Subnet pools in the store."""

from pileus.model.errors import NotFound
from pileus.model.subnet_pools import SubnetPool
from pileus.store.database import Reader, Transaction
from pileus.store.quotas import charge
from pileus.store.tables import ResourceTable

SUBNET_POOLS = ResourceTable("subnet_pools", SubnetPool)


async def insert_pool(tx: Transaction, pool: SubnetPool) -> SubnetPool:
    """Add a pool; takes quota."""
    await charge(tx, pool.project_id, subnetpool=1)
    return await SUBNET_POOLS.insert(tx, pool)


async def default_pool(db: Reader, ip_version: int) -> SubnetPool | None:
    """The default pool of an IP version."""
    return await SUBNET_POOLS.first(db, "is_default = 1 AND ip_version = ?", ip_version)


async def usable_pool(db: Reader, pool_id: str, project_id: str | None, admin: bool) -> SubnetPool:
    """The pool when the project may take from it, else NotFound."""
    pool = await SUBNET_POOLS.get(db, pool_id)
    if pool is None or not (admin or pool.shared or pool.project_id == project_id):
        raise NotFound(f"Subnet pool {pool_id} could not be found.", type="SubnetPoolNotFound")
    return pool


async def taken(db: Reader, pool_id: str, project_id: str | None = None) -> list[str]:
    """The prefixes that subnets (of one project) have from the pool."""
    rows = await db.all("SELECT cidr, project_id FROM subnets WHERE subnetpool_id = ?", pool_id)
    return [row[0] for row in rows if project_id in (None, row[1])]


async def remove_pool(tx: Transaction, pool_id: str) -> None:
    """Remove a pool from which nothing is taken."""
    await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", pool_id)
    await SUBNET_POOLS.delete(tx, pool_id)
