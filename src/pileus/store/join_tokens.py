"""Tokens with which a host joins a cluster: good for one host, for a while. The store knows their digests only."""

import hashlib
import uuid

from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden
from pileus.store.database import Reader, Transaction


class JoinToken(Model, frozen=True, kw_only=True):
    """A token's record. `used_by` is the host and its public key."""

    id: str
    cluster: str
    created_at: float
    expires_at: float
    used_at: float | None = None
    used_by: str | None = None


def digest_of(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


async def insert(tx: Transaction, token: str, cluster: str, expires_at: float, now: float) -> JoinToken:
    """Keep a new token's record."""
    made = JoinToken(id=str(uuid.uuid4()), cluster=cluster, created_at=now, expires_at=expires_at)
    await tx.execute(
        "INSERT INTO join_tokens (id, digest, cluster, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
        made.id, digest_of(token), cluster, now, expires_at,
    )  # fmt: skip
    await tx.execute("DELETE FROM join_tokens WHERE expires_at < ?", now - 30 * 86400)
    return made


async def use(tx: Transaction, token: str, cluster: str | None, user: str, now: float) -> JoinToken:
    """The token, used up by `user` (who may repeat that). Forbidden when it is unknown, expired, another cluster's or used by another."""
    row = await tx.one("SELECT id, cluster, created_at, expires_at, used_at, used_by FROM join_tokens WHERE digest = ?", digest_of(token))
    if row is None:
        raise Forbidden("This join token is unknown here. Make one at the cloud: pileus host token")
    found = JoinToken(id=row[0], cluster=row[1], created_at=row[2], expires_at=row[3], used_at=row[4], used_by=row[5])
    if found.used_by is not None and found.used_by != user:
        raise Conflict("This join token was used by another host already. Make a new one at the cloud: pileus host token")
    if found.used_by is None and now >= found.expires_at:
        raise Forbidden("This join token has expired. Make a new one at the cloud: pileus host token")
    if cluster is not None and cluster != found.cluster:
        raise Forbidden(
            f"This join token is for the cluster {found.cluster}, not {cluster}. Make one: pileus host token --cluster {cluster}"
        )
    if found.used_by is None:
        changed = await tx.execute("UPDATE join_tokens SET used_at = ?, used_by = ? WHERE id = ? AND used_by IS NULL", now, user, found.id)
        if not changed:
            raise Conflict("This join token was used by another host at this moment.")
    return found


async def all_tokens(db: Reader) -> list[JoinToken]:
    """Every token's record, the newest first."""
    rows = await db.all("SELECT id, cluster, created_at, expires_at, used_at, used_by FROM join_tokens ORDER BY created_at DESC")
    return [JoinToken(id=row[0], cluster=row[1], created_at=row[2], expires_at=row[3], used_at=row[4], used_by=row[5]) for row in rows]
