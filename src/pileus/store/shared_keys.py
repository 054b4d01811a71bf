"""Keys that every manager process of a cloud holds the same of: the first one's are kept, all others take them over."""

from pileus.store.database import Transaction


async def agree(tx: Transaction, own: dict[str, str]) -> dict[str, str]:
    """Keep what nobody has given yet; returns what holds for all."""
    for name, value in sorted(own.items()):
        await tx.execute("INSERT INTO shared_keys (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, value)
    return {row[0]: row[1] for row in await tx.all("SELECT name, value FROM shared_keys")}


async def put(tx: Transaction, values: dict[str, str]) -> None:
    """Replace keys for all."""
    for name, value in sorted(values.items()):
        sql = "INSERT INTO shared_keys (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        await tx.execute(sql, name, value)


async def drop(tx: Transaction, names: list[str]) -> None:
    """Forget keys."""
    for name in names:
        await tx.execute("DELETE FROM shared_keys WHERE name = ?", name)
