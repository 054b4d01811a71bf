"""What `verify` found in the background, kept for `status`."""

from pileus.model.verification import Verification
from pileus.store.database import Reader, Transaction
from pileus.store.tables import Table

VERIFICATIONS = Table("verifications", Verification, key="cluster")


async def keep(tx: Transaction, found: Verification) -> None:
    """Keep a cluster's newest result in the place of the one before."""
    await VERIFICATIONS.delete(tx, found.cluster)
    await VERIFICATIONS.insert(tx, found)


async def newest(db: Reader) -> list[Verification]:
    """The newest result of each cluster, by its name."""
    return await VERIFICATIONS.find(db, "1 = 1 ORDER BY cluster")
