"""Import of what this cloud has already: glance-download takes another image's content, copy-image puts an image into more stores.

Within a store content lies once for all images that have it, so that glance-download moves bytes only for a store that lacks them.
Each leaves a task, as every import does.
"""

import re

from pileus.api.image import content, files, placing, signatures, store_copies, stores
from pileus.api.image.placing import Targets
from pileus.api.policy import require
from pileus.api.request import Request
from pileus.model.errors import Conflict, Invalid, NotFound, PileusError
from pileus.model.image_stores import FAILED, IMPORTING
from pileus.model.images import Image, ImageStatus, ImageTask
from pileus.store import image_tasks, images
from pileus.store.database import Transaction

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
INTERFACES = ("public", "internal", "admin")
TAKEN_OVER = ("hw_", "trait:", "os_distro", "os_secure_boot", "os_type")
"""Beginnings of the names of properties that come with the content, as Glance has them by default."""


async def copy_image(request: Request, image: Image, task: ImageTask, targets: Targets) -> None:
    """copy-image: begin to copy into the stores that have it not. Conflict for an image without content, or one that is being copied."""
    require(request, "copy_image")
    if image.status != ImageStatus.ACTIVE:
        raise Conflict("Only images with status active can be targeted for copying")

    async def note(tx: Transaction) -> list[str]:
        current = await images.IMAGES.get(tx, image.id)
        if current is None:
            raise NotFound(f"No image found with ID {image.id}", kind="Image", id=image.id)
        if current.properties.get(IMPORTING):
            raise Conflict(f"Image {image.id} is being copied into other stores already; wait until that has ended.")
        missing = [name for name in targets.stores if name not in current.stores]
        await images.save(tx, current, properties={**current.properties, IMPORTING: ",".join(missing), FAILED: ""})
        await image_tasks.start_task(tx, task)
        if not missing:
            await image_tasks.end_task(tx, task.id)
        return missing

    if missing := await request.cloud.db.write(note):
        store_copies.begin(request.cloud, task, Targets(tuple(missing), targets.all_must_succeed))


async def glance_download(request: Request, image: Image, task: ImageTask, targets: Targets) -> None:
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
        source = await _source(request, method.glance_region, method.glance_service_interface or "public")
        await _take_over(request, image, source, targets)
        message = ""
    except PileusError as error:
        message = error.message
    except OSError as error:
        message = files.storage_error(error).message
    finally:

        async def end(tx: Transaction) -> None:
            await image_tasks.end_task(tx, task.id, message)

        await request.cloud.db.write(end)


async def _source(request: Request, region: str | None, interface: str) -> Image:
    cloud, key = request.cloud, request.body.method.glance_image_id
    if region not in (None, cloud.config.region) or interface not in INTERFACES:
        raise NotFound(f"There is no image service in region {region!r} by interface {interface!r}; there is one in {cloud.config.region}.")
    source = await images.visible(cloud.db, key, request.identity)
    if source is None or source.content is None or source.status != ImageStatus.ACTIVE:
        raise NotFound(f"No image with content found with ID {key}", kind="Image", id=key)
    require(request, "download_image")
    return source


async def _take_over(request: Request, image: Image, source: Image, targets: Targets) -> None:
    cloud = request.cloud
    upload = await content.begin(cloud, image, ImageStatus.IMPORTING)
    there = [name for name in targets.stores if name in source.stores]
    lacking = Targets(tuple(name for name in targets.stores if name not in there), targets.all_must_succeed and not there)
    path = stores.find(cloud, source)
    placed = placing.Placing(cloud, path or cloud.images, content.digest_of(source), f"{image.id}.{upload}")

    async def finish(tx: Transaction) -> Image | None:
        now = await images.IMAGES.get(tx, source.id)
        if now is None or now.content != source.content or not set(there) <= set(now.stores):
            raise NotFound(f"No image with content found with ID {source.id}", kind="Image", id=source.id)
        kept = {name: value for name, value in source.properties.items() if name.startswith(TAKEN_OVER)}
        return await images.end_upload(
            tx, image.id, upload, status=ImageStatus.ACTIVE, size=source.size, virtual_size=source.virtual_size, checksum=source.checksum,
            os_hash_algo=source.os_hash_algo, os_hash_value=source.os_hash_value, content=source.content, disk_format=source.disk_format,
            container_format=source.container_format, properties={**image.properties, **kept}, stores=[*there, *placed.ready],
            flaw=source.flaw, locations=[],
        )  # fmt: skip

    done = False
    try:
        if path is None:
            raise NotFound(f"The content of image {source.id} is missing, or damaged; nothing can be made of it.")
        if signatures.claimed(image.properties):
            found, _ = await content.apart(files.read_through, path)
            await content.apart(signatures.verify, cloud.images, image.properties, path, found)
        await content.apart(placed.spread, lacking)
        async with files.naming(cloud.images):  # so that the content is not freed between look and write
            await content.apart(placed.install)
            done = await cloud.db.write(finish) is not None
    finally:
        placed.discard()
        if not done:
            await content.requeue(cloud, image.id, upload)
            if placed.ready and source.content:
                await files.release(cloud.db, cloud.image_stores, source.content)
    if not done:
        raise NotFound(f"Image {image.id} was deleted during its import.")
