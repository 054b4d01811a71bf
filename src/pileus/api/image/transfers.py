"""Upload, download and staging of an image's content, as routes."""

from pileus.api.image import content, parts, web_contents
from pileus.api.image.cache import cache_of
from pileus.api.image.images import load, load_own
from pileus.api.request import Request, Response
from pileus.model.errors import Conflict, Forbidden
from pileus.model.images import ImageStatus
from pileus.store import images as store
from pileus.store.database import Transaction

WITH_CONTENT = (ImageStatus.ACTIVE, ImageStatus.DEACTIVATED)


async def upload(request: Request) -> Response:
    """PUT /v2/images/{image_id}/file."""
    await _receive(request, ImageStatus.SAVING, staged=False)
    return Response(204)


async def stage(request: Request) -> Response:
    """PUT /v2/images/{image_id}/stage: content that waits for its import, in parts where the request has a Content-Range."""
    if "content-range" in request.headers:
        content.check_octets(request)
        image = await load_own(request)
        content.check_formats(image)
        return await parts.receive(request, image)
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
    image = await load(request)
    answer = content.give_out(request, image)
    if image.content is None and image.locations and image.status in WITH_CONTENT:
        answer = await web_contents.give_out(request.cloud, image)
    cache_of(request.cloud.images).used(image.id)
    return answer


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
