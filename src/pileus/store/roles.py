"""Roles and what they imply."""

from collections.abc import Iterable

from pileus.core.roles import with_implied
from pileus.model.roles import Role
from pileus.store.application_credentials import forget_role
from pileus.store.database import Reader, Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable

ROLES = ResourceTable("roles", Role)


async def implications(db: Reader) -> dict[str, set[str]]:
    """Prior role id -> ids of the roles that it implies directly."""
    found: dict[str, set[str]] = {}
    for prior_id, implied_id in await db.all("SELECT prior_id, implied_id FROM implied_roles"):
        found.setdefault(prior_id, set()).add(implied_id)
    return found


async def expand(db: Reader, role_ids: Iterable[str]) -> list[Role]:
    """The global roles among the given ones and all that they imply, by name: what a token carries."""
    ids = list(role_ids)
    if not ids:
        return []
    wanted = sorted(with_implied(ids, await implications(db)))
    found = await ROLES.find(db, f"id IN ({', '.join('?' * len(wanted))}) AND domain_id = '' ORDER BY name", *wanted)
    return found


async def role_named(db: Reader, name: str, domain_id: str = "") -> Role | None:
    """The role of that name."""
    return await ROLES.first(db, "name = ? AND domain_id = ?", name, domain_id)


async def roles_in_token(db: Reader, names: Iterable[str]) -> list[Role]:
    """The global roles of these names, which a token carries in lower case."""
    wanted = sorted(names)
    return await ROLES.find(db, f"lower(name) IN ({', '.join('?' * len(wanted))}) AND domain_id = '' ORDER BY name", *wanted)


async def domain_role_ids(db: Reader) -> set[str]:
    """The ids of the roles that belong to a domain: they never reach a token, but what they imply does."""
    return {row[0] for row in await db.all("SELECT id FROM roles WHERE domain_id <> ''")}


async def imply(tx: Transaction, prior_id: str, implied_id: str) -> None:
    """From now on one role implies another; no harm when it does."""
    await tx.execute("INSERT INTO implied_roles (prior_id, implied_id) VALUES (?, ?) ON CONFLICT DO NOTHING", prior_id, implied_id)


async def stop_implying(tx: Transaction, prior: Role, implied_id: str) -> bool:
    """One role implies another no more; tokens that carry the prior role are void. False when it didn't."""
    await revoke(tx, f"role:{prior.name.lower()}")
    return await tx.execute("DELETE FROM implied_roles WHERE prior_id = ? AND implied_id = ?", prior.id, implied_id) > 0


async def delete_role(tx: Transaction, role: Role) -> None:
    """Remove a role with its assignments and implications; tokens that carry it are void."""
    await revoke(tx, f"role:{role.name.lower()}")
    await tx.execute("DELETE FROM implied_roles WHERE prior_id = ? OR implied_id = ?", role.id, role.id)
    await tx.execute("DELETE FROM assignments WHERE role_id = ?", role.id)
    await forget_role(tx, role.id)
    await ROLES.delete(tx, role.id)
