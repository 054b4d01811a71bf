"""The projects that a mapping gives a user of an identity provider, with roles: made where they are not there."""

from pileus.api.identity.documents import fresh
from pileus.core.mapping_rules import MappedDomain, MappedProject
from pileus.model.assignments import Actor, Assignment, Target
from pileus.model.errors import Forbidden, NotFound, Unauthorized
from pileus.model.projects import Project
from pileus.model.roles import Role
from pileus.model.users import User
from pileus.store.assignments import ASSIGNMENTS, grant, withdraw
from pileus.store.database import Reader, Transaction
from pileus.store.domains import domain_named, get_domain
from pileus.store.projects import PROJECTS, project_named
from pileus.store.roles import role_named

LONGEST_NAME = 64
KEEPS_IN_STEP = "3.0"
"""From this version of the rules on, what the identity provider doesn't say any more is taken away."""


async def give_projects(tx: Transaction, user: User, projects: list[MappedProject], home: str, version: str) -> None:
    """Give the roles. All are looked up before anything is made."""
    roles = {role.name: await _role(tx, role.name, user) for project in projects for role in project.roles}
    wanted: set[tuple[str, str]] = set()
    for given in projects:
        project = await _project(tx, given, home)
        wanted |= {(project.id, roles[role.name].id) for role in given.roles}
    if version >= KEEPS_IN_STEP:
        held = await ASSIGNMENTS.find(tx, "actor = 'user' AND actor_id = ? AND target = 'project' AND inherited = 0", user.id)
        for one in held:
            if (one.target_id, one.role_id) not in wanted:
                await withdraw(tx, one)
    for project_id, role_id in sorted(wanted):
        await grant(tx, Assignment(actor=Actor.USER, actor_id=user.id, target=Target.PROJECT, target_id=project_id, role_id=role_id))


async def _role(db: Reader, name: str, user: User) -> Role:
    role = await role_named(db, name) or await role_named(db, name, user.domain_id)
    if role is not None:
        return role
    if await db.value("SELECT 1 FROM roles WHERE name = ?", name) is not None:
        raise Forbidden(f"The role {name} of the mapping is another domain's.")
    raise NotFound(f"Could not find role: {name}.")


async def domain_id_of(db: Reader, given: MappedDomain | None, otherwise: str) -> str:
    """The id of a domain that a mapping names; Unauthorized when it is not there."""
    if given is None or (given.id is None and given.name is None):
        return otherwise
    domain = await get_domain(db, given.id) if given.id is not None else await domain_named(db, given.name or "")
    if domain is None:
        raise Unauthorized(f"The mapping names a domain that is not there: {given.id or given.name}.")
    return domain.id


async def _project(tx: Transaction, given: MappedProject, home: str) -> Project:
    if not given.name.strip() or len(given.name) > LONGEST_NAME:
        raise Unauthorized(f"A project's name has 1 to {LONGEST_NAME} characters; the mapping gives one of {len(given.name)}.")
    domain_id = await domain_id_of(tx, given.domain, home)
    found = await project_named(tx, given.name, domain_id)
    return found or await PROJECTS.insert(tx, Project(**fresh(), name=given.name, domain_id=domain_id, parent_id=domain_id))
