"""Locations by PATCH, where the operator shows them: each new address is looked at, by the rules of web-download, before it is kept."""

from typing import Any

from pileus.api.image import signatures, stores, web_contents
from pileus.api.image.content import check_formats
from pileus.api.policy import require
from pileus.api.request import Request
from pileus.core.image_locations import Locations
from pileus.core.images import Operation
from pileus.model.errors import Conflict
from pileus.model.images import Image, ImageStatus


async def changes(request: Request, image: Image, operations: list[Operation]) -> dict[str, Any]:
    """The columns that change. An image that waits becomes active with its first location: what lies there is looked at by nobody before
    somebody downloads it, or copies it into a store."""
    if any(one.op == "remove" for one in operations):
        require(request, "delete_image_location")
    if any(one.op != "remove" for one in operations):
        require(request, "set_image_location")
    wanted = Locations(image, stores.locations(request.cloud.config, image))
    for one in operations:
        wanted.apply(one)
    left = wanted.stores()
    found: dict[str, Any] = {"stores": left, "locations": wanted.addresses(), **wanted.hashes}
    if not left:
        found["content"] = None
    if wanted.added:
        found |= await _active(request, image, wanted.added)
    return found


async def _active(request: Request, image: Image, added: list[str]) -> dict[str, Any]:
    check_formats(image)
    signatures.refuse_elsewhere(image.properties)
    size = image.size
    for uri in added:
        length = await web_contents.length(request.cloud, uri)
        if size not in (None, length):
            raise Conflict(f"What lies at {uri} has {length} bytes, the image {size}: it can't be the same content.")
        size = length
    return {"size": size, **({"status": ImageStatus.ACTIVE} if image.status == ImageStatus.QUEUED else {})}
