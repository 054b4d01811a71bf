"""Access rules: each user keeps its own, and application credentials name some."""

from pileus.model.access_rules import AccessRule
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

ACCESS_RULES = ResourceTable("access_rules", AccessRule)


async def rules_of(db: Reader, user_id: str) -> list[AccessRule]:
    """A user's rules, oldest first."""
    return await ACCESS_RULES.find(db, "user_id = ? ORDER BY created_at, id", user_id)


async def rules_by_ids(db: Reader, ids: list[str]) -> list[AccessRule]:
    """Rules by id, in that order."""
    if not ids:
        return []
    found = {rule.id: rule for rule in await ACCESS_RULES.find(db, f"id IN ({', '.join('?' * len(ids))})", *ids)}
    return [found[key] for key in ids if key in found]


async def kept(tx: Transaction, wanted: AccessRule) -> AccessRule:
    """The user's rule of that content: the one that is there, or this one."""
    where = "user_id = ? AND service = ? AND method = ? AND path = ?"
    there = await ACCESS_RULES.first(tx, where, wanted.user_id, wanted.service, wanted.method, wanted.path)
    return there or await ACCESS_RULES.insert(tx, wanted)


async def in_use(db: Reader, rule: AccessRule) -> bool:
    """Whether an application credential of its user names the rule."""
    sql = "SELECT 1 FROM application_credentials WHERE user_id = ? AND access_rule_ids LIKE ?"
    return await db.value(sql, rule.user_id, f'%"{rule.id}"%') is not None
