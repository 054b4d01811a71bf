"""The tags of a server."""

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound
from pileus.store import servers
from pileus.store.database import Transaction

MOST = 50


class Tags(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /servers/{server_id}/tags."""

    tags: Annotated[list[fields.Tag], Meta(max_length=MOST)]


async def index(request: Request) -> dict[str, Any]:
    """GET tags."""
    fields.check_queries(request, {}, (2, 102))
    return {"tags": (await resource.visible(request, request.cloud.db)).tags}


async def show(request: Request) -> None:
    """GET tags/{tag}: 204 when the server has it."""
    fields.check_queries(request, {}, (2, 102))
    server = await resource.visible(request, request.cloud.db)
    if request.params["tag"] not in server.tags:
        raise NotFound(f"Server {server.id} has no tag '{request.params['tag']}'")


async def update(request: Request) -> Response:
    """PUT tags/{tag}: 201 when it is new, 204 when the server had it."""
    tag = request.params["tag"]
    try:
        msgspec.convert(tag, fields.Tag)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"Tag '{tag}' is invalid. It must be a non empty string without characters '/' and ','. Maximum length is 60."
        ) from error
    before = await _change(request, lambda tags: tags | {tag})
    if tag in before:
        return Response(204)
    server = f"{fields.version_url(request)}/servers/{request.params['server_id']}"
    return Response(201, None, {"Location": f"{server}/tags/{quote(tag, safe='')}"})


async def update_all(request: Request) -> dict[str, Any]:
    """PUT tags: replace all."""
    wanted = set(request.body.tags)
    await _change(request, lambda tags: wanted)
    return {"tags": sorted(wanted)}


async def delete(request: Request) -> None:
    """DELETE tags/{tag}."""
    tag = request.params["tag"]

    def without(tags: set[str]) -> set[str]:
        if tag not in tags:
            raise NotFound(f"Server {request.params['server_id']} has no tag '{tag}'")
        return tags - {tag}

    await _change(request, without)


async def delete_all(request: Request) -> None:
    """DELETE tags."""
    await _change(request, lambda tags: set())


async def _change(request: Request, change: Callable[[set[str]], set[str]]) -> list[str]:
    async def work(tx: Transaction) -> list[str]:
        server = await resource.visible(request, tx)
        tags = change(set(server.tags))
        if len(tags) > MOST:
            raise Invalid(f"The number of tags exceeded the per-server limit {MOST}")
        await servers.save(tx, server, tags=sorted(tags))
        return server.tags

    return await request.cloud.db.write(work)
