"""Grants: a role for a user or group on a project, a domain or the system, there or inherited by the projects below."""

from functools import partial

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import Document, collection, found, write
from pileus.api.identity.roles import find_role, role_document
from pileus.api.request import Request
from pileus.api.routes import Route, route
from pileus.model.assignments import SYSTEM_ALL, Actor, Assignment, Target
from pileus.model.base import Model
from pileus.model.errors import Forbidden, NotFound
from pileus.model.groups import Group
from pileus.model.users import User
from pileus.store.assignments import ASSIGNMENTS, grant, is_granted, withdraw
from pileus.store.database import Reader, Transaction
from pileus.store.domains import get_domain
from pileus.store.groups import GROUPS
from pileus.store.projects import PROJECTS
from pileus.store.users import USERS

ACTORS = {Actor.USER: "users", Actor.GROUP: "groups"}
TARGETS = {Target.PROJECT: "projects", Target.DOMAIN: "domains", Target.SYSTEM: "system"}


class Kind(Model, frozen=True, kw_only=True):
    """Which grants a path is about."""

    target: Target
    actor: Actor
    inherited: bool = False


class Parties(Model, frozen=True, kw_only=True):
    """What the path names, as it is in the database."""

    actor: User | Group
    target_id: str
    target_domain: str | None  # None: the system has none


async def _parties(request: Request, db: Reader, kind: Kind) -> Parties:
    key = request.params["actor_id"]
    actor = await USERS.get(db, key) if kind.actor is Actor.USER else await GROUPS.get(db, key)
    place = request.params.get("target_id", SYSTEM_ALL)
    domain_id: str | None = None
    if kind.target is Target.PROJECT:
        project = found(await PROJECTS.get(db, place), "project", place)
        domain_id = project.domain_id or project.id
    elif kind.target is Target.DOMAIN:
        domain_id = found(await get_domain(db, place), "domain", place).id
    return Parties(actor=found(actor, str(kind.actor), key), target_id=place, target_domain=domain_id)


async def _readable(request: Request, kind: Kind, action: str) -> Parties:
    if kind.target is Target.SYSTEM:
        may.demand(may.sees_all(request), action)
        return await _parties(request, request.cloud.db, kind)
    if may.sees_all(request):
        return await _parties(request, request.cloud.db, kind)
    try:
        parties = await _parties(request, request.cloud.db, kind)
    except NotFound as error:
        raise Forbidden(f"You are not authorized to perform the requested action: {action}.", action=action) from error
    inside = parties.actor.domain_id == parties.target_domain == request.identity.domain_id
    may.demand(inside and request.identity.has("reader"), action)
    return parties


async def _grant_of(request: Request, db: Reader, kind: Kind, action: str) -> Assignment:
    """The path's grant, when the caller may make and end it: a domain's manager only in the domain, and only some roles."""
    who = request.identity
    may.demand(who.is_admin or (kind.target is not Target.SYSTEM and who.domain_id is not None and who.has("manager")), action)
    try:
        parties, role = await _parties(request, db, kind), await find_role(db, request.params["role_id"])
    except NotFound as error:
        if who.is_admin:
            raise
        raise Forbidden(f"You are not authorized to perform the requested action: {action}.", action=action) from error
    inside = parties.actor.domain_id == parties.target_domain == who.domain_id
    may.demand(who.is_admin or (inside and role.name in may.DELEGABLE), action)
    return _assignment(kind, parties, role.id)


async def _check_domain(db: Reader, kind: Kind, one: Assignment) -> None:
    """A domain's role is for the projects of that domain, and for domains, as Keystone has it: for the system it is not."""
    role = await find_role(db, one.role_id)
    project = await PROJECTS.get(db, one.target_id) if kind.target is Target.PROJECT else None
    if role.domain_id and kind.target is not Target.DOMAIN and (project is None or project.domain_id != role.domain_id):
        raise Forbidden(f"The role {role.id} belongs to the domain {role.domain_id}: it can be given on that domain's projects only.")


def _assignment(kind: Kind, parties: Parties, role_id: str) -> Assignment:
    return Assignment(
        actor=kind.actor,
        actor_id=parties.actor.id,
        target=kind.target,
        target_id=parties.target_id,
        role_id=role_id,
        inherited=kind.inherited,
    )


def _no_grant(one: Assignment) -> NotFound:
    words = f"role: {one.role_id}, {one.actor}: {one.actor_id}, {one.target}: {one.target_id}"
    return NotFound(f"Could not find role assignment with {words}.")


async def list_grants(kind: Kind, request: Request) -> Document:
    """GET .../roles: what the actor was given there."""
    parties = await _readable(request, kind, request.route.policy)
    where = "actor = ? AND actor_id = ? AND target = ? AND target_id = ? AND inherited = ?"
    values = (str(kind.actor), parties.actor.id, str(kind.target), parties.target_id, int(kind.inherited))
    rows = await ASSIGNMENTS.find(request.cloud.db, where, *values)
    roles = [await find_role(request.cloud.db, row.role_id) for row in rows]
    return collection(request, "roles", [role_document(request, role) for role in roles])


async def check_grant(kind: Kind, request: Request) -> None:
    """HEAD, GET .../roles/{role_id}."""
    parties = await _readable(request, kind, request.route.policy)
    role = await find_role(request.cloud.db, request.params["role_id"])
    may.demand(may.sees_all(request) or role.domain_id in ("", request.identity.domain_id), request.route.policy)
    if not await is_granted(request.cloud.db, _assignment(kind, parties, role.id)):
        raise _no_grant(_assignment(kind, parties, role.id))


async def put_grant(kind: Kind, request: Request) -> None:
    """PUT .../roles/{role_id}."""

    async def work(tx: Transaction) -> None:
        one = await _grant_of(request, tx, kind, request.route.policy)
        await _check_domain(tx, kind, one)
        await grant(tx, one)

    await write(request, work)


async def delete_grant(kind: Kind, request: Request) -> None:
    """DELETE .../roles/{role_id}."""

    async def work(tx: Transaction) -> None:
        one = await _grant_of(request, tx, kind, request.route.policy)
        if not await withdraw(tx, one):
            raise _no_grant(one)

    await write(request, work)


def _routes(kind: Kind, place: str, tail: str, actions: tuple[str, str, str, str]) -> list[Route]:
    listing, check, create, revoke = actions
    one = f"{place}/roles/{{role_id}}{tail}"
    return [
        route("GET", f"{place}/roles{tail}", partial(list_grants, kind), listing),
        route("GET", one, partial(check_grant, kind), check, success=204),
        route("PUT", one, partial(put_grant, kind), create, success=204),
        route("DELETE", one, partial(delete_grant, kind), revoke, success=204),
    ]


def grant_routes() -> list[Route]:
    """/v3/{projects,domains}/{id}/{users,groups}/{id}/roles, the same below OS-INHERIT, and /v3/system/{users,groups}/{id}/roles."""
    found: list[Route] = []
    common = ("identity:list_grants", "identity:check_grant", "identity:create_grant", "identity:revoke_grant")
    for actor, people in ACTORS.items():
        for target in (Target.PROJECT, Target.DOMAIN):
            place = f"/{TARGETS[target]}/{{target_id}}/{people}/{{actor_id}}"
            found += _routes(Kind(target=target, actor=actor), f"/v3{place}", "", common)
            inherited = Kind(target=target, actor=actor, inherited=True)
            found += _routes(inherited, f"/v3/OS-INHERIT{place}", "/inherited_to_projects", common)
        system = (
            f"identity:list_system_grants_for_{actor}",
            f"identity:check_system_grant_for_{actor}",
            f"identity:create_system_grant_for_{actor}",
            f"identity:revoke_system_grant_for_{actor}",
        )
        found += _routes(Kind(target=Target.SYSTEM, actor=actor), f"/v3/system/{people}/{{actor_id}}", "", system)
    return found
