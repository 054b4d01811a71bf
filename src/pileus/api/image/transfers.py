"""Upload, download, staging and import of an image's content, as routes."""

from pileus.api.image import content, files
from pileus.api.image.images import load, load_own
from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid, NotImplementedYet
from pileus.model.images import ImageStatus
from pileus.store import images as store
from pileus.store.database import Transaction


class ImportMethod(Model, frozen=True, kw_only=True):
    """How the content comes: glance-direct takes what was staged."""

    name: str
    uri: str | None = None


class ImportBody(Model, frozen=True, kw_only=True):
    """Body of POST /v2/images/{image_id}/import."""

    method: ImportMethod
    stores: list[str] | None = None
    all_stores: bool = False
    all_stores_must_succeed: bool = True


async def upload(request: Request) -> Response:
    """PUT /v2/images/{image_id}/file."""
    await _receive(request, ImageStatus.SAVING, staged=False)
    return Response(204)


async def stage(request: Request) -> Response:
    """PUT /v2/images/{image_id}/stage: content that waits for its import."""
    await _receive(request, ImageStatus.UPLOADING, staged=True)
    return Response(204)


async def _receive(request: Request, status: ImageStatus, staged: bool) -> None:
    content.check_octets(request)
    image = await load_own(request)
    if image.status != ImageStatus.QUEUED:
        raise Conflict(f"Image status transition from {image.status} to {status} is not allowed")
    content.check_formats(image)
    await content.take_in(request, image, status, staged)


async def download(request: Request) -> Response:
    """GET /v2/images/{image_id}/file."""
    return content.give_out(request, await load(request))


async def import_image(request: Request) -> Response:
    """POST /v2/images/{image_id}/import: what was staged becomes the content; checked before the answer, so that a refusal is told."""
    body: ImportBody = request.body
    image = await load_own(request)
    if body.method.name in ("web-download", "copy-image", "glance-download"):
        raise NotImplementedYet(f"Import method {body.method.name} is not done yet; use glance-direct, or upload to the image's file.")
    if body.method.name != "glance-direct":
        raise Invalid(f"Unknown import method name '{body.method.name}'.")
    if image.status != ImageStatus.UPLOADING or image.upload:
        raise Conflict(f"Image {image.id} has status {image.status}; only staged content can be imported (PUT .../stage).")
    staged = request.cloud.images / files.STAGED / image.id
    try:
        await content.ingest_file(request.cloud, image.id, staged)
    finally:
        staged.unlink(missing_ok=True)
    return Response(202)


async def deactivate(request: Request) -> Response:
    """POST /v2/images/{image_id}/actions/deactivate: nobody but an admin downloads it from now on."""
    return await _turn(request, ImageStatus.DEACTIVATED)


async def reactivate(request: Request) -> Response:
    """POST /v2/images/{image_id}/actions/reactivate."""
    return await _turn(request, ImageStatus.ACTIVE)


async def _turn(request: Request, status: ImageStatus) -> Response:
    image = await load_own(request)
    if image.status not in (ImageStatus.ACTIVE, ImageStatus.DEACTIVATED):
        word = "deactivate" if status == ImageStatus.DEACTIVATED else "reactivate"
        raise Forbidden(f"Not allowed to {word} image in status '{image.status}'")

    async def write(tx: Transaction) -> None:
        if image.status != status:
            await store.save(tx, image, status=status)

    await request.cloud.db.write(write)
    return Response(204)
