"""Leases: one holder at a time, for a while. Times are the database's, so that no machine's clock matters."""

from pileus.model.base import Model
from pileus.store.database import Transaction


class Lease(Model, frozen=True, kw_only=True):
    """Who holds it, for how many seconds more by the database's clock. `term` grows with each change of holder."""

    name: str
    holder: str
    left: float
    term: int


async def take(tx: Transaction, name: str, holder: str, seconds: float) -> Lease:
    """Take the lease, or keep it for `seconds` from now; the result says who holds it."""
    now = await tx.clock()
    row = await tx.one("SELECT holder, expires_at, term FROM leases WHERE name = ?", name)
    if row is None:
        await tx.execute(
            "INSERT INTO leases (name, holder, expires_at, term) VALUES (?, ?, ?, 1) ON CONFLICT (name) DO NOTHING",
            name,
            holder,
            now + seconds,
        )
        row = await tx.one("SELECT holder, expires_at, term FROM leases WHERE name = ?", name)
        assert row is not None
    elif row[0] == holder or row[1] <= now:
        term = row[2] if row[0] == holder else row[2] + 1
        changed = await tx.execute(
            "UPDATE leases SET holder = ?, expires_at = ?, term = ? WHERE name = ? AND holder = ? AND expires_at = ?",
            holder, now + seconds, term, name, row[0], row[1],
        )  # fmt: skip
        if changed:
            return Lease(name=name, holder=holder, left=seconds, term=term)
        row = await tx.one("SELECT holder, expires_at, term FROM leases WHERE name = ?", name)
        assert row is not None
    return Lease(name=name, holder=row[0], left=row[1] - now, term=row[2])


async def give_back(tx: Transaction, name: str, holder: str) -> None:
    """End the lease now; fine when it is another's."""
    await tx.execute("UPDATE leases SET expires_at = 0 WHERE name = ? AND holder = ?", name, holder)


async def all_leases(tx: Transaction) -> list[Lease]:
    """Every lease, by name."""
    now = await tx.clock()
    rows = await tx.all("SELECT name, holder, expires_at, term FROM leases ORDER BY name")
    return [Lease(name=row[0], holder=row[1], left=row[2] - now, term=row[3]) for row in rows]
