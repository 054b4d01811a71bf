"""Tags of a server's network cards."""

from pileus.store.database import Reader, Transaction


async def keep(tx: Transaction, server_id: str, tags: dict[str, str]) -> None:
    """Remember the tags of ports."""
    for port_id, tag in tags.items():
        await tx.execute("DELETE FROM device_tags WHERE port_id = ?", port_id)
        await tx.execute("INSERT INTO device_tags (port_id, server_id, tag) VALUES (?, ?, ?)", port_id, server_id, tag)


async def of_server(db: Reader, server_id: str) -> dict[str, str]:
    """Port id -> tag."""
    return {row[0]: row[1] for row in await db.all("SELECT port_id, tag FROM device_tags WHERE server_id = ?", server_id)}
