"""What a server shows of its ports: the names of its security groups, and stamps that change when its addresses may have changed."""

from pileus.store.database import Reader

PART = 1000
Stamp = tuple[float | None, int, float | None, int]


async def group_names(db: Reader, server_ids: list[str]) -> dict[str, list[str]]:
    """Server id -> the names of the security groups of its ports, each once."""
    found: dict[str, list[str]] = {server_id: [] for server_id in server_ids}
    for start in range(0, len(server_ids), PART):
        part = server_ids[start : start + PART]
        rows = await db.all(
            "SELECT DISTINCT p.device_id, g.name, g.id FROM ports p JOIN port_security_groups x ON x.port_id = p.id "  # noqa: S608
            f"JOIN security_groups g ON g.id = x.security_group_id WHERE p.device_id IN ({', '.join('?' * len(part))}) ORDER BY g.name",
            *part,
        )
        for server_id, name, _ in rows:
            found[server_id].append(name)
    return found


async def stamps(db: Reader, server_ids: list[str]) -> dict[str, Stamp]:
    """Server id -> what changes with its ports and their floating addresses; servers without ports are absent."""
    found: dict[str, Stamp] = {}
    for start in range(0, len(server_ids), PART):
        part = server_ids[start : start + PART]
        rows = await db.all(
            "SELECT p.device_id, max(p.updated_at), count(p.id), max(f.updated_at), count(f.id) FROM ports p "  # noqa: S608
            f"LEFT JOIN floating_ips f ON f.port_id = p.id WHERE p.device_id IN ({', '.join('?' * len(part))}) GROUP BY p.device_id",
            *part,
        )
        for row in rows:
            found[row[0]] = (row[1], row[2], row[3], row[4])
    return found


async def names_stamp(db: Reader) -> tuple[float | None, float | None]:
    """Changes when a network or a security group may have got another name."""
    return (
        await db.value("SELECT max(updated_at) FROM networks"),
        await db.value("SELECT max(updated_at) FROM security_groups"),
    )
