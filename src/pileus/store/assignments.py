"""Role assignments: grants, and what a user has where."""

from collections.abc import Iterable

from pileus.model.assignments import SYSTEM_ALL, Actor, Assignment, Target
from pileus.model.projects import Project
from pileus.model.roles import Role
from pileus.store.database import Reader, Transaction
from pileus.store.groups import everyone_in, groups_of
from pileus.store.projects import ancestors, descendants
from pileus.store.revocations import revoke
from pileus.store.roles import expand
from pileus.store.tables import Table

ASSIGNMENTS = Table("assignments", Assignment, key="actor_id")
SAME = "actor = ? AND actor_id = ? AND target = ? AND target_id = ? AND role_id = ? AND inherited = ?"


def _values(one: Assignment) -> tuple[str | int, ...]:
    return (str(one.actor), one.actor_id, str(one.target), one.target_id, one.role_id, int(one.inherited))


async def grant(tx: Transaction, one: Assignment) -> None:
    """Give a role; no harm when it is given."""
    await tx.execute(
        "INSERT INTO assignments (actor, actor_id, target, target_id, role_id, inherited) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        *_values(one),
    )


async def is_granted(db: Reader, one: Assignment) -> bool:
    """Whether just this assignment is there."""
    return await db.value(f"SELECT 1 FROM assignments WHERE {SAME}", *_values(one)) is not None  # noqa: S608


async def withdraw(tx: Transaction, one: Assignment) -> bool:
    """Take a role back; tokens that may carry it are void, and application credentials that need it go. False when it was not given."""
    if await tx.execute(f"DELETE FROM assignments WHERE {SAME}", *_values(one)) == 0:  # noqa: S608
        return False
    users = [one.actor_id] if one.actor is Actor.USER else await everyone_in(tx, one.actor_id)
    projects = await descendants(tx, one.target_id) if one.inherited else [one.target_id]
    for user_id in users:
        if one.target is Target.SYSTEM:
            await revoke(tx, f"user-system:{user_id}")
        elif one.target is Target.DOMAIN and not one.inherited:
            await revoke(tx, f"user-domain:{user_id}:{one.target_id}")
        else:
            for project_id in projects:
                await _forget(tx, user_id, project_id)
    return True


async def _forget(tx: Transaction, user_id: str, project_id: str) -> None:
    await revoke(tx, f"user-project:{user_id}:{project_id}")
    for row in await tx.all("SELECT id FROM application_credentials WHERE user_id = ? AND project_id = ?", user_id, project_id):
        await revoke(tx, f"appcred:{row[0]}")
        await tx.execute("DELETE FROM application_credentials WHERE id = ?", row[0])


async def of_actors(db: Reader, user_id: str, said: Iterable[str] = ()) -> list[Assignment]:
    """Everything that a user has, by itself and through its groups; `said`: more groups, as its identity provider says for this login."""
    groups = sorted({*await groups_of(db, user_id), *said})
    marks = ", ".join("?" * len(groups))
    return await ASSIGNMENTS.find(
        db, "(actor = 'user' AND actor_id = ?)" + (f" OR (actor = 'group' AND actor_id IN ({marks}))" if groups else ""), user_id, *groups
    )


async def roles_on_project(db: Reader, user_id: str, project: Project, said: Iterable[str] = ()) -> list[Role]:
    """The roles that a token for the project carries."""
    above = await ancestors(db, project.id)
    ids = [
        one.role_id
        for one in await of_actors(db, user_id, said)
        if (one.target is Target.PROJECT and not one.inherited and one.target_id == project.id)
        or (one.inherited and one.target_id in above)
    ]
    return await expand(db, ids)


async def roles_on_domain(db: Reader, user_id: str, domain_id: str, said: Iterable[str] = ()) -> list[Role]:
    """The roles that a token for the domain carries."""
    mine = await of_actors(db, user_id, said)
    return await expand(
        db, [one.role_id for one in mine if one.target is Target.DOMAIN and not one.inherited and one.target_id == domain_id]
    )


async def roles_on_system(db: Reader, user_id: str, said: Iterable[str] = ()) -> list[Role]:
    """The roles that a token for the system carries."""
    return await expand(
        db, [one.role_id for one in await of_actors(db, user_id, said) if one.target is Target.SYSTEM and one.target_id == SYSTEM_ALL]
    )


async def projects_of(db: Reader, user_id: str, said: Iterable[str] = ()) -> list[str]:
    """The ids of the projects on which a user has a role."""
    found: dict[str, None] = {}
    for one in await of_actors(db, user_id, said):
        if one.inherited:
            found.update(dict.fromkeys(await descendants(db, one.target_id)))
        elif one.target is Target.PROJECT:
            found[one.target_id] = None
    return list(found)
