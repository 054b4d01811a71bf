"""Limits: what a registered limit is for one project or one domain."""

from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import Document, Name, changes, collection, found, fresh, self_link, wanted, write
from pileus.api.identity.registered_limits import FILTERS, Amount, Batch, Key, check_place
from pileus.api.request import Request
from pileus.core.limits import MODELS, fits
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid
from pileus.model.limits import Limit, RegisteredLimit
from pileus.model.projects import Project
from pileus.store.database import Reader, Transaction
from pileus.store.domains import get_domain
from pileus.store.limits import LIMITS, REGISTERED_LIMITS, limit_of, limits_below, registered
from pileus.store.projects import PROJECTS


class NewLimit(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes of a new limit, of a project or of a domain."""

    service_id: Key
    region_id: str | None = None
    resource_name: Name
    resource_limit: Amount
    project_id: str | None = None
    domain_id: str | None = None
    description: str | None = None


class CreateLimits(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v3/limits."""

    limits: Annotated[list[NewLimit], Batch]


class LimitChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change."""

    resource_limit: Amount | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class UpdateLimit(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /v3/limits/{id}."""

    limit: LimitChanges


def _document(request: Request, one: Limit, of: RegisteredLimit) -> Document:
    return {
        "id": one.id,
        "project_id": one.project_id,
        "domain_id": one.domain_id,
        "service_id": of.service_id,
        "region_id": of.region_id,
        "resource_name": of.resource_name,
        "resource_limit": one.resource_limit,
        "description": one.description,
        "links": self_link(request, "limits", one.id),
    }


async def _registered_of(db: Reader, one: Limit) -> RegisteredLimit:
    return found(await REGISTERED_LIMITS.get(db, one.registered_limit_id), "registered limit", one.registered_limit_id)


async def show_model(request: Request) -> Document:
    """GET /v3/limits/model."""
    name = request.cloud.config.limit_model
    return {"model": {"name": name, "description": MODELS[name]}}


async def list_limits(request: Request) -> Document:
    """GET /v3/limits: all for the cloud's people and services, a domain's for its token, a project's for its."""
    db = request.cloud.db
    where, args = _seen_by(request)
    rows = await LIMITS.find(db, f"{where} ORDER BY created_at, id", *args)
    of = {one.id: one for one in await REGISTERED_LIMITS.find(db)}
    documents = [_document(request, row, of[row.registered_limit_id]) for row in rows if row.registered_limit_id in of]
    for name, value in wanted(request, (*FILTERS, "project_id", "domain_id")).items():
        documents = [one for one in documents if one[name] == (value or None)]
    return collection(request, "limits", documents)


def _seen_by(request: Request) -> tuple[str, list[str]]:
    who = request.identity
    if who.system or who.is_admin or who.has("service"):
        return "1 = 1", []
    if who.domain_id is not None:
        return "(domain_id = ? OR project_id IN (SELECT id FROM projects WHERE domain_id = ?))", [who.domain_id, who.domain_id]
    return "project_id = ?", [who.project_id or ""]


async def show_limit(request: Request) -> Document:
    """GET /v3/limits/{limit_id}: by who is in its project or domain, or sees all."""
    db, key, who = request.cloud.db, request.params["limit_id"], request.identity
    one = await LIMITS.get(db, key)
    own = one is not None and one.project_id is not None and one.project_id == who.project_id
    if one is not None and who.domain_id is not None:
        project = await PROJECTS.get(db, one.project_id) if one.project_id else None
        own = who.domain_id == (project.domain_id if project else one.domain_id)
    may.demand(own or may.sees_all(request), "identity:get_limit")
    one = found(one, "limit", key)
    return {"limit": _document(request, one, await _registered_of(db, one))}


async def create_limits(request: Request) -> Document:
    """POST /v3/limits: all of them, or none; each for a resource that has a registered limit."""
    body: CreateLimits = request.body

    async def work(tx: Transaction) -> list[tuple[Limit, RegisteredLimit]]:
        made = [await _insert(request, tx, one) for one in body.limits]
        for one, of in made:  # after all are there: a domain's and its projects' may come together
            await _demand_fit(request, tx, one, of)
        return made

    return {"limits": [_document(request, one, of) for one, of in await write(request, work)]}


async def _insert(request: Request, tx: Transaction, given: NewLimit) -> tuple[Limit, RegisteredLimit]:
    if (given.project_id is None) == (given.domain_id is None):
        raise Invalid("A limit is for either a project (project_id) or a domain (domain_id).", field="project_id")
    await check_place(request, tx, given.service_id, given.region_id)
    place = await _place(tx, given)
    of = await registered(tx, given.service_id, given.region_id, given.resource_name)
    if of is None:
        raise Forbidden("Unable to create a limit that has no corresponding registered limit.")
    target: dict[str, Any] = {"domain_id": place.id} if place.is_domain else {"project_id": place.id}
    if await limit_of(tx, of.id, **target) is not None:
        raise Conflict(f"Conflict occurred attempting to store limit - {place.id} has one of {given.resource_name} already.")
    one = Limit(**fresh(), registered_limit_id=of.id, resource_limit=given.resource_limit, description=given.description, **target)
    return await LIMITS.insert(tx, one), of


async def _place(db: Reader, given: NewLimit) -> Project:
    """The project, or the domain; a project that is a domain counts as one."""
    if given.project_id is not None:
        project = await PROJECTS.get(db, given.project_id)
        if project is None:
            raise Invalid(f"There is no project {given.project_id}.", field="project_id")
        return project
    domain = await get_domain(db, given.domain_id or "")
    if domain is None:
        raise Invalid(f"There is no domain {given.domain_id}.", field="domain_id")
    return domain


async def _demand_fit(request: Request, tx: Transaction, one: Limit, of: RegisteredLimit) -> None:
    """Forbidden where the cloud's model of limits is strict and the tree would not fit."""
    if request.cloud.config.limit_model != "strict_two_level":
        return
    above: int | None = None
    below: list[int] = []
    if one.project_id is not None:
        project = found(await PROJECTS.get(tx, one.project_id), "project", one.project_id)
        domains = await limit_of(tx, of.id, domain_id=project.domain_id)
        above = domains.resource_limit if domains else of.default_limit
    else:
        below = [child.resource_limit for child in await limits_below(tx, of.id, one.domain_id or "")]
    if not fits(one.resource_limit, above, below):
        where = f"project_id: {one.project_id}" if one.project_id else f"domain_id: {one.domain_id}"
        raise Forbidden(
            f"Invalid resource limit: {one.resource_limit} of {of.resource_name} ({where}) doesn't satisfy the hierarchy, in which no "
            "project's limit is above its domain's; change the domain's or the projects' first."
        )


async def update_limit(request: Request) -> Document:
    """PATCH /v3/limits/{limit_id}."""
    sent = changes(request.body.limit)
    key = request.params["limit_id"]

    async def work(tx: Transaction) -> tuple[Limit, RegisteredLimit]:
        one = found(await LIMITS.get(tx, key), "limit", key)
        of = await _registered_of(tx, one)
        new = await LIMITS.update(tx, one, **sent)
        await _demand_fit(request, tx, new, of)
        return new, of

    return {"limit": _document(request, *await write(request, work))}


async def remove_limit(request: Request) -> None:
    """DELETE /v3/limits/{limit_id}."""
    key = request.params["limit_id"]

    async def work(tx: Transaction) -> None:
        found(await LIMITS.get(tx, key), "limit", key)
        await LIMITS.delete(tx, key)

    await write(request, work)
