"""Credentials that users keep for other systems; their content is encrypted before it comes here."""

from pileus.model.credentials import Credential
from pileus.store.database import Transaction
from pileus.store.tables import ResourceTable

CREDENTIALS = ResourceTable("credentials", Credential)


async def use_passcode(tx: Transaction, credential_id: str, step: int) -> bool:
    """Note that the one-time password of a step was used; False when it, or a later one, was used before."""
    sql = (
        "INSERT INTO passcode_uses (credential_id, step) VALUES (?, ?)"
        " ON CONFLICT (credential_id) DO UPDATE SET step = excluded.step WHERE passcode_uses.step < excluded.step"
    )
    return await tx.execute(sql, credential_id, step) == 1


async def delete_credential(tx: Transaction, credential_id: str) -> None:
    """Remove a credential with what is known of its use."""
    await tx.execute("DELETE FROM passcode_uses WHERE credential_id = ?", credential_id)
    await CREDENTIALS.delete(tx, credential_id)
