"""Tags of an image, one at a time."""

from pileus.api.image.images import load_own
from pileus.api.request import Request, Response
from pileus.core.images import limit_tags
from pileus.model.errors import Invalid, NotFound
from pileus.model.images import Image
from pileus.store import images as store
from pileus.store.database import Transaction


async def add(request: Request) -> Response:
    """PUT /v2/images/{image_id}/tags/{tag}."""
    image, tag = await load_own(request), request.params["tag"]
    if len(tag) > 255:
        raise Invalid("A tag has at most 255 characters.", field="tag")
    if tag not in image.tags:
        await _write(request, image, limit_tags([*image.tags, tag]))
    return Response(204)


async def remove(request: Request) -> Response:
    """DELETE /v2/images/{image_id}/tags/{tag}."""
    image, tag = await load_own(request), request.params["tag"]
    if tag not in image.tags:
        raise NotFound(f"Tag {tag} not found in image {image.id}.", kind="Tag", id=tag)
    await _write(request, image, [one for one in image.tags if one != tag])
    return Response(204)


async def _write(request: Request, image: Image, tags: list[str]) -> None:
    async def write(tx: Transaction) -> Image:
        return await store.save(tx, image, tags=tags)

    await request.cloud.db.write(write)
