"""Application credentials."""

from pileus.model.application_credentials import ApplicationCredential
from pileus.store.database import Reader, Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable

APPLICATION_CREDENTIALS = ResourceTable("application_credentials", ApplicationCredential)


async def credential_named(db: Reader, name: str, user_id: str) -> ApplicationCredential | None:
    """A user's credential of that name."""
    return await APPLICATION_CREDENTIALS.first(db, "name = ? AND user_id = ?", name, user_id)


async def forget_role(tx: Transaction, role_id: str, credential_id: str | None = None) -> None:
    """Credentials (or one of them) name a role no more that is gone: they gave it to nobody since."""
    where, args = ("id = ?", [credential_id]) if credential_id else ("role_ids LIKE ?", [f'%"{role_id}"%'])
    for one in await APPLICATION_CREDENTIALS.find(tx, where, *args):
        await APPLICATION_CREDENTIALS.set(tx, one.id, role_ids=[role for role in one.role_ids if role != role_id])


async def delete_application_credential(tx: Transaction, credential_id: str) -> None:
    """Remove one; its tokens are void."""
    await revoke(tx, f"appcred:{credential_id}")
    await APPLICATION_CREDENTIALS.delete(tx, credential_id)
