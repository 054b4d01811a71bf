"""Which keys were admitted to the message bus for which host, and which of them are void."""

from pileus.model.errors import Conflict, Forbidden
from pileus.store.database import Reader, Transaction


async def admit(tx: Transaction, host: str, public_key: str, cluster: str, now: float, fresh: bool) -> None:
    """Keep that this key is the host's; older ones of it are void. `fresh`: its token was not used before.

    Conflict when the key is another host's, Forbidden when it was revoked since the token was used.
    """
    row = await tx.one("SELECT host, revoked_at FROM admissions WHERE public_key = ?", public_key)
    if row is not None and row[0] != host:
        raise Conflict(f"The key of {host} is that of {row[0]}. Remove its secrets/node.seed and join again with a new token.")
    if row is not None and row[1] is not None and not fresh:
        raise Forbidden(f"The host {host} was removed from this cloud. To come back it needs a new token: pileus host token")
    await tx.execute(
        "UPDATE admissions SET revoked_at = ? WHERE host = ? AND public_key <> ? AND revoked_at IS NULL", now, host, public_key
    )
    await tx.execute(
        "INSERT INTO admissions (public_key, host, cluster, admitted_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (public_key) DO UPDATE SET cluster = excluded.cluster, admitted_at = excluded.admitted_at, revoked_at = NULL",
        public_key, host, cluster, now,
    )  # fmt: skip


async def revoke(tx: Transaction, host: str, now: float) -> None:
    """The host's keys are void from now on."""
    await tx.execute("UPDATE admissions SET revoked_at = ? WHERE host = ? AND revoked_at IS NULL", now, host)


async def revoked(db: Reader) -> dict[str, int]:
    """Void keys, and until when claims were issued that are void, in seconds."""
    rows = await db.all("SELECT public_key, revoked_at FROM admissions WHERE revoked_at IS NOT NULL ORDER BY public_key")
    return {str(row[0]): int(row[1]) for row in rows}


async def shut_out(db: Reader, hosts: list[str]) -> set[str]:
    """Those of the hosts that were admitted once and have no key that holds."""
    if not hosts:
        return set()
    marks = ", ".join("?" * len(hosts))
    sql = f"SELECT host FROM admissions WHERE host IN ({marks}) GROUP BY host HAVING count(*) = count(revoked_at)"  # noqa: S608 marks only
    return {str(row[0]) for row in await db.all(sql, *hosts)}
