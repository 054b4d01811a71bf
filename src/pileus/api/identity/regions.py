"""Regions."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.documents import Document, changes, collection, duplicate, extras, found, fresh, merged, new_id, self_link, write
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.catalog import Region
from pileus.model.errors import Conflict, Forbidden, Invalid
from pileus.store.catalog import REGIONS
from pileus.store.database import Reader, Transaction
from pileus.store.policy_associations import forget_associations

KNOWN = ("description", "parent_region_id")


class NewRegion(Model, frozen=True, kw_only=True):
    """Attributes of a region; without an id it gets one."""

    id: Annotated[str, Meta(max_length=255)] | None = None
    description: str | UnsetType | None = UNSET
    parent_region_id: str | UnsetType | None = UNSET


class RegionBody(Model, frozen=True, kw_only=True):
    """POST and PUT /v3/regions, PATCH /v3/regions/{id}."""

    region: NewRegion


def _region(request: Request, region: Region) -> Document:
    return {
        **region.extra,
        "id": region.id,
        "description": region.description,
        "parent_region_id": region.parent_region_id,
        "links": self_link(request, "regions", region.id),
    }


async def list_regions(request: Request) -> Document:
    """GET /v3/regions."""
    rows = await REGIONS.find(request.cloud.db, "1 = 1 ORDER BY created_at, id")
    if "parent_region_id" in request.query:
        rows = [row for row in rows if (row.parent_region_id or "") == request.query["parent_region_id"]]
    return collection(request, "regions", [_region(request, row) for row in rows])


async def show_region(request: Request) -> Document:
    """GET /v3/regions/{region_id}."""
    key = request.params["region_id"]
    return {"region": _region(request, found(await REGIONS.get(request.cloud.db, key), "region", key))}


async def create_region(request: Request) -> Document:
    """POST /v3/regions, PUT /v3/regions/{region_id}."""
    body: NewRegion = request.body.region
    key = request.params.get("region_id") or body.id or new_id()
    if body.id not in (None, "", key):
        raise Invalid("The id in the body is not that in the path.", field="id")
    sent = {name: value for name, value in changes(body).items() if name != "id"}
    sent["description"] = sent.get("description") or ""
    region = Region(**fresh(key), **sent, extra=extras(request, "region", KNOWN))

    async def work(tx: Transaction) -> Region:
        if await REGIONS.get(tx, key) is not None:
            raise duplicate("region", key)
        await _check_parent(tx, region.parent_region_id, key)
        return await REGIONS.insert(tx, region)

    return {"region": _region(request, await write(request, work))}


async def _check_parent(db: Reader, parent_id: str | None, key: str) -> None:
    seen = {key}
    while parent_id:
        if parent_id in seen:
            raise Invalid("A region can't be below itself.", field="parent_region_id")
        seen.add(parent_id)
        parent_id = found(await REGIONS.get(db, parent_id), "region", parent_id).parent_region_id


async def update_region(request: Request) -> Document:
    """PATCH /v3/regions/{region_id}."""
    key = request.params["region_id"]
    sent = {name: value for name, value in changes(request.body.region).items() if name != "id"}

    async def work(tx: Transaction) -> Region:
        region = found(await REGIONS.get(tx, key), "region", key)
        await _check_parent(tx, sent.get("parent_region_id"), key)
        if "description" in sent:
            sent["description"] = sent["description"] or ""
        return await REGIONS.update(tx, region, **sent, extra=merged(region.extra, extras(request, "region", KNOWN)))

    return {"region": _region(request, await write(request, work))}


async def remove_region(request: Request) -> None:
    """DELETE /v3/regions/{region_id}: not while something is in it."""
    key = request.params["region_id"]

    async def work(tx: Transaction) -> None:
        found(await REGIONS.get(tx, key), "region", key)
        if key == request.cloud.config.region:
            raise Conflict(f"The region {key} is the one that this cloud serves; it can't be deleted.", status=403)
        used = "SELECT 1 FROM regions WHERE parent_region_id = ? UNION ALL SELECT 1 FROM catalog_endpoints WHERE region_id = ?"
        if await tx.value(used, key, key) is not None:
            raise Forbidden(f"Unable to delete region {key} because it or its child regions have associated endpoints.")
        await forget_associations(tx, "region_id", key)
        await REGIONS.delete(tx, key)

    await write(request, work)
