"""Tags of any resource: /v2.0/{resource}/{id}/tags."""

from typing import Any

from pileus.api.network.handlers import check_revision, write
from pileus.api.network.kinds import Call, Kind, owns
from pileus.api.network.validators import InvalidValue, listed, tag
from pileus.api.request import Request, Response
from pileus.api.routes import Route, route
from pileus.model.errors import Invalid, NotFound
from pileus.store.database import Transaction
from pileus.store.tables import ResourceTable

LONGEST = 50


async def save_tags(tx: Transaction, id: str, tags: list[str]) -> None:
    """Keep a resource's tags where filters look for them."""
    await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", id)
    if tags:
        await tx.many("INSERT INTO network_tags (resource_id, tag) VALUES (?, ?)", [(id, one) for one in tags])


def tag_routes(kind: Kind) -> list[Route]:
    """The routes of one kind's tags."""
    path = f"/v2.0/{kind.path}/{{id}}/tags"

    async def index(request: Request) -> dict[str, Any]:
        row = await kind.load(request, request.cloud.db, request.params["id"])
        return {"tags": row.tags}

    async def replace(request: Request) -> dict[str, Any]:
        wanted = _parse(request.raw.get("tags") if isinstance(request.raw, dict) else None)
        return {"tags": await _change(request, kind, lambda have: wanted)}

    async def clear(request: Request) -> Response:
        await _change(request, kind, lambda have: [])
        return Response(204)

    async def show(request: Request) -> Response:
        row = await kind.load(request, request.cloud.db, request.params["id"])
        _check_there(row.tags, request.params["tag"])
        return Response(204)

    async def add(request: Request) -> Response:
        name = _parse([request.params["tag"]])[0]
        await _change(request, kind, lambda have: have if name in have else [*have, name])
        return Response(201)

    async def remove(request: Request) -> Response:
        name = request.params["tag"]

        def without(have: list[str]) -> list[str]:
            _check_there(have, name)
            return [one for one in have if one != name]

        await _change(request, kind, without)
        return Response(204)

    read, change = f"get_{kind.name}s_tags", f"update_{kind.name}s_tags"
    return [
        route("GET", path, index, read),
        route("PUT", path, replace, change),
        route("DELETE", path, clear, change),
        route("GET", f"{path}/{{tag}}", show, read),
        route("PUT", f"{path}/{{tag}}", add, change, success=201),
        route("DELETE", f"{path}/{{tag}}", remove, change),
    ]


def _parse(value: Any) -> list[str]:
    try:
        if value is None:
            raise InvalidValue("Invalid tags body")
        tags = listed(tag)(value)
    except InvalidValue as error:
        raise Invalid(f"Invalid input for tags. Reason: {error}.", field="tags") from error
    if len(tags) > LONGEST:
        raise Invalid(f"The number of tags exceed the per-resource limit of {LONGEST}")
    return tags


def _check_there(tags: list[str], name: str) -> None:
    if name not in tags:
        raise NotFound(f"Tag {name} could not be found.", type="TagNotFound")


async def _change(request: Request, kind: Kind, change: Any) -> list[str]:
    async def work(call: Call) -> list[str]:
        row = await kind.load(request, call.tx, request.params["id"])
        if not owns(request, row):
            raise kind.not_found(row.id)
        check_revision(request, row.generation)
        tags = sorted(change(row.tags))
        assert isinstance(kind.table, ResourceTable)
        await kind.table.update(call.tx, row, tags=tags)
        await save_tags(call.tx, row.id, tags)
        return tags

    return await write(request, work)
