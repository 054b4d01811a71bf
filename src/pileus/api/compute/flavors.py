"""Flavors: list, show, manage, extra specs, access."""

import uuid
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from pileus import clock
from pileus.api.compute.fields import (
    Amount,
    Count,
    Flag,
    Name,
    check_queries,
    flag,
    links,
    next_link,
    page_limit,
    query_flag,
    query_integer,
)
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.flavors import Flavor
from pileus.store import flavors
from pileus.store.listing import Condition, Listing

FlavorId = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?! )[a-zA-Z0-9. _-]+(?<! )\Z")] | int | float | None
LongText = Annotated[str, Meta(max_length=65535)]
Factor = Annotated[float, Meta(gt=0)] | Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?\Z")]
SORT = {
    "flavorid": "id", "id": "id", "name": "name", "memory_mb": "ram", "vcpus": "vcpus", "root_gb": "disk", "ephemeral_gb": "ephemeral",
    "swap": "swap", "created_at": "created_at", "updated_at": "updated_at", "is_public": "is_public", "disabled": "disabled",
    "rxtx_factor": "rxtx_factor",
    "description": "description", "vcpu_weight": "vcpus",
}  # fmt: skip
QUERIES = dict.fromkeys(["limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir"], (2, 1)) | {"name": (2, 102)}
MAX_SPEC = 255


class NewFlavor(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a flavor is made of; without an id it gets one."""

    name: Name
    ram: Count
    vcpus: Count
    disk: Amount
    id: FlavorId = None
    ephemeral: Amount = msgspec.field(name="OS-FLV-EXT-DATA:ephemeral", default=0)
    swap: Amount = 0
    is_public: Flag = msgspec.field(name="os-flavor-access:is_public", default=True)
    description: LongText | None = None


class CreateFlavor(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /flavors."""

    flavor: NewFlavor


class DescribedFlavor(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed of a flavor."""

    description: LongText | None


class UpdateFlavor(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /flavors/{id}."""

    flavor: DescribedFlavor


class Tenant(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project."""

    tenant: Annotated[str, Meta(min_length=1, max_length=255)]


class AddAccess(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action addTenantAccess."""

    tenant: Tenant = msgspec.field(name="addTenantAccess")


class RemoveAccess(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action removeTenantAccess."""

    tenant: Tenant = msgspec.field(name="removeTenantAccess")


SpecValue = Annotated[str, Meta(max_length=MAX_SPEC)] | int | float
Specs = dict[Annotated[str, Meta(pattern=r"^[a-zA-Z0-9-_:. ]{1,255}\Z")], SpecValue]


class CreateSpecs(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST os-extra_specs."""

    extra_specs: Specs


UpdateSpec = Annotated[Specs, Meta(min_length=1, max_length=1)]


def view(request: Request, flavor: Flavor) -> dict[str, Any]:
    """A flavor in the newest version's form."""
    request.notes.setdefault("flavors", {})[flavor.id] = flavor  # for versions that show what the newest does not
    return {
        "id": flavor.id,
        "name": flavor.name,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "swap": flavor.swap,
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral,
        "vcpus": flavor.vcpus,
        "os-flavor-access:is_public": flavor.is_public,
        "description": flavor.description,
        "extra_specs": dict(flavor.extra_specs),
        "links": links(request, "flavors", flavor.id),
    }


async def index(request: Request) -> dict[str, Any]:
    """GET /flavors."""
    found, more = await _page(request)
    short = [{"id": one.id, "name": one.name, "description": one.description, "links": links(request, "flavors", one.id)} for one in found]
    return _collection(request, "flavors", short, more)


async def detail(request: Request) -> dict[str, Any]:
    """GET /flavors/detail."""
    found, more = await _page(request)
    return _collection(request, "flavors/detail", [view(request, one) for one in found], more)


async def show(request: Request) -> dict[str, Any]:
    """GET /flavors/{flavor_id}."""
    check_queries(request, {}, (2, 102))
    return {"flavor": view(request, await visible(request, request.params["flavor_id"]))}


async def create(request: Request) -> dict[str, Any]:
    """POST /flavors."""
    new: NewFlavor = request.body.flavor
    now = clock.now()
    flavor = Flavor(
        id=str(uuid.uuid4()) if new.id is None else str(new.id),
        created_at=now,
        updated_at=now,
        name=new.name,
        ram=int(new.ram),
        vcpus=int(new.vcpus),
        disk=int(new.disk),
        ephemeral=int(new.ephemeral),
        swap=int(new.swap),
        rxtx_factor=_factor(request),
        is_public=flag(new.is_public),
        description=new.description,
    )
    await request.cloud.db.write(lambda tx: flavors.create(tx, flavor))
    return {"flavor": view(request, flavor)}


def _factor(request: Request) -> float:
    """The rxtx_factor, which requests below 2.102 may bring and which means nothing."""
    try:
        factor = float(msgspec.convert(request.notes.get("rxtx_factor", 1.0), Factor))
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid input for field/attribute rxtx_factor: {error}", field="rxtx_factor") from error
    if factor <= 0:
        raise Invalid("Invalid input for field/attribute rxtx_factor. It must be greater than 0.", field="rxtx_factor")
    return factor


async def update(request: Request) -> dict[str, Any]:
    """PUT /flavors/{flavor_id}: its description."""
    description = request.body.flavor.description
    changed = await request.cloud.db.write(lambda tx: flavors.change(tx, request.params["flavor_id"], description=description))
    return {"flavor": view(request, changed)}


async def delete(request: Request) -> None:
    """DELETE /flavors/{flavor_id}."""
    await request.cloud.db.write(lambda tx: flavors.remove(tx, request.params["flavor_id"]))


async def visible(request: Request, flavor_id: str) -> Flavor:
    """The flavor when the caller may use it."""
    admin = request.identity.is_admin
    return await flavors.get(request.cloud.db, flavor_id, None if admin else request.identity.project_id or "")


async def specs_index(request: Request) -> dict[str, Any]:
    """GET os-extra_specs."""
    check_queries(request, {}, (2, 102))
    return {"extra_specs": (await visible(request, request.params["flavor_id"])).extra_specs}


async def specs_show(request: Request) -> dict[str, Any]:
    """GET os-extra_specs/{key}."""
    check_queries(request, {}, (2, 102))
    flavor = await visible(request, request.params["flavor_id"])
    key = request.params["key"]
    if key not in flavor.extra_specs:
        raise NotFound(f"Flavor {flavor.id} has no extra specs with key {key}.")
    return {key: flavor.extra_specs[key]}


async def specs_create(request: Request) -> dict[str, Any]:
    """POST os-extra_specs: add or replace some."""
    added = {key: str(value) for key, value in request.body.extra_specs.items()}
    await _change_specs(request, lambda specs: specs | added)
    return {"extra_specs": added}


async def specs_update(request: Request) -> dict[str, Any]:
    """PUT os-extra_specs/{key}."""
    body = cast(dict[str, Any], request.body)
    key = request.params["key"]
    if key not in body:
        raise Invalid("Request body and URI mismatch")
    await _change_specs(request, lambda specs: specs | {key: str(body[key])})
    return {key: str(body[key])}


async def specs_delete(request: Request) -> None:
    """DELETE os-extra_specs/{key}."""
    key = request.params["key"]

    def without(specs: dict[str, str]) -> dict[str, str]:
        if key not in specs:
            raise NotFound(f"Flavor {request.params['flavor_id']} has no extra specs with key {key}.")
        return {name: value for name, value in specs.items() if name != key}

    await _change_specs(request, without)


async def access_index(request: Request) -> dict[str, Any]:
    """GET os-flavor-access."""
    check_queries(request, {}, (2, 102))
    flavor = await flavors.get(request.cloud.db, request.params["flavor_id"])
    if flavor.is_public:
        raise NotFound("Access list not available for public flavors.")
    return await _access(request, flavor.id)


async def access_add(request: Request) -> dict[str, Any]:
    """The action addTenantAccess."""
    flavor = await flavors.get(request.cloud.db, request.params["flavor_id"])
    if flavor.is_public:
        raise Conflict("Can not add access to a public flavor.")
    return await access_add_any(request)


async def access_add_any(request: Request) -> dict[str, Any]:
    """addTenantAccess as it was before 2.7: public flavors too."""
    flavor = await flavors.get(request.cloud.db, request.params["flavor_id"])
    await request.cloud.db.write(lambda tx: flavors.grant(tx, flavor.id, request.body.tenant.tenant))
    return await _access(request, flavor.id)


async def access_remove(request: Request) -> dict[str, Any]:
    """The action removeTenantAccess."""
    flavor = await flavors.get(request.cloud.db, request.params["flavor_id"])
    await request.cloud.db.write(lambda tx: flavors.revoke(tx, flavor.id, request.body.tenant.tenant))
    return await _access(request, flavor.id)


async def _access(request: Request, flavor_id: str) -> dict[str, Any]:
    projects = await flavors.projects_of(request.cloud.db, flavor_id)
    return {"flavor_access": [{"flavor_id": flavor_id, "tenant_id": project} for project in projects]}


async def _change_specs(request: Request, change: Any) -> None:
    async def work(tx: Any) -> None:
        flavor = await flavors.get(tx, request.params["flavor_id"])
        await flavors.change(tx, flavor.id, extra_specs=change(flavor.extra_specs))

    await request.cloud.db.write(work)


async def _page(request: Request) -> tuple[list[Flavor], bool]:
    check_queries(request, QUERIES, (2, 75))
    limit = page_limit(request)
    conditions = [
        Condition(column=column, operator="gte", value=query_integer(request, name))
        for name, column in (("minRam", "ram"), ("minDisk", "disk"))
        if name in request.query
    ]
    if "name" in request.query:
        conditions.append(Condition(column="name", value=request.query["name"]))
    where, args = _whose(request)
    keys = request.all_queries("sort_key") or ["flavorid"]
    directions = request.all_queries("sort_dir")
    if bad := [key for key in keys if key not in SORT]:
        raise Invalid(
            f"Invalid input for query parameters sort_key. Value: {bad[0]}. '{bad[0]}' is not one of {sorted(SORT)}", field="sort_key"
        )
    sort = [(SORT[key], directions[index] if index < len(directions) else "asc") for index, key in enumerate(keys)]
    listing = Listing(conditions=conditions, sort=sort, marker=request.query.get("marker"), limit=limit + 1, where=where, args=args)
    found = await flavors.find(request.cloud.db, listing)
    return found[:limit], len(found) > limit


def _whose(request: Request) -> tuple[str, list[Any]]:
    """Users see what they may use. An administrator sees public ones, those that are not (is_public=false), or all (is_public=none)."""
    if not request.identity.is_admin:
        return flavors.ACCESS, [request.identity.project_id or ""]
    text = request.query.get("is_public", "true")
    if text.lower() == "none":
        return "", []
    if query_flag(request, "is_public", True):
        return "flavors.is_public = 1", []
    return "flavors.is_public = 0", []


def _collection(request: Request, path: str, found: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"flavors": found}
    if more and found:
        document["flavors_links"] = next_link(request, path, found[-1]["id"])
    return document
