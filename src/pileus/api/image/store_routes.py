"""The stores as routes: which there are, and an image's leaving one of them. Images come into a store by upload or import."""

from typing import Any

from pileus.api.cloud import Cloud
from pileus.api.image import files, stores
from pileus.api.image.images import load
from pileus.api.request import Request, Response
from pileus.model.errors import Conflict, Forbidden, NotFound
from pileus.model.image_stores import WEB
from pileus.model.images import Image, ImageStatus
from pileus.store import images as store
from pileus.store.database import Transaction


async def index(request: Request) -> dict[str, Any]:
    """GET /v2/info/stores."""
    return {"stores": stores.entries(request.cloud.config, detail=False)}


async def detail(request: Request) -> dict[str, Any]:
    """GET /v2/info/stores/detail: with where they lie."""
    return {"stores": stores.entries(request.cloud.config, detail=True)}


async def take_out(request: Request) -> Response:
    """DELETE /v2/stores/{store}/{image_id}: the image is in that store no more; its content goes when no other needs it."""
    image, name = await load(request), request.params["store"]
    config = request.cloud.config
    if name not in request.cloud.image_stores and not (name == WEB and config.image.web_store):
        raise Conflict(f"The selected store {name[:80]} is not available; there are {', '.join(stores.names(config))}.")
    if image.status != ImageStatus.ACTIVE:
        raise Conflict("It's not allowed to remove image data from store if image status is not 'active'")
    if name not in stores.shown(config, image):
        raise NotFound(f"Image {image.id} is not stored in store {name}.", kind="Image", id=image.id)
    if len(image.stores) + len(image.locations) == 1:
        raise Forbidden("Cannot delete image data from the only store containing it. Consider deleting the image instead.")
    await leave(request.cloud, image, name)
    return Response(204)


async def leave(cloud: Cloud, image: Image, name: str) -> Image:
    """Take an image out of a store: the row first, then the file, where no image has it there."""
    gone: dict[str, Any] = {"locations": image.locations[1:]} if name == WEB else {"stores": [one for one in image.stores if one != name]}
    if gone.get("stores") == []:
        gone["content"] = None  # what is left lies in the web

    async def write(tx: Transaction) -> Image:
        return await store.save(tx, image, **gone)

    changed = await cloud.db.write(write)
    if name != WEB and image.content:
        await files.release(cloud.db, cloud.image_stores, image.content)
    return changed
