"""Keypairs in the store: a user's, by name."""

from pileus.model.errors import Conflict, NotFound
from pileus.model.keypairs import Keypair
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

KEYPAIRS = ResourceTable("keypairs", Keypair)


async def get(db: Reader, user_id: str, name: str) -> Keypair:
    """A user's key; NotFound when there is none of that name."""
    keypair = await KEYPAIRS.first(db, "user_id = ? AND name = ?", user_id, name)
    if keypair is None:
        raise NotFound(f"Keypair {name} not found for user {user_id}", name=name)
    return keypair


async def of_user(db: Reader, user_id: str, marker: str | None = None, limit: int | None = None) -> list[Keypair]:
    """One page of a user's keys, by name; `marker` is the name of the last one seen."""
    after = "" if marker is None else (await get(db, user_id, marker)).name
    tail = "" if limit is None else f" LIMIT {int(limit)}"
    return await KEYPAIRS.find(db, f"user_id = ? AND name > ? ORDER BY name{tail}", user_id, after)


async def count(db: Reader, user_id: str) -> int:
    """How many keys a user has."""
    return int(await db.value("SELECT count(*) FROM keypairs WHERE user_id = ?", user_id))


async def next_number(tx: Transaction) -> int:
    """The integer id of the next key."""
    return int(await tx.value("SELECT coalesce(max(number), 0) + 1 FROM keypairs"))


async def create(tx: Transaction, keypair: Keypair) -> Keypair:
    """Add a key; a Conflict when the user has one of that name."""
    if await tx.value("SELECT 1 FROM keypairs WHERE user_id = ? AND name = ?", keypair.user_id, keypair.name):
        raise Conflict(f"Key pair '{keypair.name}' already exists.")
    return await KEYPAIRS.insert(tx, keypair)


async def remove(tx: Transaction, user_id: str, name: str) -> None:
    """Remove a key; servers keep their copy of it."""
    if not await tx.execute("DELETE FROM keypairs WHERE user_id = ? AND name = ?", user_id, name):
        raise NotFound(f"Keypair {name} not found for user {user_id}", name=name)
