"""Options of single domains. Values are JSON text; the caller has encrypted what is secret."""

import msgspec

from pileus.model.errors import Unavailable
from pileus.store.database import Reader, Transaction

DRIVERS = ("sql", "ldap")
Rows = dict[tuple[str, str], str]
"""(group, option) -> the value's text."""


async def options_of(db: Reader, domain_id: str) -> Rows:
    """What a domain has of its own."""
    rows = await db.all("SELECT section, option, value FROM domain_options WHERE domain_id = ? ORDER BY section, option", domain_id)
    return {(row[0], row[1]): row[2] for row in rows}


async def set_options(tx: Transaction, domain_id: str, rows: Rows) -> None:
    """Write some options; others stay."""
    sql = (
        "INSERT INTO domain_options (domain_id, section, option, value) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (domain_id, section, option) DO UPDATE SET value = excluded.value"
    )
    await tx.many(sql, [(domain_id, section, option, value) for (section, option), value in rows.items()])


async def forget_options(tx: Transaction, domain_id: str, section: str | None = None, option: str | None = None) -> None:
    """Remove a domain's options: all, those of a group, or one."""
    sql, args = "DELETE FROM domain_options WHERE domain_id = ?", [domain_id]
    if section is not None:
        sql, args = f"{sql} AND section = ?", [*args, section]
    if option is not None:
        sql, args = f"{sql} AND option = ?", [*args, option]
    await tx.execute(sql, *args)


async def driver_of(db: Reader, domain_id: str) -> str:
    """Where a domain's users and groups are kept: `sql`, here, or `ldap`, in a directory. Unavailable for another: any may be written."""
    sql = "SELECT value FROM domain_options WHERE domain_id = ? AND section = 'identity' AND option = 'driver'"
    found = msgspec.json.decode(await db.value(sql, domain_id) or "null") or "sql"
    if found not in DRIVERS:
        raise Unavailable(f"The option identity.driver of domain {domain_id} is {found}; there are {' and '.join(DRIVERS)}.")
    return found
