"""Who of an identity provider is which user here, and the groups that the identity provider said at the last login."""

from pileus.model.federation import ExpiringMembership, FederatedUser
from pileus.model.users import User
from pileus.store.database import Reader, Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import Table
from pileus.store.users import USERS, user_named

FEDERATED_USERS = Table("federated_users", FederatedUser, key="user_id")
MEMBERSHIPS = Table("expiring_memberships", ExpiringMembership, key="user_id")
WHO = "idp_id = ? AND protocol_id = ? AND unique_id = ?"


async def user_of(db: Reader, idp_id: str, protocol_id: str, unique_id: str) -> User | None:
    """The user here that somebody there is."""
    return await USERS.first(db, f"id = (SELECT user_id FROM federated_users WHERE {WHO})", idp_id, protocol_id, unique_id)  # noqa: S608


async def link(tx: Transaction, one: FederatedUser) -> None:
    """Say who somebody is here. A Conflict when that is said already."""
    await FEDERATED_USERS.insert(tx, one)


async def unlink(tx: Transaction, user_id: str) -> None:
    """A user here is nobody there any more."""
    await tx.execute("DELETE FROM federated_users WHERE user_id = ?", user_id)


async def federated_as(db: Reader, user_ids: list[str]) -> dict[str, list[FederatedUser]]:
    """Who some users are there."""
    found: dict[str, list[FederatedUser]] = {}
    for start in range(0, len(user_ids), 500):
        some = user_ids[start : start + 500]
        marks = ", ".join("?" * len(some))
        for one in await FEDERATED_USERS.find(db, f"user_id IN ({marks}) ORDER BY idp_id, protocol_id, unique_id", *some):
            found.setdefault(one.user_id, []).append(one)
    return found


async def free_name(tx: Transaction, wanted: str, domain_id: str, own: str | None, idp_id: str) -> str:
    """The name, or one made of it that no other user of the domain has: who logs in first takes nobody's name away."""
    for number in range(1, 1000):
        name = wanted if number == 1 else f"{wanted} ({idp_id})" if number == 2 else f"{wanted} ({idp_id} {number - 1})"
        other = await user_named(tx, name, domain_id)
        if other is None or other.id == own:
            return name
    return f"{wanted} ({own or idp_id})"


async def set_memberships(tx: Transaction, user_id: str, idp_id: str, group_ids: list[str], expires_at: float) -> bool:
    """The groups that an identity provider says now, in the place of those that it said before. Whether they are others."""
    held = {row[0] for row in await tx.all("SELECT group_id FROM expiring_memberships WHERE user_id = ? AND idp_id = ?", user_id, idp_id)}
    await tx.execute("DELETE FROM expiring_memberships WHERE user_id = ? AND idp_id = ?", user_id, idp_id)
    rows = [ExpiringMembership(user_id=user_id, group_id=one, idp_id=idp_id, expires_at=expires_at) for one in sorted(set(group_ids))]
    await MEMBERSHIPS.insert_many(tx, rows)
    return held != set(group_ids)


async def first_expiry(db: Reader, user_id: str, now: float) -> float | None:
    """When the first of a user's memberships ends that an identity provider said; None without any."""
    return await db.value("SELECT min(expires_at) FROM expiring_memberships WHERE user_id = ? AND expires_at > ?", user_id, now)


async def use_sign_in(tx: Transaction, key: str, now: float, expires_at: float) -> bool:
    """Take note that a browser is back from the provider; False when it was before."""
    await tx.execute("DELETE FROM used_sign_ins WHERE expires_at < ?", now)
    return await tx.execute("INSERT INTO used_sign_ins (id, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING", key, expires_at) > 0


async def forget_provider(tx: Transaction, idp_id: str, protocol_id: str | None = None) -> None:
    """Nobody comes from there any more, or by that protocol; tokens of who did are void."""
    await revoke(tx, f"idp:{idp_id}" if protocol_id is None else f"idp:{idp_id}/{protocol_id}")
    if protocol_id is None:
        await tx.execute("DELETE FROM federated_users WHERE idp_id = ?", idp_id)
        await tx.execute("DELETE FROM expiring_memberships WHERE idp_id = ?", idp_id)
    else:
        await tx.execute("DELETE FROM federated_users WHERE idp_id = ? AND protocol_id = ?", idp_id, protocol_id)
