"""Groups and their members."""

from pileus import clock
from pileus.model.groups import Group
from pileus.store.database import Reader, Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable

GROUPS = ResourceTable("user_groups", Group)
GROUPS_OF = (
    "SELECT group_id FROM group_members WHERE user_id = ?"
    " UNION SELECT group_id FROM expiring_memberships WHERE user_id = ? AND expires_at > ? ORDER BY group_id"
)


async def groups_of(db: Reader, user_id: str) -> list[str]:
    """The ids of the groups that a user is in, those included that its identity provider said not too long ago."""
    return [row[0] for row in await db.all(GROUPS_OF, user_id, user_id, clock.now())]


async def ends_of_memberships(db: Reader, user_id: str) -> dict[str, float]:
    """Until when a user is in a group that it is in by its identity provider's word alone."""
    sql = (
        "SELECT group_id, max(expires_at) FROM expiring_memberships WHERE user_id = ? AND expires_at > ?"
        " AND group_id NOT IN (SELECT group_id FROM group_members WHERE user_id = ?) GROUP BY group_id"
    )
    return {row[0]: row[1] for row in await db.all(sql, user_id, clock.now(), user_id)}


async def members_of(db: Reader, group_id: str) -> list[str]:
    """The ids of a group's members."""
    return [row[0] for row in await db.all("SELECT user_id FROM group_members WHERE group_id = ? ORDER BY user_id", group_id)]


async def everyone_in(db: Reader, group_id: str) -> list[str]:
    """The ids of a group's members and of those of whom an identity provider has said it: tokens of theirs may carry the group's roles."""
    sql = "SELECT user_id FROM group_members WHERE group_id = ? UNION SELECT user_id FROM expiring_memberships WHERE group_id = ?"
    return [row[0] for row in await db.all(f"{sql} ORDER BY user_id", group_id, group_id)]


async def is_member(db: Reader, group_id: str, user_id: str) -> bool:
    """Whether a user is in a group."""
    return await db.value("SELECT 1 FROM group_members WHERE group_id = ? AND user_id = ?", group_id, user_id) is not None


async def add_member(tx: Transaction, group_id: str, user_id: str) -> None:
    """Put a user into a group; no harm when it is in."""
    await tx.execute("INSERT INTO group_members (group_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING", group_id, user_id)


async def remove_member(tx: Transaction, group_id: str, user_id: str) -> bool:
    """Take a user out; what the group gave goes with its tokens. False when it was not in."""
    await revoke(tx, f"user:{user_id}")
    return await tx.execute("DELETE FROM group_members WHERE group_id = ? AND user_id = ?", group_id, user_id) > 0


async def delete_group(tx: Transaction, group_id: str) -> None:
    """Remove a group, its memberships and its assignments."""
    await revoke(tx, *(f"user:{user_id}" for user_id in await everyone_in(tx, group_id)))
    await tx.execute("DELETE FROM group_members WHERE group_id = ?", group_id)
    await tx.execute("DELETE FROM expiring_memberships WHERE group_id = ?", group_id)
    await tx.execute("DELETE FROM assignments WHERE actor = 'group' AND actor_id = ?", group_id)
    await tx.execute("DELETE FROM directory_ids WHERE id = ?", group_id)
    await GROUPS.delete(tx, group_id)
