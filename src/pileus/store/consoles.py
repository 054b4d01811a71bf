"""Console tokens in the store: their hashes only."""

import hashlib
import secrets

from pileus.model.consoles import ConsoleToken
from pileus.model.guests import ConsoleKind
from pileus.store.database import Reader, Transaction
from pileus.store.tables import Table

TOKENS = Table("console_tokens", ConsoleToken)
LIFETIME = 600.0


async def issue(tx: Transaction, server_id: str, host: str, kind: ConsoleKind, now: float) -> str:
    """A new token for a console of a server; expired ones are thrown away."""
    await tx.execute("DELETE FROM console_tokens WHERE expires_at < ?", now)
    token = secrets.token_urlsafe(32)
    record = ConsoleToken(id=digest(token), server_id=server_id, host=host, kind=kind, created_at=now, expires_at=now + LIFETIME)
    await TOKENS.insert(tx, record)
    return token


async def redeem(db: Reader, token: str, now: float) -> ConsoleToken | None:
    """What a token gives access to; None when it is unknown or expired."""
    return await TOKENS.first(db, "id = ? AND expires_at >= ?", digest(token), now)


def digest(token: str) -> str:
    """How a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()
