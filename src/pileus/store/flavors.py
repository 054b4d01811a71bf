"""Flavors in the store, and which projects may use those that are not public."""

from typing import Any

from pileus.model.errors import Conflict, NotFound
from pileus.model.flavors import Flavor
from pileus.store.database import Reader, Transaction
from pileus.store.listing import Listing, list_rows
from pileus.store.tables import ResourceTable

FLAVORS = ResourceTable("flavors", Flavor)
ACCESS = "(flavors.is_public = 1 OR flavors.id IN (SELECT flavor_id FROM flavor_access WHERE project_id = ?))"


async def get(db: Reader, flavor_id: str, project_id: str | None = None) -> Flavor:
    """The flavor; NotFound when there is none, or when `project_id` is given and that project may not use it."""
    if project_id is None:
        flavor = await FLAVORS.get(db, flavor_id)
    else:
        flavor = await FLAVORS.first(db, f"flavors.id = ? AND {ACCESS}", flavor_id, project_id)
    if flavor is None:
        raise NotFound(f"Flavor {flavor_id} could not be found.", id=flavor_id)
    return flavor


async def find(db: Reader, listing: Listing) -> list[Flavor]:
    """One page of flavors."""
    return await list_rows(db, FLAVORS, listing)


async def create(tx: Transaction, flavor: Flavor) -> Flavor:
    """Add a flavor; a Conflict when its id or its name is taken."""
    if await FLAVORS.get(tx, flavor.id):
        raise Conflict(f"Flavor with ID {flavor.id} already exists.")
    if await tx.value("SELECT 1 FROM flavors WHERE name = ?", flavor.name):
        raise Conflict(f"Flavor with name {flavor.name} already exists.")
    return await FLAVORS.insert(tx, flavor)


async def change(tx: Transaction, flavor_id: str, **changes: Any) -> Flavor:
    """Change columns of a flavor."""
    return await FLAVORS.update(tx, await get(tx, flavor_id), **changes)


async def remove(tx: Transaction, flavor_id: str) -> None:
    """Remove a flavor; servers keep their copy of it."""
    if not await FLAVORS.delete(tx, flavor_id):
        raise NotFound(f"Flavor {flavor_id} could not be found.", id=flavor_id)
    await tx.execute("DELETE FROM flavor_access WHERE flavor_id = ?", flavor_id)


async def projects_of(db: Reader, flavor_id: str) -> list[str]:
    """The projects that were given access to a flavor."""
    rows = await db.all("SELECT project_id FROM flavor_access WHERE flavor_id = ? ORDER BY project_id", flavor_id)
    return [row[0] for row in rows]


async def grant(tx: Transaction, flavor_id: str, project_id: str) -> None:
    """Give a project access; a Conflict when it has it."""
    if project_id in await projects_of(tx, flavor_id):
        raise Conflict(f"Flavor access already exists for flavor {flavor_id} and project {project_id} combination.")
    await tx.execute("INSERT INTO flavor_access (flavor_id, project_id) VALUES (?, ?)", flavor_id, project_id)


async def revoke(tx: Transaction, flavor_id: str, project_id: str) -> None:
    """Take access away; NotFound when the project has none."""
    if not await tx.execute("DELETE FROM flavor_access WHERE flavor_id = ? AND project_id = ?", flavor_id, project_id):
        raise NotFound(f"Flavor access not found for {flavor_id} / {project_id} combination.")
