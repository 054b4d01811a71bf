"""What a new cloud starts with: the default domain, projects, users, roles, and the region."""

import itertools
import uuid

from pileus.model.assignments import SYSTEM_ALL, Actor, Assignment, Target
from pileus.model.catalog import Region
from pileus.model.projects import DEFAULT_DOMAIN, Project
from pileus.model.roles import Role
from pileus.model.users import User
from pileus.store.assignments import grant
from pileus.store.catalog import REGIONS
from pileus.store.database import Transaction
from pileus.store.projects import PROJECTS
from pileus.store.roles import ROLES, imply
from pileus.store.users import USERS

LADDER = ("admin", "manager", "member", "reader")
"""Each role implies the next."""
DESCRIPTIONS = {"admin": "The cloud's administrators.", "demo": "A project to try things in.", "service": "What the cloud itself needs."}


async def bootstrap(tx: Transaction, *, admin_password_hash: str, demo_password_hash: str, region: str, now: float) -> None:
    """Fill an empty store. In a store that was filled before, only the region is added: what its operator has removed stays away."""
    if await REGIONS.get(tx, region) is None:
        await REGIONS.insert(tx, Region(id=region, created_at=now, updated_at=now))
    if await PROJECTS.get(tx, DEFAULT_DOMAIN) is not None:
        return
    domain = Project(id=DEFAULT_DOMAIN, created_at=now, updated_at=now, name="Default", is_domain=True, description="The default domain.")
    await PROJECTS.insert(tx, domain)
    projects = {name: await _project(tx, name, now) for name in ("admin", "demo", "service")}
    roles = {name: await _role(tx, name, now) for name in (*LADDER, "service")}
    for prior, implied in itertools.pairwise(LADDER):
        await imply(tx, roles[prior], roles[implied])
    admin = await _user(tx, "admin", admin_password_hash, projects["admin"], now)
    demo = await _user(tx, "demo", demo_password_hash, projects["demo"], now)
    await _grant(tx, admin, Target.PROJECT, projects["admin"], roles["admin"])
    await _grant(tx, admin, Target.DOMAIN, DEFAULT_DOMAIN, roles["admin"])
    await _grant(tx, admin, Target.SYSTEM, SYSTEM_ALL, roles["admin"])
    await _grant(tx, demo, Target.PROJECT, projects["demo"], roles["member"])


async def _project(tx: Transaction, name: str, now: float) -> str:
    project = Project(
        id=uuid.uuid4().hex,
        created_at=now,
        updated_at=now,
        name=name,
        domain_id=DEFAULT_DOMAIN,
        parent_id=DEFAULT_DOMAIN,
        description=DESCRIPTIONS[name],
    )
    await PROJECTS.insert(tx, project)
    return project.id


async def _role(tx: Transaction, name: str, now: float) -> str:
    return (await ROLES.insert(tx, Role(id=uuid.uuid4().hex, created_at=now, updated_at=now, name=name))).id


async def _user(tx: Transaction, name: str, password_hash: str, project_id: str, now: float) -> str:
    user = User(
        id=uuid.uuid4().hex,
        created_at=now,
        updated_at=now,
        name=name,
        domain_id=DEFAULT_DOMAIN,
        default_project_id=project_id,
        password_hash=password_hash,
        password_set_at=now,
    )
    await USERS.insert(tx, user)
    return user.id


async def _grant(tx: Transaction, user_id: str, target: Target, target_id: str, role_id: str) -> None:
    await grant(tx, Assignment(actor=Actor.USER, actor_id=user_id, target=target, target_id=target_id, role_id=role_id))
