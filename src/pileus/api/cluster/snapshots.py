"""Snapshots that hosts send: the copy of a disk becomes the content of the image that waits for it."""

from pileus import clock
from pileus.api.cluster.joining import authority_of
from pileus.api.image import content
from pileus.api.request import Request, Response
from pileus.model.errors import Conflict, Forbidden, NotFound
from pileus.model.images import ImageStatus
from pileus.store.images import IMAGES


async def receive(request: Request) -> Response:
    """PUT /cluster/v1/snapshots/{image_id}: for who shows an address that a manager has signed. Twice: the second changes nothing.

    The image is active afterwards, wherever the manager is that asked for the snapshot.
    """
    authority = authority_of(request)
    image_id = request.params["image_id"]
    if not authority.snapshot_allowed(image_id, request.query.get("until", ""), request.query.get("signature", ""), clock.now()):
        raise Forbidden("This address is not signed by this cloud, or is good no more.")
    image = await IMAGES.get(request.cloud.db, image_id)
    if image is None:
        raise NotFound(f"There is no image {image_id} that waits for this snapshot.")
    if image.status == ImageStatus.ACTIVE:
        async for _ in request.stream():
            pass  # the answer to an earlier attempt was lost
        return Response(204)
    if image.status not in (ImageStatus.QUEUED, ImageStatus.SAVING):  # saving: an earlier attempt, which this one takes over
        raise Conflict(f"Image status transition from {image.status} to {ImageStatus.SAVING} is not allowed")
    await content.take_in(request, image, ImageStatus.SAVING, staged=False)
    return Response(204)
