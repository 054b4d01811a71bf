"""The metadata of a server, item by item."""

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta

from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound, QuotaExceeded
from pileus.store import quotas, servers
from pileus.store.database import Transaction


class AllItems(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST and PUT /servers/{server_id}/metadata."""

    metadata: fields.Metadata


class OneItem(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /servers/{server_id}/metadata/{key}."""

    meta: Annotated[fields.Metadata, Meta(min_length=1, max_length=1)]


async def index(request: Request) -> dict[str, Any]:
    """GET metadata."""
    fields.check_queries(request, {}, (2, 102))
    return {"metadata": (await resource.visible(request, request.cloud.db)).metadata}


async def show(request: Request) -> dict[str, Any]:
    """GET metadata/{key}."""
    fields.check_queries(request, {}, (2, 102))
    server = await resource.visible(request, request.cloud.db)
    key = request.params["key"]
    if key not in server.metadata:
        raise NotFound("Metadata item was not found")
    return {"meta": {key: server.metadata[key]}}


async def create(request: Request) -> dict[str, Any]:
    """POST metadata: add or replace some."""
    return {"metadata": await _change(request, lambda items: items | request.body.metadata)}


async def update_all(request: Request) -> dict[str, Any]:
    """PUT metadata: replace all."""
    return {"metadata": await _change(request, lambda items: request.body.metadata)}


async def update(request: Request) -> dict[str, Any]:
    """PUT metadata/{key}."""
    if request.params["key"] not in request.body.meta:
        raise Invalid("Request body and URI mismatch")
    await _change(request, lambda items: items | request.body.meta)
    return {"meta": request.body.meta}


async def delete(request: Request) -> None:
    """DELETE metadata/{key}."""
    key = request.params["key"]

    def without(items: dict[str, str]) -> dict[str, str]:
        if key not in items:
            raise NotFound("Metadata item was not found")
        return {name: value for name, value in items.items() if name != key}

    await _change(request, without)


async def _change(request: Request, change: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, str]:
    async def work(tx: Transaction) -> dict[str, str]:
        server = await resource.unlocked(request, tx)
        items = change(server.metadata)
        limit = await quotas.limit(tx, server.project_id, "metadata_items")
        if 0 <= limit < len(items):
            raise QuotaExceeded(f"Maximum number of metadata items exceeds {limit}")
        await servers.save(tx, server, metadata=items)
        return items

    items = await request.cloud.db.write(work)
    request.cloud.wake("servers", request.params["server_id"])
    return items
