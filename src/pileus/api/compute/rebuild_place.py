"""Whether a server may have another image where it is: a rebuild must not get around what a placement would have asked of the host."""

from typing import Any

import msgspec

from pileus import clock
from pileus.api.compute.server_images import remembered
from pileus.api.request import Request
from pileus.core.placement_filters import CAPACITY, tests_of
from pileus.core.placement_request import request_of
from pileus.model.errors import Invalid
from pileus.model.images import Image
from pileus.model.placement import PlacementRequest
from pileus.model.servers import Server
from pileus.store import aggregates
from pileus.store.host_views import hosts_of

GIB = 1 << 30


async def check_place(request: Request, server: Server, image: Image) -> None:
    """Invalid when the new image asks something of the host that the old one did not, and the host does not meet it.

    What the server takes of its host was claimed for the image that it came from: a larger one, where the flavor leaves the disk's size
    to the image, would take more than was claimed.
    """
    if server.host is None or image.id == server.image_id:
        return
    before, after = _wanted(server), _wanted(msgspec.structs.replace(server, image_id=image.id, image=remembered(image)))
    if after.resources.get("DISK_GB", 0) > before.resources.get("DISK_GB", 0):
        raise Invalid("The image is larger than the server's disk, which the flavor leaves to the image.", field="imageRef")
    known = {test.key for test in tests_of(before)}
    new = [test for test in tests_of(after) if test.key not in known and test.filter != CAPACITY]
    if not new:
        return
    db, config = request.cloud.db, request.cloud.config
    metadata = {one.id: one.metadata for one in await aggregates.every(db)}
    view = (await hosts_of(db, clock.now(), config.node_silence, metadata)).by_name.get(server.host)
    refused = next((test for test in new if test.refusal(view.state)), None) if view else None
    if refused:
        raise Invalid(f"No valid host was found: the server's host does not suit the image ({refused.text}).", field="imageRef")


def _wanted(server: Server) -> PlacementRequest:
    properties: dict[str, Any] = server.image.get("properties") or {}
    size = int(server.image.get("virtual_size") or server.image.get("size") or 0)
    return request_of(msgspec.structs.replace(server, hints={}), properties, root_gib=-(-size // GIB))
