"""Where a token counts: the scope that a login asks for, with the roles there."""

from typing import Any

import msgspec

from pileus import clock
from pileus.api.identity.login_bodies import Named, NamedIn
from pileus.api.identity.logins import Login, find_domain
from pileus.api.identity.tokens import INVALID
from pileus.api.request import Request
from pileus.model.errors import Forbidden, Invalid, Unauthorized
from pileus.model.projects import Project
from pileus.model.roles import Role
from pileus.model.trusts import Trust
from pileus.model.users import User
from pileus.store import assignments
from pileus.store.database import Reader
from pileus.store.domains import get_domain
from pileus.store.projects import PROJECTS, project_named
from pileus.store.roles import expand
from pileus.store.trusts import TRUSTS
from pileus.store.users import USERS


class Scope(msgspec.Struct, kw_only=True):
    """Where the token counts."""

    project: Project | None = None
    domain: Project | None = None
    system: bool = False
    roles: list[Role] = []
    trust: Trust | None = None


async def find_scope(request: Request, login: Login, asked: dict[str, Any] | str | None) -> Scope:
    db = request.cloud.db
    if login.credential:
        return await _credential_scope(db, login, asked)
    if login.access_token:
        token = login.access_token
        return await narrowed_scope(db, login.user, token.project_id, token.role_ids)
    if asked is None:
        return Scope() if login.federation else await _default_scope(db, login.user)
    if asked == "unscoped" or (isinstance(asked, dict) and "unscoped" in asked):
        return Scope()
    if isinstance(asked, str) or len(asked) != 1:
        raise Invalid("A scope is one of project, domain, system or unscoped.", field="scope")
    scope = await _asked_scope(db, login, asked)
    if not scope.roles:
        raise Unauthorized(INVALID)
    return scope


async def _asked_scope(db: Reader, login: Login, asked: dict[str, Any]) -> Scope:
    user = login.user
    kind, value = next(iter(asked.items()))
    try:
        if kind == "project":
            project = await _project(db, msgspec.convert(value, NamedIn))
            return await _project_scope(db, user, project, login.said)
        if kind == "domain":
            domain = await find_domain(db, msgspec.convert(value, Named), "scope")
            return await _domain_scope(db, user, domain, login.said)
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid input: {error} (in scope.{kind})", field=kind) from error
    if kind == "system":
        if not isinstance(value, dict) or value.get("all") is not True:  # pyright: ignore[reportUnknownMemberType]
            raise Invalid('The system scope is {"system": {"all": true}}.', field="system")
        return Scope(system=True, roles=await assignments.roles_on_system(db, user.id, login.said))
    if kind == "OS-TRUST:trust":
        return await _trust_scope(db, user, value)
    raise Invalid(f"'{kind}' is not a scope; use project, domain, system or unscoped.", field="scope")


async def _trust_scope(db: Reader, user: User, value: Any) -> Scope:
    """The trust's project with its roles, as long as both parties and the trustor's own roles are there."""
    key = value.get("id") if isinstance(value, dict) else None
    trust = await TRUSTS.get(db, key) if isinstance(key, str) else None
    if trust is None or (trust.expires_at is not None and trust.expires_at <= clock.now()) or trust.remaining_uses == 0:
        raise Unauthorized(INVALID)
    if trust.trustee_user_id != user.id:
        raise Forbidden("User is not a trustee.")
    trustor = await USERS.get(db, trust.trustor_user_id)
    home = await get_domain(db, trustor.domain_id) if trustor else None
    if trustor is None or not trustor.enabled or home is None or not home.enabled:
        raise Forbidden("Trustor is disabled.")
    own = await _project_scope(db, trustor, await PROJECTS.get(db, trust.project_id))
    if own.project is None or not {*trust.role_ids} <= {role.id for role in own.roles}:
        raise Forbidden("The trustor no longer has the roles of the trust on its project.")
    return Scope(project=own.project, roles=await expand(db, trust.role_ids), trust=trust)


async def _project(db: Reader, given: NamedIn) -> Project | None:
    if given.id is not None:
        return await PROJECTS.get(db, given.id)
    if given.name is None:
        raise Invalid("Expecting to find id or name in project.", field="project")
    domain = await find_domain(db, given.domain, "project")
    return await project_named(db, given.name, domain.id) if domain else None


async def _project_scope(db: Reader, user: User, project: Project | None, said: tuple[str, ...] = ()) -> Scope:
    if project is None or not project.enabled:
        return Scope()
    if not project.is_domain:
        domain = await get_domain(db, project.domain_id)
        if domain is None or not domain.enabled:
            return Scope()
    return Scope(project=project, roles=await assignments.roles_on_project(db, user.id, project, said))


async def _domain_scope(db: Reader, user: User, domain: Project | None, said: tuple[str, ...]) -> Scope:
    if domain is None or not domain.enabled:
        return Scope()
    return Scope(domain=domain, roles=await assignments.roles_on_domain(db, user.id, domain.id, said))


async def _default_scope(db: Reader, user: User) -> Scope:
    """The user's default project, if it has roles there; else the token is unscoped."""
    if user.default_project_id is None:
        return Scope()
    scope = await _project_scope(db, user, await PROJECTS.get(db, user.default_project_id))
    return scope if scope.roles else Scope()


async def _credential_scope(db: Reader, login: Login, asked: dict[str, Any] | str | None) -> Scope:
    """The credential's project, with those of its roles that its owner still has."""
    assert login.credential
    if asked is not None and "token" not in login.methods:
        raise Unauthorized("Error authenticating with application credential: Application credentials cannot request a scope.")
    scope = await _project_scope(db, login.user, await PROJECTS.get(db, login.credential.project_id))
    given = {role.id for role in await expand(db, login.credential.role_ids)}
    scope.roles = [role for role in scope.roles if role.id in given]
    if not scope.roles or scope.project is None:
        raise Unauthorized(INVALID)
    project = asked.get("project") if isinstance(asked, dict) else None
    if asked is not None and not (isinstance(project, dict) and project.get("id") == scope.project.id):
        raise Forbidden("A token of an application credential can't be scoped to anything but the credential's project.")
    return scope


async def narrowed_scope(db: Reader, user: User, project_id: str, role_ids: list[str] | None) -> Scope:
    """A project with those of the given roles (None: all) that the user has there now; Unauthorized when none is left."""
    scope = await _project_scope(db, user, await PROJECTS.get(db, project_id))
    if role_ids is not None:
        given = {role.id for role in await expand(db, role_ids)}
        scope.roles = [role for role in scope.roles if role.id in given]
    if not scope.roles or scope.project is None:
        raise Unauthorized(INVALID)
    return scope
