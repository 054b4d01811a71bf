"""Revoked tokens: a key says which tokens, a time until when they were issued.

Keys: `audit:`, `chain:`, `user:`, `project:`, `domain:`, `role:`, `appcred:`, `oauth:`, `trust:`, `idp:` with an id; `user-project:`,
`user-domain:` with two ids and a colon between; `user-system:`; `idp:` with an id, a slash and a protocol. A token knows its own keys
(`keys_of`), so that a check is a look into a dictionary for each.
"""

from pileus import clock
from pileus.model.identity import Identity
from pileus.store.database import Reader, Transaction

KEPT = 30 * 86400.0
"""Seconds that an event is kept: longer than any token lives."""


def keys_of(identity: Identity) -> tuple[str, ...]:
    """Every key that a token is revoked by."""
    keys = [f"user:{identity.user_id}", f"domain:{identity.user_domain_id}"]
    if identity.audit_ids:
        keys += [f"audit:{identity.audit_ids[0]}", f"chain:{identity.audit_ids[-1]}"]
    if identity.project_id:
        keys += [
            f"project:{identity.project_id}",
            f"user-project:{identity.user_id}:{identity.project_id}",
            f"domain:{identity.project_domain_id}",
        ]
    elif identity.domain_id:
        keys += [f"domain:{identity.domain_id}", f"user-domain:{identity.user_id}:{identity.domain_id}"]
    elif identity.system:
        keys.append(f"user-system:{identity.user_id}")
    if identity.trust_id:
        other = identity.trust_user_id
        keys += [f"trust:{identity.trust_id}", f"user:{other}", f"user-project:{other}:{identity.project_id}"]
    if identity.federation:
        idp_id = identity.federation.idp_id
        keys += [f"idp:{idp_id}", f"idp:{idp_id}/{identity.federation.protocol_id}"]
    if identity.access_token_id:
        keys.append(f"oauth:{identity.access_token_id}")
    if identity.application_credential_id:
        keys.append(f"appcred:{identity.application_credential_id}")
    keys += [f"role:{name}" for name in identity.roles]
    return tuple(keys)


async def revoke(tx: Transaction, *keys: str, at: float | None = None) -> None:
    """Void the tokens that have one of the keys and were issued up to now (or `at`)."""
    moment = clock.now() if at is None else at
    for key in keys:
        await tx.execute(
            "INSERT INTO revocation_events (id, issued_before) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET issued_before = excluded.issued_before",
            key,
            moment,
        )


async def since(db: Reader, moment: float) -> list[tuple[str, float]]:
    """(key, time) of the events from a time on."""
    return [(row[0], row[1]) for row in await db.all("SELECT id, issued_before FROM revocation_events WHERE issued_before >= ?", moment)]


async def purge(tx: Transaction, now: float) -> None:
    """Forget what no living token can be revoked by."""
    await tx.execute("DELETE FROM revocation_events WHERE issued_before < ?", now - KEPT)
