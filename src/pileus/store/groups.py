"""Groups and their members."""

from pileus.model.groups import Group
from pileus.store.database import Reader, Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable

GROUPS = ResourceTable("user_groups", Group)


async def groups_of(db: Reader, user_id: str) -> list[str]:
    """The ids of the groups that a user is in."""
    return [row[0] for row in await db.all("SELECT group_id FROM group_members WHERE user_id = ? ORDER BY group_id", user_id)]


async def members_of(db: Reader, group_id: str) -> list[str]:
    """The ids of a group's members."""
    return [row[0] for row in await db.all("SELECT user_id FROM group_members WHERE group_id = ? ORDER BY user_id", group_id)]


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
    await revoke(tx, *(f"user:{user_id}" for user_id in await members_of(tx, group_id)))
    await tx.execute("DELETE FROM group_members WHERE group_id = ?", group_id)
    await tx.execute("DELETE FROM assignments WHERE actor = 'group' AND actor_id = ?", group_id)
    await GROUPS.delete(tx, group_id)
