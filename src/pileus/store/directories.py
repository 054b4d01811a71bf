"""Rows that stand for the users and groups of a domain's directory: written as the directory has them whenever it is read.

Whoever needs a user or a group reads these rows as any other; nobody but this file writes them.
"""

from collections.abc import Sequence
from typing import Any

from pileus import clock
from pileus.core.directories import Plan, planned, public_id
from pileus.model.directories import DirectoryGroup, DirectoryId, DirectoryUser
from pileus.model.groups import Group
from pileus.model.users import User
from pileus.store.database import Database, Reader, Transaction
from pileus.store.groups import GROUPS, delete_group, members_of
from pileus.store.revocations import revoke
from pileus.store.tables import ResourceTable, Table
from pileus.store.users import USERS, delete_user

DIRECTORY_IDS = Table("directory_ids", DirectoryId)
TABLES: dict[str, ResourceTable[Any]] = {"user": USERS, "group": GROUPS}
ID_LENGTH = 64
"""Ids of others are shorter."""
OPTIONS: dict[str, Any] = {"ignore_user_inactivity": True}
"""The directory says who may log in."""
HANGING = (
    "assignments WHERE actor_id",
    "application_credentials WHERE user_id",
    "credentials WHERE user_id",
    "trusts WHERE trustor_user_id",
    "trusts WHERE trustee_user_id",
)
"""What somebody may have been given."""
Found = Sequence[DirectoryUser] | Sequence[DirectoryGroup]


async def entry_of(db: Reader, key: str) -> DirectoryId | None:
    """Which entry a user or group stands for; None for one that is kept here alone."""
    return await DIRECTORY_IDS.get(db, key) if len(key) == ID_LENGTH else None


async def has_own(db: Reader, domain_id: str) -> bool:
    """Whether a domain has users or groups that stand for no entry."""
    for table in ("users", "user_groups"):
        sql = f"SELECT 1 FROM {table} t WHERE t.domain_id = ? AND NOT EXISTS (SELECT 1 FROM directory_ids d WHERE d.id = t.id) LIMIT 1"  # noqa: S608
        if await db.value(sql, domain_id) is not None:
            return True
    return False


async def mirror(db: Database, domain_id: str, kind: str, found: Found, complete: bool = False) -> list[str]:
    """Make the rows of users, or of groups, as the directory has them; their ids. `complete`: it has no others.

    Nothing is written when nothing has changed.
    """
    keys = [public_id(domain_id, kind, one.local_id) for one in found]
    if (await _plan(db, domain_id, kind, found, complete)).due:

        async def work(tx: Transaction) -> None:
            await _write(tx, domain_id, kind, await _plan(tx, domain_id, kind, found, complete))

        await db.write(work)
    return keys


async def _plan(db: Reader, domain_id: str, kind: str, found: Found, complete: bool) -> Plan:
    seen = {public_id(domain_id, kind, one.local_id): one for one in found}
    if complete:
        entries = await DIRECTORY_IDS.find(db, "domain_id = ? AND kind = ?", domain_id, kind)
        rows = await TABLES[kind].find(db, "domain_id = ?", domain_id)
    else:
        marks = f"id IN ({', '.join('?' * len(seen))})"
        entries = await DIRECTORY_IDS.find(db, marks, *seen)
        rows = await TABLES[kind].find(db, marks, *seen)
    return planned(seen, {one.id: one for one in entries}, {one.id: one for one in rows}, complete)


async def _write(tx: Transaction, domain_id: str, kind: str, plan: Plan) -> None:
    for key, one in plan.note.items():
        await DIRECTORY_IDS.delete(tx, key)
        await DIRECTORY_IDS.insert(tx, DirectoryId(id=key, domain_id=domain_id, kind=kind, local_id=one.local_id, dn=one.dn))
    table = TABLES[kind]
    for changes in [*plan.insert.values(), *plan.update.values()]:
        if "name" in changes:
            await _free(tx, table, domain_id, changes["name"])
    now = clock.now()
    for key, fields in plan.insert.items():
        common = {"id": key, "created_at": now, "updated_at": now, "domain_id": domain_id}
        await table.insert(tx, User(**common, options=OPTIONS, **fields) if kind == "user" else Group(**common, **fields))
    for key, changes in plan.update.items():
        if changes.get("enabled") is False:
            await revoke(tx, f"user:{key}")
        row = await table.get(tx, key)
        assert row is not None
        await table.update(tx, row, **changes)
    for key in plan.gone:
        await (forget_user if kind == "user" else forget_group)(tx, key)


async def _free(tx: Transaction, table: ResourceTable[Any], domain_id: str, name: str) -> None:
    """Whoever had the name before stands for an entry that is gone, or is called otherwise by now."""
    row = await table.first(tx, "domain_id = ? AND name = ?", domain_id, name)
    if row is not None:
        await table.update(tx, row, name=f"{name[:180]} {row.id}")


async def _hangs(db: Reader, key: str) -> bool:
    """Whether something was given to a user or group."""
    for place in HANGING:
        if await db.value(f"SELECT 1 FROM {place} = ? LIMIT 1", key) is not None:  # noqa: S608
            return True
    return False


async def forget_user(tx: Transaction, key: str) -> None:
    """The directory has this user no more: it goes, but for one that was given something, which stays, disabled: a directory that was
    read wrongly must cost nobody its roles."""
    row = await USERS.get(tx, key)
    if row is None:
        return
    if not await _hangs(tx, key):
        await delete_user(tx, key)
    elif row.enabled:
        await revoke(tx, f"user:{key}")
        await tx.execute("DELETE FROM group_members WHERE user_id = ?", key)
        await USERS.update(tx, row, enabled=False)


async def forget_group(tx: Transaction, key: str) -> None:
    """The directory has this group no more: nobody is in it, and without a role it goes."""
    if await GROUPS.get(tx, key) is None:
        return
    if await _hangs(tx, key):
        await _leave(tx, [(key, one) for one in await members_of(tx, key)])
    else:
        await delete_group(tx, key)


async def _groups_of(db: Reader, user_id: str) -> set[str]:
    return {row[0] for row in await db.all("SELECT group_id FROM group_members WHERE user_id = ?", user_id)}


async def mirror_groups_of(db: Database, user_id: str, ids: list[str]) -> None:
    """A user is in these groups of its directory and in no others."""
    if await _groups_of(db, user_id) == set(ids):
        return

    async def work(tx: Transaction) -> None:
        before = await _groups_of(tx, user_id)
        await _leave(tx, [(key, user_id) for key in sorted(before - set(ids))])
        await _join(tx, [(key, user_id) for key in ids if key not in before])

    await db.write(work)


async def mirror_members_of(db: Database, group_id: str, ids: list[str]) -> None:
    """These users are in a group of the directory and no others."""
    if await members_of(db, group_id) == sorted(ids):
        return

    async def work(tx: Transaction) -> None:
        before = set(await members_of(tx, group_id))
        await _leave(tx, [(group_id, key) for key in sorted(before - set(ids))])
        await _join(tx, [(group_id, key) for key in ids if key not in before])

    await db.write(work)


async def _join(tx: Transaction, pairs: list[tuple[str, str]]) -> None:
    await tx.many("INSERT INTO group_members (group_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING", pairs)


async def _leave(tx: Transaction, pairs: list[tuple[str, str]]) -> None:
    """What a group gave goes with its tokens."""
    for group_id, user_id in pairs:
        await revoke(tx, f"user:{user_id}")
        await tx.execute("DELETE FROM group_members WHERE group_id = ? AND user_id = ?", group_id, user_id)
