"""Users: names, and removal with all that hangs on one."""

from pileus.model.users import User
from pileus.store.database import Reader, Transaction
from pileus.store.oauth1 import delete_access_tokens
from pileus.store.passwords import forget_passwords
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable
from pileus.store.trusts import delete_trusts_of

USERS = ResourceTable("users", User)


async def user_named(db: Reader, name: str, domain_id: str) -> User | None:
    """The user of that name in a domain."""
    return await USERS.first(db, "name = ? AND domain_id = ?", name, domain_id)


async def delete_user(tx: Transaction, user_id: str) -> None:
    """Remove a user with its memberships, assignments and credentials; its tokens are void."""
    await revoke(tx, f"user:{user_id}")
    await tx.execute("DELETE FROM group_members WHERE user_id = ?", user_id)
    await tx.execute("DELETE FROM expiring_memberships WHERE user_id = ?", user_id)
    await tx.execute("DELETE FROM federated_users WHERE user_id = ?", user_id)
    await tx.execute("DELETE FROM assignments WHERE actor = 'user' AND actor_id = ?", user_id)
    await tx.execute("DELETE FROM application_credentials WHERE user_id = ?", user_id)
    await tx.execute("DELETE FROM passcode_uses WHERE credential_id IN (SELECT id FROM credentials WHERE user_id = ?)", user_id)
    await tx.execute("DELETE FROM credentials WHERE user_id = ?", user_id)
    await tx.execute("DELETE FROM access_rules WHERE user_id = ?", user_id)
    await delete_access_tokens(tx, "user_id", user_id)
    await forget_passwords(tx, user_id)
    await tx.execute("DELETE FROM directory_ids WHERE id = ?", user_id)
    await delete_trusts_of(tx, user_id=user_id)
    await USERS.delete(tx, user_id)
