"""Which document of policy an endpoint, a service, or a service in a region has. An id that does not matter is ""."""

from pileus.store.database import Reader, Transaction

Place = tuple[str, str, str]
"""(endpoint id, service id, region id)."""
SAME = "endpoint_id = ? AND service_id = ? AND region_id = ?"


async def associate(tx: Transaction, place: Place, policy_id: str) -> None:
    """Give the place a document in the place of the one that it had."""
    sql = (
        "INSERT INTO policy_associations (endpoint_id, service_id, region_id, policy_id) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (endpoint_id, service_id, region_id) DO UPDATE SET policy_id = excluded.policy_id"
    )
    await tx.execute(sql, *place, policy_id)


async def associated(db: Reader, place: Place) -> str | None:
    """The document that just this place has."""
    return await db.value(f"SELECT policy_id FROM policy_associations WHERE {SAME}", *place)  # noqa: S608


async def dissociate(tx: Transaction, place: Place, policy_id: str) -> None:
    """Take a document from a place; no harm when it has another."""
    await tx.execute(f"DELETE FROM policy_associations WHERE {SAME} AND policy_id = ?", *place, policy_id)  # noqa: S608


async def places_of(db: Reader, policy_id: str) -> list[Place]:
    """The places that have a document."""
    sql = (
        "SELECT endpoint_id, service_id, region_id FROM policy_associations WHERE policy_id = ? ORDER BY endpoint_id, service_id, region_id"
    )
    return [(row[0], row[1], row[2]) for row in await db.all(sql, policy_id)]


async def forget_associations(tx: Transaction, column: str, key: str) -> None:
    """What `column` (endpoint_id, service_id, region_id, policy_id) names is no more."""
    await tx.execute(f"DELETE FROM policy_associations WHERE {column} = ?", key)  # noqa: S608
