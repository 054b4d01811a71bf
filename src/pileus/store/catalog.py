"""Regions, services and endpoints that operators keep beside those that pileus serves itself."""

from pileus.model.catalog import CatalogService, Endpoint, EndpointGroup, Policy, Region
from pileus.store.database import Reader, Transaction
from pileus.store.policy_associations import forget_associations
from pileus.store.tables import ResourceTable

REGIONS = ResourceTable("regions", Region)
SERVICES = ResourceTable("catalog_services", CatalogService)
ENDPOINTS = ResourceTable("catalog_endpoints", Endpoint)
ENDPOINT_GROUPS = ResourceTable("endpoint_groups", EndpointGroup)
POLICIES = ResourceTable("catalog_policies", Policy)
LINKS = {"endpoint": "project_endpoints", "endpoint_group": "endpoint_group_projects"}
"""What a project is given -> the table that says so."""


async def delete_service(tx: Transaction, service_id: str) -> bool:
    """Remove a service with its endpoints; False when there was none."""
    for row in await tx.all("SELECT id FROM catalog_endpoints WHERE service_id = ?", service_id):
        await delete_endpoint(tx, row[0])
    await forget_associations(tx, "service_id", service_id)
    return await SERVICES.delete(tx, service_id)


async def delete_endpoint(tx: Transaction, endpoint_id: str) -> None:
    """Remove an endpoint, also from the projects that it was given to."""
    await tx.execute("DELETE FROM project_endpoints WHERE endpoint_id = ?", endpoint_id)
    await forget_associations(tx, "endpoint_id", endpoint_id)
    await ENDPOINTS.delete(tx, endpoint_id)


async def delete_endpoint_group(tx: Transaction, group_id: str) -> None:
    """Remove a group, also from the projects that it was given to."""
    await tx.execute("DELETE FROM endpoint_group_projects WHERE endpoint_group_id = ?", group_id)
    await ENDPOINT_GROUPS.delete(tx, group_id)


async def groups_of_project(db: Reader, project_id: str) -> list[EndpointGroup]:
    """The groups that a project was given."""
    where = "id IN (SELECT endpoint_group_id FROM endpoint_group_projects WHERE project_id = ?) ORDER BY created_at, id"
    return await ENDPOINT_GROUPS.find(db, where, project_id)


async def endpoint_ids_of_project(db: Reader, project_id: str) -> set[str]:
    """The endpoints that a project was given one by one."""
    return {row[0] for row in await db.all("SELECT endpoint_id FROM project_endpoints WHERE project_id = ?", project_id)}


async def projects_with(db: Reader, link: str, key: str) -> list[str]:
    """The projects that were given an endpoint ("endpoint") or a group ("endpoint_group")."""
    sql = f"SELECT project_id FROM {LINKS[link]} WHERE {link}_id = ? ORDER BY project_id"  # noqa: S608
    return [row[0] for row in await db.all(sql, key)]


async def link(tx: Transaction, kind: str, key: str, project_id: str) -> None:
    """Give a project an endpoint or a group; no harm when it has it."""
    sql = f"INSERT INTO {LINKS[kind]} ({kind}_id, project_id) VALUES (?, ?) ON CONFLICT DO NOTHING"  # noqa: S608
    await tx.execute(sql, key, project_id)


async def unlink(tx: Transaction, kind: str, key: str, project_id: str) -> bool:
    """Take an endpoint or a group from a project; False when it did not have it."""
    sql = f"DELETE FROM {LINKS[kind]} WHERE {kind}_id = ? AND project_id = ?"  # noqa: S608
    return await tx.execute(sql, key, project_id) > 0


async def linked(db: Reader, kind: str, key: str, project_id: str) -> bool:
    """Whether a project was given an endpoint or a group."""
    sql = f"SELECT 1 FROM {LINKS[kind]} WHERE {kind}_id = ? AND project_id = ?"  # noqa: S608
    return await db.value(sql, key, project_id) is not None
