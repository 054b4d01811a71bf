"""Roles, and which of them imply others."""

from typing import Any

from msgspec import UNSET, UnsetType

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import (
    Document,
    Name,
    changes,
    collection,
    duplicate,
    extras,
    found,
    fresh,
    merged,
    self_link,
    wanted,
    write,
)
from pileus.api.identity.options import IMMUTABLE, check_options, guard_immutable
from pileus.api.policy import require
from pileus.api.request import Request
from pileus.core.roles import would_cycle
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound
from pileus.model.roles import Role
from pileus.store.database import Reader, Transaction
from pileus.store.domains import get_domain
from pileus.store.listing import Condition, Listing, list_rows
from pileus.store.revocations import revoke
from pileus.store.roles import ROLES, delete_role, implications, imply, stop_implying

KNOWN = ("name", "domain_id", "description", "options")


class NewRole(Model, frozen=True, kw_only=True):
    """Attributes of a new role."""

    name: Name
    domain_id: str | None = None
    description: str | None = None
    options: dict[str, Any] = {}


class CreateRole(Model, frozen=True, kw_only=True):
    """POST /v3/roles."""

    role: NewRole


class RoleChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    name: Name | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET


class UpdateRole(Model, frozen=True, kw_only=True):
    """PATCH /v3/roles/{id}."""

    role: RoleChanges


def role_document(request: Request, role: Role) -> Document:
    """A role as Keystone shows it."""
    return {
        **role.extra,
        "id": role.id,
        "name": role.name,
        "domain_id": role.domain_id or None,
        "description": role.description,
        "options": role.options,
        "links": self_link(request, "roles", role.id),
    }


async def find_role(db: Reader, role_id: str) -> Role:
    """The role, or NotFound."""
    return found(await ROLES.get(db, role_id), "role", role_id)


async def list_roles(request: Request) -> Document:
    """GET /v3/roles: the global ones, or those of the domain that `domain_id` names."""
    filters = wanted(request, ("name", "domain_id"))
    filters["domain_id"] = filters.get("domain_id") or ""
    if filters["domain_id"]:
        require(request, "identity:list_domain_roles")
    conditions = [Condition(column=name, value=value) for name, value in filters.items()]
    rows = await list_rows(request.cloud.db, ROLES, Listing(conditions=conditions, sort=[("created_at", "asc")]))
    return collection(request, "roles", [role_document(request, row) for row in rows])


async def show_role(request: Request) -> Document:
    """GET /v3/roles/{role_id}."""
    role = await find_role(request.cloud.db, request.params["role_id"])
    require(request, "identity:get_domain_role" if role.domain_id else "identity:get_role")
    may.demand(may.sees_all(request) or role.name in may.DELEGABLE, "identity:get_role")
    return {"role": role_document(request, role)}


async def create_role(request: Request) -> Document:
    """POST /v3/roles."""
    body: NewRole = request.body.role
    check_options(body.options, IMMUTABLE)
    role = Role(
        **fresh(),
        name=body.name,
        domain_id=body.domain_id or "",
        description=body.description,
        options=merged({}, body.options),
        extra=extras(request, "role", KNOWN),
    )

    async def work(tx: Transaction) -> Role:
        if role.domain_id:
            found(await get_domain(tx, role.domain_id), "domain", role.domain_id)
        if await _same_name(tx, role.name, role.domain_id):
            raise duplicate("role", role.name)
        return await ROLES.insert(tx, role)

    return {"role": role_document(request, await write(request, work))}


async def _same_name(db: Reader, name: str, domain_id: str, but: str = "") -> bool:
    """Whether the name is taken. Tokens carry names in lower case, so case makes no difference."""
    taken = await ROLES.first(db, "lower(name) = ? AND domain_id = ? AND id <> ?", name.lower(), domain_id, but)
    return taken is not None


async def update_role(request: Request) -> Document:
    """PATCH /v3/roles/{role_id}; a new name voids the tokens that carry the old one."""
    role_id = request.params["role_id"]
    sent = changes(request.body.role)
    if "options" in sent:
        check_options(sent["options"], IMMUTABLE)

    async def work(tx: Transaction) -> Role:
        role = await find_role(tx, role_id)
        require(request, "identity:update_role")
        guard_immutable("role", role_id, role.options, sent)
        if (sent.pop("domain_id", role.domain_id) or "") != role.domain_id:
            raise Invalid("A role's domain can't be changed.", field="domain_id")
        if "name" in sent and sent["name"] != role.name:
            if await _same_name(tx, sent["name"], role.domain_id, role.id):
                raise duplicate("role", sent["name"])
            await revoke(tx, f"role:{role.name.lower()}")
        new = {**sent, "options": merged(role.options, sent.get("options", UNSET))}
        return await ROLES.update(tx, role, **new, extra=merged(role.extra, extras(request, "role", KNOWN)))

    return {"role": role_document(request, await write(request, work))}


async def remove_role(request: Request) -> None:
    """DELETE /v3/roles/{role_id}."""
    role_id = request.params["role_id"]

    async def work(tx: Transaction) -> None:
        role = await find_role(tx, role_id)
        require(request, "identity:delete_role")
        guard_immutable("role", role_id, role.options)
        if role.name == "admin" and not role.domain_id:
            raise Conflict("The role admin can't be deleted: nobody could manage the cloud without it.", status=403)
        await delete_role(tx, role)

    await write(request, work)


def _brief(request: Request, role: Role) -> Document:
    return {"id": role.id, "name": role.name, "links": self_link(request, "roles", role.id)}


async def list_implied(request: Request) -> Document:
    """GET /v3/roles/{role_id}/implies."""
    db = request.cloud.db
    prior = await find_role(db, request.params["role_id"])
    ids = (await implications(db)).get(prior.id, set())
    implied = [await find_role(db, role_id) for role_id in sorted(ids)]
    inference = {"prior_role": _brief(request, prior), "implies": [_brief(request, role) for role in implied]}
    return {"role_inference": inference, "links": self_link(request, "roles", prior.id, "implies")}


async def _pair(request: Request, db: Reader) -> tuple[Role, Role]:
    return await find_role(db, request.params["role_id"]), await find_role(db, request.params["implied_id"])


def _inference(request: Request, prior: Role, implied: Role) -> Document:
    return {
        "role_inference": {"prior_role": _brief(request, prior), "implies": _brief(request, implied)},
        "links": self_link(request, "roles", prior.id, "implies", implied.id),
    }


async def show_implied(request: Request) -> Document:
    """GET /v3/roles/{role_id}/implies/{implied_id}."""
    prior, implied = await _pair(request, request.cloud.db)
    if implied.id not in (await implications(request.cloud.db)).get(prior.id, set()):
        raise NotFound(f"{prior.id} does not imply {implied.id}.")
    return _inference(request, prior, implied)


async def check_implied(request: Request) -> None:
    """HEAD /v3/roles/{role_id}/implies/{implied_id}."""
    await show_implied(request)


async def put_implied(request: Request) -> Document:
    """PUT /v3/roles/{role_id}/implies/{implied_id}."""

    async def work(tx: Transaction) -> Document:
        prior, implied = await _pair(request, tx)
        if implied.name == "admin" and not implied.domain_id:
            raise Forbidden("The role admin can't be implied by another.")
        if implied.domain_id and not prior.domain_id:
            raise Forbidden("A domain's role can't be implied by a global one.")
        if would_cycle(prior.id, implied.id, await implications(tx)):
            raise Invalid("A role can't imply itself, neither through others.", field="implied_role_id")
        await imply(tx, prior.id, implied.id)
        return _inference(request, prior, implied)

    return await write(request, work)


async def delete_implied(request: Request) -> None:
    """DELETE /v3/roles/{role_id}/implies/{implied_id}."""

    async def work(tx: Transaction) -> None:
        prior, implied = await _pair(request, tx)
        if not await stop_implying(tx, prior, implied.id):
            raise NotFound(f"{prior.id} does not imply {implied.id}.")

    await write(request, work)


async def list_inferences(request: Request) -> Document:
    """GET /v3/role_inferences."""
    db = request.cloud.db
    rules = [
        {
            "prior_role": _brief(request, await find_role(db, prior_id)),
            "implies": [_brief(request, await find_role(db, role_id)) for role_id in sorted(ids)],
        }
        for prior_id, ids in sorted((await implications(db)).items())
    ]
    return {"role_inferences": rules, "links": {"self": f"{request.service_url}/v3/role_inferences"}}
