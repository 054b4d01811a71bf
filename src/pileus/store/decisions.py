"""Decisions of placements, kept so that `why` can be answered later."""

import uuid

from pileus import clock
from pileus.model.placement import Decision, KeptDecision
from pileus.store.database import Reader, Transaction
from pileus.store.tables import Table

DECISIONS = Table("placement_decisions", KeptDecision)
KEPT = 5


async def keep(tx: Transaction, server_id: str, decision: Decision) -> KeptDecision:
    """Remember a decision about a server; only the newest few are kept."""
    kept = KeptDecision(id=str(uuid.uuid4()), server_id=server_id, created_at=clock.now(), decision=decision)
    await DECISIONS.insert(tx, kept)
    rows = await tx.all("SELECT id FROM placement_decisions WHERE server_id = ? ORDER BY created_at DESC", server_id)
    for row in rows[KEPT:]:
        await DECISIONS.delete(tx, row[0])
    return kept


async def of_server(db: Reader, server_id: str) -> list[KeptDecision]:
    """The decisions about a server, newest first."""
    return await DECISIONS.find(db, "server_id = ? ORDER BY created_at DESC", server_id)


async def forget(tx: Transaction, server_id: str) -> None:
    """Drop what is kept about a server that is gone."""
    await tx.execute("DELETE FROM placement_decisions WHERE server_id = ?", server_id)
