"""Trusts: use and removal."""

from pileus.model.trusts import Trust
from pileus.store.database import Reader, Transaction
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable

TRUSTS = ResourceTable("trusts", Trust)


async def trusts_between(db: Reader, trustor: str | None, trustee: str | None) -> list[Trust]:
    """The trusts of a trustor, of a trustee, of both; all of them without either."""
    clauses, args = ["1 = 1"], list[str]()
    for column, value in (("trustor_user_id", trustor), ("trustee_user_id", trustee)):
        if value is not None:
            clauses.append(f"{column} = ?")
            args.append(value)
    return await TRUSTS.find(db, f"{' AND '.join(clauses)} ORDER BY created_at, id", *args)


async def use(tx: Transaction, trust_id: str) -> bool:
    """Count a use; False when none is left, or the trust is gone."""
    sql = "UPDATE trusts SET remaining_uses = remaining_uses - 1 WHERE id = ? AND (remaining_uses IS NULL OR remaining_uses > 0)"
    return await tx.execute(sql, trust_id) == 1


async def delete_trust(tx: Transaction, trust_id: str) -> None:
    """Remove a trust with those that were made of it; their tokens are void."""
    await revoke(tx, f"trust:{trust_id}")
    for row in await tx.all("SELECT id FROM trusts WHERE redelegated_trust_id = ?", trust_id):
        await delete_trust(tx, row[0])
    await TRUSTS.delete(tx, trust_id)


async def delete_trusts_of(tx: Transaction, *, user_id: str | None = None, project_id: str | None = None) -> None:
    """Remove every trust of a user, on either side, or on a project."""
    sql = "SELECT id FROM trusts WHERE trustor_user_id = ? OR trustee_user_id = ? OR project_id = ?"
    for row in await tx.all(sql, user_id or "", user_id or "", project_id or ""):
        await delete_trust(tx, row[0])
