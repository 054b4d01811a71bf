"""Application credentials."""

from pileus.model.application_credentials import ApplicationCredential
from pileus.store.database import Reader, Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable

APPLICATION_CREDENTIALS = ResourceTable("application_credentials", ApplicationCredential)


async def credential_named(db: Reader, name: str, user_id: str) -> ApplicationCredential | None:
    """A user's credential of that name."""
    return await APPLICATION_CREDENTIALS.first(db, "name = ? AND user_id = ?", name, user_id)


async def delete_application_credential(tx: Transaction, credential_id: str) -> None:
    """Remove one; its tokens are void."""
    await revoke(tx, f"appcred:{credential_id}")
    await APPLICATION_CREDENTIALS.delete(tx, credential_id)
