"""Application credentials: each user keeps its own."""

import secrets
from typing import Annotated

from msgspec import Meta

from pileus import clock
from pileus.api.identity import passwords
from pileus.api.identity import visibility as may
from pileus.api.identity.access_rules import GivenRule, keep_rules, rule_document
from pileus.api.identity.documents import Document, Name, collection, found, fresh, parse_time, self_link, timestamp, write
from pileus.api.identity.roles import find_role
from pileus.api.request import Request
from pileus.model.application_credentials import ApplicationCredential
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid
from pileus.model.roles import Role
from pileus.store.access_rules import rules_by_ids
from pileus.store.application_credentials import APPLICATION_CREDENTIALS, credential_named, delete_application_credential
from pileus.store.assignments import roles_on_project
from pileus.store.database import Reader, Transaction
from pileus.store.projects import PROJECTS
from pileus.store.roles import ROLES


class GivenRole(Model, frozen=True, kw_only=True):
    """A role by id or name."""

    id: str | None = None
    name: str | None = None


class NewCredential(Model, frozen=True, kw_only=True):
    """Attributes of a new credential; without `roles` it has all that the token has."""

    name: Name
    description: str | None = None
    secret: Annotated[str, Meta(min_length=1, max_length=passwords.LONGEST)] | None = None
    roles: list[GivenRole] = []
    expires_at: str | None = None
    unrestricted: bool | None = None
    access_rules: list[GivenRule] | None = None
    project_id: str | None = None


class CreateCredential(Model, frozen=True, kw_only=True):
    """POST /v3/users/{id}/application_credentials."""

    application_credential: NewCredential


async def _document(request: Request, one: ApplicationCredential) -> Document:
    roles = await ROLES.find(request.cloud.db, f"id IN ({', '.join('?' * len(one.role_ids))}) ORDER BY name", *one.role_ids)
    rules = await rules_by_ids(request.cloud.db, one.access_rule_ids or [])
    return {
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "user_id": one.user_id,
        "project_id": one.project_id,
        "roles": [{"id": role.id, "name": role.name, "domain_id": role.domain_id or None} for role in roles],
        "expires_at": _moment(one.expires_at),
        "unrestricted": one.unrestricted,
        "system": None,
        **({} if one.access_rule_ids is None else {"access_rules": [rule_document(rule) for rule in rules]}),
        "links": self_link(request, "users", one.user_id, "application_credentials", one.id),
    }


def _moment(expires_at: float | None) -> str | None:
    """Keystone writes this one time without its zone."""
    written = timestamp(expires_at)
    return written and written.removesuffix("Z")


def _own(request: Request) -> bool:
    return request.params["user_id"] == request.identity.user_id


def _unrestricted_only(request: Request, credential: ApplicationCredential | None) -> None:
    """A token of a restricted application credential, or of a trust, must not make or end one."""
    if request.identity.is_delegated and not request.identity.application_credential_id:
        raise Forbidden("A token of a trust, an access token or an EC2 key can't manage application credentials.")
    if request.identity.application_credential_id and (credential is None or not credential.unrestricted):
        raise Forbidden("An application credential that is not unrestricted can't manage application credentials.")


async def list_credentials(request: Request) -> Document:
    """GET /v3/users/{user_id}/application_credentials."""
    may.demand(_own(request) or may.sees_all(request), "identity:list_application_credentials")
    where = "user_id = ? ORDER BY created_at, id"
    rows = await APPLICATION_CREDENTIALS.find(request.cloud.db, where, request.params["user_id"])
    if "name" in request.query:
        rows = [row for row in rows if row.name == request.query["name"]]
    return collection(request, "application_credentials", [await _document(request, row) for row in rows])


async def show_credential(request: Request) -> Document:
    """GET /v3/users/{user_id}/application_credentials/{credential_id}."""
    may.demand(_own(request) or may.sees_all(request), "identity:get_application_credential")
    return {"application_credential": await _document(request, await _find(request, request.cloud.db))}


async def _find(request: Request, db: Reader) -> ApplicationCredential:
    key = request.params["credential_id"]
    one = found(await APPLICATION_CREDENTIALS.get(db, key), "application credential", key)
    may.demand(one.user_id == request.params["user_id"], request.route.policy)  # under one's own name as well
    return one


async def create_credential(request: Request) -> Document:
    """POST /v3/users/{user_id}/application_credentials: for the token's project, with roles that the token has."""
    body: NewCredential = request.body.application_credential
    may.demand(_own(request), "identity:create_application_credential")
    project_id = request.project_id
    if body.project_id not in (None, project_id):
        raise Forbidden("An application credential is for the project of the token that makes it.")
    db = request.cloud.db
    used = request.identity.application_credential_id
    _unrestricted_only(request, await APPLICATION_CREDENTIALS.get(db, used) if used else None)
    expires_at = parse_time(body.expires_at, "expires_at") if body.expires_at else None
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid("expires_at lies in the past.", field="expires_at")
    secret = body.secret or secrets.token_urlsafe(64)
    hashed = await passwords.hash_password(secret)

    async def work(tx: Transaction) -> ApplicationCredential:
        roles = await _roles(request, tx, body.roles, project_id)
        one = ApplicationCredential(
            **fresh(),
            name=body.name,
            user_id=request.identity.user_id,
            project_id=project_id,
            secret_hash=hashed,
            description=body.description,
            role_ids=[role.id for role in roles],
            expires_at=expires_at,
            unrestricted=bool(body.unrestricted),
            access_rule_ids=None if body.access_rules is None else await keep_rules(tx, request.identity.user_id, body.access_rules),
        )
        if await credential_named(tx, body.name, one.user_id) is not None:
            raise Conflict(f"Conflict occurred attempting to store application_credential - Duplicate entry found with name {body.name}.")
        return await APPLICATION_CREDENTIALS.insert(tx, one)

    return {"application_credential": {**await _document(request, await write(request, work)), "secret": secret}}


async def _roles(request: Request, tx: Transaction, given: list[GivenRole], project_id: str) -> list[Role]:
    """The roles that the credential grants, of those that the user has on the project now; no more than a token that itself is a part."""
    project = found(await PROJECTS.get(tx, project_id), "project", project_id)
    who = request.identity
    have = await roles_on_project(tx, who.user_id, project)
    if who.application_credential_id:
        have = [role for role in have if role.name.lower() in who.roles]
    chosen: list[Role] = []
    for one in given:
        if one.id is None and one.name is None:
            raise Invalid("A role is named by its id or its name.", field="roles")
        role = next((role for role in have if (role.id == one.id if one.id is not None else role.name == one.name)), None)
        if role is None:
            if one.id is not None:
                await find_role(tx, one.id)
            raise Invalid(f"The role {one.id or one.name} is not among those that the token has on the project.", field="roles")
        chosen.append(role)
    if not chosen and not have:
        raise Invalid("The user has no roles on the project that a credential could grant.", field="roles")
    return chosen or have


async def remove_credential(request: Request) -> None:
    """DELETE /v3/users/{user_id}/application_credentials/{credential_id}."""
    may.demand(_own(request) or request.identity.is_admin, "identity:delete_application_credential")
    used = request.identity.application_credential_id

    async def work(tx: Transaction) -> None:
        one = await _find(request, tx)
        _unrestricted_only(request, await APPLICATION_CREDENTIALS.get(tx, used) if used else None)
        await delete_application_credential(tx, one.id)

    await write(request, work)
