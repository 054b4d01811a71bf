"""Locations, as far as policy allows: content at an address that a user names is fetched and kept here; nobody reads it from there later.

Where our own files lie is told to services alone.
"""

from typing import Any

from pileus.api.image import imports, signatures, stores
from pileus.api.image.images import load, load_own
from pileus.api.image.placing import Targets
from pileus.api.request import Request, Response
from pileus.core.images import check_digest
from pileus.model.base import Model
from pileus.model.errors import Conflict
from pileus.model.image_stores import WEB
from pileus.model.images import ImageStatus
from pileus.store import contents


class ValidationData(Model, frozen=True, kw_only=True):
    """The hash that the content must have."""

    os_hash_algo: str | None = None
    os_hash_value: str | None = None


class LocationBody(Model, frozen=True, kw_only=True):
    """Body of POST /v2/images/{image_id}/locations."""

    url: str
    validation_data: ValidationData = ValidationData()


async def add(request: Request) -> Response:
    """POST /v2/images/{image_id}/locations: fetches what lies there, checks its hash, and keeps it."""
    body: LocationBody = request.body
    image = await load_own(request)
    expected = check_digest(body.validation_data.os_hash_algo, body.validation_data.os_hash_value)
    if image.status != ImageStatus.QUEUED:
        raise Conflict(f"Image {image.id} has status {image.status}; only one that waits for content takes a location.")
    stays = request.cloud.config.image.web_store
    targets = Targets((WEB,)) if stays else Targets()
    if stays:
        signatures.refuse_elsewhere(image.properties)
    await imports.fetch(request, image, imports.Wanted(body.url, expected, unpack=False, targets=targets, stays=stays))
    return Response(202)


async def index(request: Request) -> Response:
    """GET /v2/images/{image_id}/locations."""
    image = await load(request)
    found: list[dict[str, Any]] = []
    for name in stores.shown(request.cloud.config, image):
        if name == WEB:
            found += [{"url": one.url, "metadata": {**one.metadata, "store": WEB}} for one in image.locations]
        elif image.content and name in request.cloud.image_stores:
            path = request.cloud.image_stores[name] / image.content
            plain = not contents.is_encrypted(path)  # else nobody could make anything of the file
            found.append({"url": path.absolute().as_uri() if plain else f"pileus://{name}/{image.content}", "metadata": {"store": name}})
    return Response(200, found)
