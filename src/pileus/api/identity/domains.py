"""Domains."""

from typing import Any

from msgspec import UNSET, UnsetType

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import (
    Document,
    Name64,
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
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden
from pileus.model.projects import DEFAULT_DOMAIN, Project
from pileus.store.database import Transaction
from pileus.store.domains import delete_domain, domain_named, get_domain
from pileus.store.listing import Condition, Listing, list_rows
from pileus.store.projects import PROJECTS
from pileus.store.revocations import revoke

KNOWN = ("name", "description", "enabled", "tags", "options", "explicit_domain_id")


class NewDomain(Model, frozen=True, kw_only=True):
    """Attributes of a new domain."""

    name: Name64
    description: str | None = None
    enabled: bool = True
    tags: list[str] = []
    options: dict[str, Any] = {}
    explicit_domain_id: str | None = None


class CreateDomain(Model, frozen=True, kw_only=True):
    """POST /v3/domains."""

    domain: NewDomain


class DomainChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    name: Name64 | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET


class UpdateDomain(Model, frozen=True, kw_only=True):
    """PATCH /v3/domains/{id}."""

    domain: DomainChanges


def domain_document(request: Request, domain: Project) -> Document:
    """A domain as Keystone shows it."""
    return {
        **domain.extra,
        "id": domain.id,
        "name": domain.name,
        "description": domain.description,
        "enabled": domain.enabled,
        "tags": domain.tags,
        "options": domain.options,
        "links": self_link(request, "domains", domain.id),
    }


async def list_domains(request: Request) -> Document:
    """GET /v3/domains."""
    bound = may.own_domain(request)
    filters = wanted(request, ("name",), ("enabled",)) | {"is_domain": True} | ({"id": bound} if bound else {})
    rows = await list_rows(
        request.cloud.db,
        PROJECTS,
        Listing(conditions=[Condition(column=name, value=value) for name, value in filters.items()], sort=[("created_at", "asc")]),
    )
    return collection(request, "domains", [domain_document(request, row) for row in rows])


async def show_domain(request: Request) -> Document:
    """GET /v3/domains/{domain_id}."""
    domain_id = request.params["domain_id"]
    who = request.identity
    may.demand(
        may.sees_all(request)
        or domain_id in (who.domain_id, who.project_domain_id)
        or (who.project_id is None and domain_id == who.user_domain_id),
        "identity:get_domain",
    )
    return {"domain": domain_document(request, found(await get_domain(request.cloud.db, domain_id), "domain", domain_id))}


async def create_domain(request: Request) -> Document:
    """POST /v3/domains."""
    body: NewDomain = request.body.domain
    check_options(body.options, IMMUTABLE)
    domain = Project(
        **fresh(body.explicit_domain_id),
        name=body.name,
        description=body.description or "",
        enabled=body.enabled,
        is_domain=True,
        tags=body.tags,
        options=merged({}, body.options),
        extra=extras(request, "domain", KNOWN),
    )
    return {"domain": domain_document(request, await insert_domain(request, domain))}


async def insert_domain(request: Request, domain: Project) -> Project:
    """Keep a new domain; a name that is taken is a Conflict."""

    async def work(tx: Transaction) -> Project:
        if await domain_named(tx, domain.name) is not None:
            raise duplicate("domain", domain.name)
        if await PROJECTS.get(tx, domain.id) is not None:
            raise duplicate("domain", domain.id)
        return await PROJECTS.insert(tx, domain)

    return await write(request, work)


async def update_domain(request: Request) -> Document:
    """PATCH /v3/domains/{domain_id}."""
    domain_id = request.params["domain_id"]
    sent = changes(request.body.domain)
    if "options" in sent:
        check_options(sent["options"], IMMUTABLE)

    async def work(tx: Transaction) -> Project:
        domain = found(await get_domain(tx, domain_id), "domain", domain_id)
        require(request, "identity:update_domain")
        guard_immutable("domain", domain_id, domain.options, sent)
        new = dict(sent)
        if "name" in new and new["name"] != domain.name and await domain_named(tx, new["name"]) is not None:
            raise duplicate("domain", new["name"])
        if "description" in new:
            new["description"] = new["description"] or ""
        if new.get("enabled") is False:
            if domain_id == DEFAULT_DOMAIN:
                raise Forbidden("The default domain can't be disabled: the cloud's own accounts are in it.")
            await revoke(tx, f"domain:{domain_id}")
        new["options"] = merged(domain.options, sent.get("options", UNSET))
        new["extra"] = merged(domain.extra, extras(request, "domain", KNOWN))
        return await PROJECTS.update(tx, domain, **new)

    return {"domain": domain_document(request, await write(request, work))}


async def remove_domain(request: Request) -> None:
    """DELETE /v3/domains/{domain_id}: with all that is in it; it must be disabled."""
    domain_id = request.params["domain_id"]

    async def work(tx: Transaction) -> None:
        domain = found(await get_domain(tx, domain_id), "domain", domain_id)
        guard_immutable("domain", domain_id, domain.options)
        await delete_disabled_domain(tx, domain)

    await write(request, work)


async def delete_disabled_domain(tx: Transaction, domain: Project) -> None:
    """Delete a domain with all that is in it; Forbidden while it is enabled."""
    if domain.id == DEFAULT_DOMAIN:
        raise Conflict("The default domain can't be deleted.", status=403)
    if domain.enabled:
        raise Forbidden("Cannot delete a domain that is enabled; disable it first.")
    await delete_domain(tx, domain.id)
