"""Registered limits: what a resource of a service is limited to where nothing else is said."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.catalog import all_services
from pileus.api.identity.documents import Document, Name, changes, collection, found, fresh, self_link, wanted, write
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid
from pileus.model.limits import RegisteredLimit
from pileus.store.catalog import REGIONS
from pileus.store.database import Reader, Transaction
from pileus.store.limits import REGISTERED_LIMITS, in_use, registered
from pileus.store.listing import Condition, Listing, list_rows

Amount = Annotated[int, Meta(ge=-1, le=0x7FFFFFFF)]
Key = Annotated[str, Meta(min_length=1, max_length=255)]
Batch = Meta(min_length=1, max_length=1000)


class NewRegisteredLimit(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes of a new registered limit."""

    service_id: Key
    region_id: str | None = None
    resource_name: Name
    default_limit: Amount
    description: str | None = None


class CreateRegisteredLimits(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v3/registered_limits."""

    registered_limits: Annotated[list[NewRegisteredLimit], Batch]


class RegisteredLimitChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change, while no limit refers to it."""

    service_id: Key | UnsetType = UNSET
    region_id: str | UnsetType | None = UNSET
    resource_name: Name | UnsetType = UNSET
    default_limit: Amount | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class UpdateRegisteredLimit(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /v3/registered_limits/{id}."""

    registered_limit: RegisteredLimitChanges


def _document(request: Request, one: RegisteredLimit) -> Document:
    return {
        "id": one.id,
        "service_id": one.service_id,
        "region_id": one.region_id,
        "resource_name": one.resource_name,
        "default_limit": one.default_limit,
        "description": one.description,
        "links": self_link(request, "registered_limits", one.id),
    }


async def check_place(request: Request, db: Reader, service_id: str, region_id: str | None) -> None:
    """Invalid unless the service and the region are there."""
    if all(one.id != service_id for one in await all_services(request, db)):
        raise Invalid(f"There is no service {service_id}.", field="service_id")
    if region_id is not None and await REGIONS.get(db, region_id) is None:
        raise Invalid(f"There is no region {region_id}.", field="region_id")


async def list_registered_limits(request: Request) -> Document:
    """GET /v3/registered_limits."""
    conditions = [Condition(column=name, value=value or None) for name, value in wanted(request, FILTERS).items()]
    rows = await list_rows(request.cloud.db, REGISTERED_LIMITS, Listing(conditions=conditions, sort=[("created_at", "asc")]))
    return collection(request, "registered_limits", [_document(request, row) for row in rows])


FILTERS = ("service_id", "region_id", "resource_name")


async def _find(request: Request, db: Reader) -> RegisteredLimit:
    key = request.params["registered_limit_id"]
    return found(await REGISTERED_LIMITS.get(db, key), "registered limit", key)


async def show_registered_limit(request: Request) -> Document:
    """GET /v3/registered_limits/{registered_limit_id}."""
    return {"registered_limit": _document(request, await _find(request, request.cloud.db))}


async def _demand_free(tx: Transaction, service_id: str, region_id: str | None, name: str) -> None:
    if await registered(tx, service_id, region_id, name) is not None:
        raise Conflict(f"Conflict occurred attempting to store registered_limit - {name} of this service and region is there already.")


async def create_registered_limits(request: Request) -> Document:
    """POST /v3/registered_limits: all of them, or none."""
    body: CreateRegisteredLimits = request.body

    async def work(tx: Transaction) -> list[RegisteredLimit]:
        made: list[RegisteredLimit] = []
        for one in body.registered_limits:
            await check_place(request, tx, one.service_id, one.region_id)
            await _demand_free(tx, one.service_id, one.region_id, one.resource_name)
            made.append(await REGISTERED_LIMITS.insert(tx, RegisteredLimit(**fresh(), **changes(one))))
        return made

    return {"registered_limits": [_document(request, one) for one in await write(request, work)]}


async def update_registered_limit(request: Request) -> Document:
    """PATCH /v3/registered_limits/{registered_limit_id}: not while a project's or domain's limit refers to it."""
    sent = changes(request.body.registered_limit)

    async def work(tx: Transaction) -> RegisteredLimit:
        one = await _unused(request, tx)
        service_id, region_id = sent.get("service_id", one.service_id), sent.get("region_id", one.region_id)
        name = sent.get("resource_name", one.resource_name)
        if (service_id, region_id, name) != (one.service_id, one.region_id, one.resource_name):
            await check_place(request, tx, service_id, region_id)
            await _demand_free(tx, service_id, region_id, name)
        return await REGISTERED_LIMITS.update(tx, one, **sent)

    return {"registered_limit": _document(request, await write(request, work))}


async def _unused(request: Request, tx: Transaction) -> RegisteredLimit:
    one = await _find(request, tx)
    if await in_use(tx, one.id):
        raise Forbidden(f"Unable to update or delete registered limit {one.id}: there are limits of projects or domains that refer to it.")
    return one


async def remove_registered_limit(request: Request) -> None:
    """DELETE /v3/registered_limits/{registered_limit_id}: not while a limit refers to it."""

    async def work(tx: Transaction) -> None:
        await REGISTERED_LIMITS.delete(tx, (await _unused(request, tx)).id)

    await write(request, work)
