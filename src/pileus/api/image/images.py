"""Images: create, show, change by JSON patch, delete."""

import uuid
from datetime import UTC, datetime
from typing import Any

from pileus import clock
from pileus.api.image import files, location_patches, stores, writers
from pileus.api.image.content import free, within_quota
from pileus.api.policy import require
from pileus.api.request import Request, Response
from pileus.core.images import accept, check_mix, parse_patch, patched
from pileus.model.errors import Forbidden, NotFound, QuotaExceeded, TooLarge
from pileus.model.images import Image, ImageStatus, Visibility
from pileus.store import images as store
from pileus.store.database import Transaction
from pileus.store.quotas import charge

OLD_PATCH = "application/openstack-images-v2.0-json-patch"
NEW_PATCH = "application/openstack-images-v2.1-json-patch"
IMPORT_METHODS = ("glance-direct", "web-download", "glance-download", "copy-image")


def isotime(seconds: float) -> str:
    """2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def view(request: Request, image: Image) -> dict[str, Any]:
    """The image as the API shows it; its properties stand beside its attributes. Locations are its owner's to see: an address may hold a
    secret."""
    config = request.cloud.config
    path = f"/v2/images/{image.id}"
    shown = {
        **image.properties,
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": image.os_hidden,
        "owner": image.owner,
        "container_format": image.container_format,
        "disk_format": image.disk_format,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "checksum": image.checksum,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "tags": image.tags,
        "created_at": isotime(image.created_at),
        "updated_at": isotime(image.updated_at),
        "self": path,
        "file": f"{path}/file",
        "schema": "/v2/schemas/image",
    }
    if there := stores.shown(config, image):
        shown["stores"] = ",".join(there)
    if config.image.show_multiple_locations and (request.identity.is_admin or image.owner == request.identity.project_id):
        shown["locations"] = [{"url": one.url, "metadata": one.metadata} for one in stores.locations(config, image)]
    return shown


async def load(request: Request) -> Image:
    """The image of the path, when the caller may see it."""
    image_id = request.params["image_id"]
    image = await store.visible(request.cloud.db, image_id, request.identity)
    if image is None:
        raise NotFound(f"No image found with ID {image_id}", kind="Image", id=image_id)
    if await writers.reclaim(request.cloud, [image]):
        return await load(request)
    return image


async def load_own(request: Request) -> Image:
    """The image of the path, when the caller may change it: its project's, or any for an admin. Forbidden when it can only be seen."""
    image = await load(request)
    if not request.identity.is_admin and image.owner != request.identity.project_id:
        raise Forbidden("You are not permitted to modify this image: it belongs to another project.", id=image.id)
    return image


async def create(request: Request) -> Response:
    """POST /v2/images: an image that waits for its content."""
    image = drafted(request, request.body)
    await add(request, image)
    headers = {
        "Location": f"{request.service_url}/v2/images/{image.id}",
        "OpenStack-image-import-methods": ",".join(IMPORT_METHODS),
        "OpenStack-image-store-ids": ",".join(stores.names(request.cloud.config)),
    }
    return Response(201, view(request, image), headers)


def drafted(request: Request, attributes: dict[str, Any]) -> Image:
    """A new image of the attributes that were asked for, when the caller may have it so."""
    columns = accept(attributes)
    check_mix(columns.get("disk_format"), columns.get("container_format"))
    owner = columns.pop("owner", request.identity.project_id)
    if owner != request.identity.project_id and not request.identity.is_admin:
        raise Forbidden(f"You are not permitted to create images owned by '{owner}'.")
    _may_show(request, columns.get("visibility"))
    now = clock.now()
    return Image(id=columns.pop("id", None) or str(uuid.uuid4()), created_at=now, updated_at=now, owner=owner, **columns)


async def add(request: Request, image: Image) -> None:
    """Keep a new image; TooLarge when its owner may have no more."""

    async def insert(tx: Transaction) -> Image:
        return await store.insert(tx, image)

    try:
        await request.cloud.db.write(insert)
    except QuotaExceeded as error:
        raise TooLarge(error.message, **error.data) from error


async def show(request: Request) -> dict[str, Any]:
    """GET /v2/images/{image_id}."""
    return view(request, await load(request))


async def update(request: Request) -> dict[str, Any]:
    """PATCH /v2/images/{image_id}."""
    old_form = request.headers["content-type"].partition(";")[0].strip().lower() == OLD_PATCH
    operations = parse_patch(request.body, old_form)
    image = await load_own(request)
    placed = [one for one in operations if one.name == "locations" and request.cloud.config.image.show_multiple_locations]
    changes = patched(image, [one for one in operations if one not in placed])
    if placed:
        changes |= await location_patches.changes(request, image, placed)
    if changes.get("owner", image.owner) != image.owner and not request.identity.is_admin:
        raise Forbidden("You are not permitted to modify 'owner' on this image.")
    if changes.get("visibility", image.visibility) != image.visibility:
        _may_show(request, changes["visibility"])
    if not changes:
        return view(request, image)

    async def write(tx: Transaction) -> Image:
        if changes.get("status") == ImageStatus.ACTIVE and image.owner is not None:
            await charge(tx, image.owner, image_size_total=-(-changes["size"] // store.MIB))
        return await store.save(tx, image, **changes)

    changed = await within_quota(request.cloud.db.write(write))
    if image.content and set(changed.stores) != set(image.stores):
        await files.release(request.cloud.db, request.cloud.image_stores, image.content)
    return view(request, changed)


async def delete(request: Request) -> Response:
    """DELETE /v2/images/{image_id}: the row first, then the content that no other image has."""
    image = await load_own(request)

    async def remove(tx: Transaction) -> Image | None:
        current = await store.IMAGES.get(tx, image.id)
        if current and current.protected:
            raise Forbidden(f"Image {image.id} is protected and cannot be deleted.", id=image.id)
        await store.remove(tx, image.id)
        return current

    removed = await request.cloud.db.write(remove)
    if removed is None:
        raise NotFound(f"No image found with ID {image.id}", kind="Image", id=image.id)
    await free(request.cloud, removed)
    return Response(204)


def _may_show(request: Request, visibility: Visibility | None) -> None:
    if visibility == Visibility.PUBLIC:
        require(request, "publicize_image")
    elif visibility == Visibility.COMMUNITY:
        require(request, "communitize_image")
