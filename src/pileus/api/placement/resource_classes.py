"""Resource classes."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.api.placement.answers import answer, path
from pileus.api.request import Request, Response
from pileus.core.traits import is_custom
from pileus.model.errors import Conflict, Invalid
from pileus.store import placement_names


class NamedClass(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a new class, or (before 1.7) of a new name."""

    name: Annotated[str, Meta(pattern="^CUSTOM_[A-Z0-9_]+$", max_length=255)]


def document(request: Request, name: str) -> dict[str, Any]:
    """A class as it is shown."""
    return {"name": name, "links": [{"rel": "self", "href": path(request, "resource_classes", name)}]}


async def list_classes(request: Request) -> Response:
    """All of them."""
    known = await placement_names.all_resource_classes(request.cloud.db)
    times = [when for when in known.values() if when is not None]
    return answer(request, {"resource_classes": [document(request, name) for name in known]}, max(times, default=None))


async def create_class(request: Request) -> Response:
    """Make one."""
    name = request.body.name
    if not await request.cloud.db.write(lambda tx: placement_names.add_resource_class(tx, name)):
        raise Conflict(f"Conflicting resource class already exists: {name}")
    return _created(request, name, 201)


async def show_class(request: Request) -> Response:
    """One."""
    name = request.params["name"]
    when = await placement_names.resource_class_time(request.cloud.db, name)
    return answer(request, document(request, name), when)


async def put_class(request: Request) -> Response:
    """Make sure that there is such a class."""
    name = request.params["name"]
    if not is_custom(name):
        raise Invalid(f"JSON does not validate: '{name}' does not match '^CUSTOM_[A-Z0-9_]+$'", field="name")
    fresh = await request.cloud.db.write(lambda tx: placement_names.add_resource_class(tx, name))
    return _created(request, name, 201 if fresh else 204)


def _created(request: Request, name: str, status: int) -> Response:
    return Response(status, None, {"Location": f"{request.base_url}{path(request, 'resource_classes', name)}"})


async def rename_class(request: Request) -> Response:
    """Give one another name (before 1.7)."""
    name, new = request.params["name"], request.body.name
    await request.cloud.db.write(lambda tx: placement_names.rename_resource_class(tx, name, new))
    return answer(request, document(request, new))


async def remove_class(request: Request) -> None:
    """Remove one that is not in use."""
    await request.cloud.db.write(lambda tx: placement_names.remove_resource_class(tx, request.params["name"]))
