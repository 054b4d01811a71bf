"""What the service says of itself: versions, schemas, import methods, usage."""

from typing import Any

from pileus.api.image.images import IMPORT_METHODS
from pileus.api.image.metadef_schemas import METADEF_SCHEMAS
from pileus.api.image.schemas import SCHEMAS
from pileus.api.request import Request, Response
from pileus.model.errors import NotFound
from pileus.store import quotas

CURRENT = "v2.17"
SUPPORTED = tuple(f"v2.{minor}" for minor in (16, 15, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))


def _versions(request: Request) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{request.service_url}/v2/"}]
    rest = [{"id": version, "status": "SUPPORTED", "links": links} for version in SUPPORTED]
    return {"versions": [{"id": CURRENT, "status": "CURRENT", "links": links}, *rest]}


async def choices(request: Request) -> Response:
    """GET /: the versions, as choices."""
    return Response(300, _versions(request))


async def versions(request: Request) -> dict[str, Any]:
    """GET /versions."""
    return _versions(request)


async def schema(request: Request) -> dict[str, Any]:
    """GET /v2/schemas/{name}."""
    name = request.params["name"]
    if name not in SCHEMAS:
        raise NotFound(f"There is no schema '{name}'; there are {', '.join(sorted(SCHEMAS))}.")
    return SCHEMAS[name]


async def metadef_schema(request: Request) -> dict[str, Any]:
    """GET /v2/schemas/metadefs/{name}."""
    name = request.params["name"]
    if name not in METADEF_SCHEMAS:
        raise NotFound(f"There is no schema 'metadefs/{name}'; there are {', '.join(METADEF_SCHEMAS)}.")
    return METADEF_SCHEMAS[name]


async def import_info(request: Request) -> dict[str, Any]:
    """GET /v2/info/import: how content may come besides a plain upload."""
    return {"import-methods": {"description": "Import methods available.", "type": "array", "value": list(IMPORT_METHODS)}}


async def usage_info(request: Request) -> dict[str, Any]:
    """GET /v2/info/usage: the project's limits and what it uses of them."""
    limits = await quotas.limits(request.cloud.db, request.project_id, "image")
    used = {name: await quotas.used(request.cloud.db, request.project_id, name) for name in limits}
    return {"usage": {name: {"limit": limit, "usage": used[name]} for name, limit in limits.items()}}
