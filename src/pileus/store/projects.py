"""Projects: the tree, names, and removal with all that hangs on one."""

from pileus.model.projects import Project
from pileus.store.database import Reader, Transaction
from pileus.store.limits import forget_limits
from pileus.store.oauth1 import delete_access_tokens
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable
from pileus.store.trusts import delete_trusts_of

PROJECTS = ResourceTable("projects", Project)

ANCESTORS = (
    "WITH RECURSIVE line (id, parent_id, depth) AS ("
    " SELECT id, parent_id, 0 FROM projects WHERE id = ?"
    " UNION ALL SELECT projects.id, projects.parent_id, line.depth + 1 FROM projects JOIN line ON projects.id = line.parent_id)"
    " SELECT id FROM line WHERE depth > 0 ORDER BY depth"
)
DESCENDANTS = (
    "WITH RECURSIVE tree (id, depth) AS ("
    " SELECT id, 0 FROM projects WHERE id = ?"
    " UNION ALL SELECT projects.id, tree.depth + 1 FROM projects JOIN tree ON projects.parent_id = tree.id)"
    " SELECT id FROM tree WHERE depth > 0 ORDER BY depth, id"
)


async def project_named(db: Reader, name: str, domain_id: str) -> Project | None:
    """The project of that name in a domain."""
    return await PROJECTS.first(db, "name = ? AND domain_id = ? AND is_domain = 0", name, domain_id)


async def ancestors(db: Reader, project_id: str) -> list[str]:
    """The ids above a project, the nearest first, its domain last."""
    return [row[0] for row in await db.all(ANCESTORS, project_id)]


async def descendants(db: Reader, project_id: str) -> list[str]:
    """The ids below a project or domain, parents before children."""
    return [row[0] for row in await db.all(DESCENDANTS, project_id)]


async def by_ids(db: Reader, ids: list[str]) -> list[Project]:
    """Projects by id, in the order in which they were made."""
    if not ids:
        return []
    return await PROJECTS.find(db, f"id IN ({', '.join('?' * len(ids))}) ORDER BY created_at, id", *ids)


async def delete_project(tx: Transaction, project_id: str) -> None:
    """Remove a project (or the row of a domain) with its assignments and credentials; its tokens are void."""
    await revoke(tx, f"project:{project_id}", f"domain:{project_id}")
    for row in await tx.all("SELECT id FROM application_credentials WHERE project_id = ?", project_id):
        await revoke(tx, f"appcred:{row[0]}")
    await tx.execute("DELETE FROM assignments WHERE target_id = ?", project_id)
    await tx.execute("DELETE FROM application_credentials WHERE project_id = ?", project_id)
    await tx.execute("DELETE FROM passcode_uses WHERE credential_id IN (SELECT id FROM credentials WHERE project_id = ?)", project_id)
    await tx.execute("DELETE FROM credentials WHERE project_id = ?", project_id)
    await delete_trusts_of(tx, project_id=project_id)
    await tx.execute("DELETE FROM endpoint_group_projects WHERE project_id = ?", project_id)
    await tx.execute("DELETE FROM project_endpoints WHERE project_id = ?", project_id)
    await delete_access_tokens(tx, "project_id", project_id)
    await forget_limits(tx, project_id)
    await tx.execute("DELETE FROM quotas WHERE project_id = ?", project_id)
    await tx.execute("UPDATE users SET default_project_id = NULL WHERE default_project_id = ?", project_id)
    await PROJECTS.delete(tx, project_id)
