"""Import of what this cloud has already: glance-download takes another image's content, copy-image puts an image into more stores.

Content lies once for all images that have it, and there is one store: neither moves a byte. Each leaves a task, as every import does.
"""

import re

from pileus.api.image import content, files
from pileus.api.policy import require
from pileus.api.request import Request
from pileus.model.errors import Conflict, Invalid, NotFound, PileusError
from pileus.model.images import Image, ImageStatus, ImageTask
from pileus.store import image_tasks, images
from pileus.store.database import Transaction

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
INTERFACES = ("public", "internal", "admin")
TAKEN_OVER = ("hw_", "trait:", "os_distro", "os_secure_boot", "os_type")
"""Beginnings of the names of properties that come with the content, as Glance has them by default."""
IMPORTING, FAILED = "os_glance_importing_to_stores", "os_glance_failed_import"


async def copy_image(request: Request, image: Image, task: ImageTask) -> None:
    """copy-image: every store that can be named has the content already; says so as Glance does."""
    require(request, "copy_image")
    if image.status != ImageStatus.ACTIVE:
        raise Conflict("Only images with status active can be targeted for copying")

    async def note(tx: Transaction) -> None:
        current = await images.IMAGES.get(tx, image.id)
        if current is None:
            raise NotFound(f"No image found with ID {image.id}", kind="Image", id=image.id)
        await images.save(tx, current, properties={**current.properties, IMPORTING: "", FAILED: ""})
        await image_tasks.start_task(tx, task)
        await image_tasks.end_task(tx, task.id)

    await request.cloud.db.write(note)


async def glance_download(request: Request, image: Image, task: ImageTask) -> None:
    """glance-download from this region. What is wrong with the other image is not told at once but by the task, as Glance does."""
    method = request.body.method
    if not UUID.fullmatch(method.glance_image_id or ""):
        raise Invalid("glance_image_id: the image id does not look like a UUID.", field="glance_image_id")
    if image.status != ImageStatus.QUEUED:
        raise Conflict(f"Image {image.id} has status {image.status}; only one that waits for content can be filled.")

    async def begin(tx: Transaction) -> ImageTask:
        return await image_tasks.start_task(tx, task)

    await request.cloud.db.write(begin)
    message = "The import was broken off; the image waits for content again."
    try:
        await _take_over(request, image, method.glance_region, method.glance_service_interface or "public")
        message = ""
    except PileusError as error:
        message = error.message
    finally:

        async def end(tx: Transaction) -> None:
            await image_tasks.end_task(tx, task.id, message)

        await request.cloud.db.write(end)


async def _take_over(request: Request, image: Image, region: str | None, interface: str) -> None:
    cloud, key = request.cloud, request.body.method.glance_image_id
    if region not in (None, cloud.config.region) or interface not in INTERFACES:
        raise NotFound(f"There is no image service in region {region!r} by interface {interface!r}; there is one in {cloud.config.region}.")
    source = await images.visible(cloud.db, key, request.identity)
    if source is None or source.content is None or source.status != ImageStatus.ACTIVE:
        raise NotFound(f"No image with content found with ID {key}", kind="Image", id=key)
    require(request, "download_image")
    upload = await content.begin(cloud, image, ImageStatus.IMPORTING)

    async def finish(tx: Transaction) -> Image | None:
        now = await images.IMAGES.get(tx, source.id)
        if now is None or now.content != source.content:
            raise NotFound(f"No image with content found with ID {key}", kind="Image", id=key)
        kept = {name: value for name, value in source.properties.items() if name.startswith(TAKEN_OVER)}
        return await images.end_upload(
            tx, image.id, upload, status=ImageStatus.ACTIVE, size=source.size, virtual_size=source.virtual_size, checksum=source.checksum,
            os_hash_algo=source.os_hash_algo, os_hash_value=source.os_hash_value, content=source.content, disk_format=source.disk_format,
            container_format=source.container_format, properties={**image.properties, **kept},
        )  # fmt: skip

    done = False
    try:
        async with files.naming(cloud.images):  # so that the content is not freed between look and write
            done = await cloud.db.write(finish) is not None
    finally:
        if not done:
            await content.requeue(cloud, image.id, upload)
    if not done:
        raise NotFound(f"Image {image.id} was deleted during its import.")
