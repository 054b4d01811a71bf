"""Unified limits: which there are of a resource, and what a project's or domain's is."""

from pileus.model.limits import Limit, RegisteredLimit
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

REGISTERED_LIMITS = ResourceTable("registered_limits", RegisteredLimit)
LIMITS = ResourceTable("unified_limits", Limit)


async def registered(db: Reader, service_id: str, region_id: str | None, resource_name: str) -> RegisteredLimit | None:
    """The registered limit of a resource, just in that region (None: in every one)."""
    where = "service_id = ? AND resource_name = ? AND " + ("region_id IS NULL" if region_id is None else "region_id = ?")
    return await REGISTERED_LIMITS.first(db, where, service_id, resource_name, *([] if region_id is None else [region_id]))


async def limit_of(db: Reader, registered_id: str, *, project_id: str | None = None, domain_id: str | None = None) -> Limit | None:
    """What a registered limit is for a project or a domain, where it was said."""
    column, key = ("project_id", project_id) if project_id is not None else ("domain_id", domain_id)
    return await LIMITS.first(db, f"registered_limit_id = ? AND {column} = ?", registered_id, key)


async def limits_below(db: Reader, registered_id: str, domain_id: str) -> list[Limit]:
    """What it is for the projects of a domain, where it was said."""
    where = "registered_limit_id = ? AND project_id IN (SELECT id FROM projects WHERE domain_id = ?)"
    return await LIMITS.find(db, where, registered_id, domain_id)


async def in_use(db: Reader, registered_id: str) -> bool:
    """Whether there is a limit for somebody."""
    return await db.value("SELECT 1 FROM unified_limits WHERE registered_limit_id = ?", registered_id) is not None


async def forget_limits(tx: Transaction, project_id: str) -> None:
    """A project or domain goes, with what was said of it."""
    await tx.execute("DELETE FROM unified_limits WHERE project_id = ? OR domain_id = ?", project_id, project_id)
