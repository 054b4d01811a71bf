"""Server groups in the store, with their members."""

from pileus.model.errors import NotFound
from pileus.model.server_groups import ServerGroup
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

GROUPS = ResourceTable("server_groups", ServerGroup)
LIVING = "FROM server_group_members m JOIN servers s ON s.id = m.server_id WHERE s.removed_at IS NULL AND s.deleted_at IS NULL"


async def get(db: Reader, group_id: str) -> ServerGroup:
    """The group; NotFound when there is none."""
    group = await GROUPS.get(db, group_id)
    if group is None:
        raise NotFound(f"Instance group {group_id} could not be found.", id=group_id)
    return group


async def members(db: Reader, group_id: str) -> list[str]:
    """The servers of a group that are there."""
    rows = await db.all(f"SELECT m.server_id {LIVING} AND m.group_id = ? ORDER BY s.created_at, s.id", group_id)
    return [row[0] for row in rows]


async def members_of_all(db: Reader, groups: list[str]) -> dict[str, list[str]]:
    """The servers of each of these groups."""
    found: dict[str, list[str]] = {group: [] for group in groups}
    marks = ", ".join("?" * len(groups))
    sql = f"SELECT m.group_id, m.server_id {LIVING} AND m.group_id IN ({marks}) ORDER BY s.created_at"
    for group, server in await db.all(sql, *groups):
        found[group].append(server)
    return found


async def group_of(db: Reader, server_id: str) -> str | None:
    """The group that a server is in."""
    return await db.value("SELECT group_id FROM server_group_members WHERE server_id = ?", server_id)


async def join(tx: Transaction, group_id: str, servers: list[str]) -> None:
    """Put servers into a group."""
    await tx.many("INSERT INTO server_group_members (server_id, group_id) VALUES (?, ?)", [(server, group_id) for server in servers])


async def remove(tx: Transaction, group_id: str) -> None:
    """Remove a group; its servers stay where they are."""
    await tx.execute("DELETE FROM server_group_members WHERE group_id = ?", group_id)
    await GROUPS.delete(tx, group_id)


async def count(db: Reader, project_id: str) -> int:
    """How many groups a project has."""
    return int(await db.value("SELECT count(*) FROM server_groups WHERE project_id = ?", project_id))
