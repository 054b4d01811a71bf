"""Domains: projects with `is_domain`; removal takes everything in one with it."""

from pileus.model.projects import Project
from pileus.store.database import Reader, Transaction
from pileus.store.domain_options import forget_options
from pileus.store.federation import delete_identity_providers_of
from pileus.store.groups import delete_group
from pileus.store.projects import PROJECTS, delete_project, descendants
from pileus.store.revocations import revoke
from pileus.store.roles import ROLES, delete_role
from pileus.store.users import delete_user


async def get_domain(db: Reader, domain_id: str) -> Project | None:
    """The domain, or None."""
    return await PROJECTS.first(db, "id = ? AND is_domain = 1", domain_id)


async def domain_named(db: Reader, name: str) -> Project | None:
    """The domain of that name."""
    return await PROJECTS.first(db, "name = ? AND is_domain = 1", name)


async def delete_domain(tx: Transaction, domain_id: str) -> None:
    """Remove a domain with its users, groups, roles and projects; their tokens are void."""
    await revoke(tx, f"domain:{domain_id}")
    for row in await tx.all("SELECT id FROM users WHERE domain_id = ?", domain_id):
        await delete_user(tx, row[0])
    for row in await tx.all("SELECT id FROM user_groups WHERE domain_id = ?", domain_id):
        await delete_group(tx, row[0])
    for role in await ROLES.find(tx, "domain_id = ?", domain_id):
        await delete_role(tx, role)
    for project_id in reversed(await descendants(tx, domain_id)):
        await delete_project(tx, project_id)
    await delete_identity_providers_of(tx, domain_id)
    await forget_options(tx, domain_id)
    await tx.execute("DELETE FROM directory_ids WHERE domain_id = ?", domain_id)
    await delete_project(tx, domain_id)
