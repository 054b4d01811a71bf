"""Invariants of images: contents, checksums, writes that are under way, indexes, imports."""

import re

from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.repairs import IndexImage, RemoveContent
from pileus.core.verify.world import World
from pileus.model.image_stores import LOCAL
from pileus.model.images import Image, ImageStatus

WITH_CONTENT = (ImageStatus.ACTIVE, ImageStatus.DEACTIVATED)
WAITING = (ImageStatus.QUEUED, ImageStatus.SAVING, ImageStatus.UPLOADING, ImageStatus.IMPORTING)
WRITING = (ImageStatus.SAVING, ImageStatus.IMPORTING)
HEX = re.compile(r"[0-9a-f]*")
DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}


def images_have_content(world: World) -> Findings:
    """An active image's content lies there in full."""
    for image in world.images:
        if image.content is None:
            continue
        for store in image.stores:
            size = world.image_files.get((store, image.content))
            where = "" if store == LOCAL else f" in store {store}"
            if size is None:
                way = "copy it there again (import, copy-image)" if len(image.stores) > 1 else "upload it again into another image"
                yield Finding(evidence=f"image {image.id}: its content {image.content[:12]} is missing{where}; {way}")
            elif size != (image.size or 0):
                yield Finding(evidence=f"image {image.id}: its content has {size} bytes{where}, the record says {image.size}")


def contents_have_images(world: World) -> Findings:
    """No content is left of images that are gone, or that have left its store."""
    known = {(store, image.content) for image in world.images for store in image.stores}
    for store, content in sorted(world.image_files):
        if (store, content) not in known:
            where = "" if store == LOCAL else f" in store {store}"
            yield Finding(evidence=f"content {content[:12]}{where} belongs to no image", repair=RemoveContent(content=content, store=store))


def active_images_are_described(world: World) -> Findings:
    """Of an image that can be used it is known what is in it, unless it stays in the web, and nobody writes it."""
    for image in world.images:
        if image.locations and image.content is None and image.upload is None:
            continue
        missing = [name for name in ("content", "size", "checksum", "os_hash_value") if getattr(image, name) is None]
        if image.status in WITH_CONTENT and (missing or image.upload is not None):
            yield Finding(evidence=f"image {image.id} is {image.status}, and {f'has no {missing[0]}' if missing else 'is being written'}")


def waiting_images_have_no_content(world: World) -> Findings:
    """What is not there yet has no content."""
    for image in world.images:
        if image.status in WAITING and image.content is not None:
            yield Finding(evidence=f"image {image.id} is {image.status}, and has content {image.content[:12]} already")


def contents_lie_in_stores(world: World) -> Findings:
    """A content lies in a store, and what lies in a store has a name there."""
    for image in world.images:
        if (image.content is None) != (not image.stores):
            where = ", ".join(image.stores) or "none"
            yield Finding(evidence=f"image {image.id} has the content {(image.content or 'none')[:12]}, and lies in the stores: {where}")


def writes_are_named(world: World) -> Findings:
    """An image that is being filled says by which write: only that one may end it."""
    for image in world.images:
        if image.status in WRITING and image.upload is None:
            yield Finding(evidence=f"image {image.id} is {image.status}, and nobody writes it; delete it, or restart the control plane")


def hashes_are_well_formed(world: World) -> Findings:
    """Checksums could be those of something."""
    for image in world.images:
        wanted = [(image.checksum, 32), (image.content, 64), (image.os_hash_value, DIGITS.get(image.os_hash_algo or "", 128))]
        for value, digits in wanted:
            if value is not None and (len(value) != digits or not HEX.fullmatch(value)):
                yield Finding(evidence=f"image {image.id} has {value[:16]} where {digits} hexadecimal digits should be")


def equal_contents_agree(world: World) -> Findings:
    """The same content has the same checksum, and the same hash by each algorithm, whatever image it is in."""
    checksums: dict[str, Image] = {}
    hashes: dict[tuple[str, str | None], Image] = {}
    for image in world.images:
        if image.content is None:
            continue
        first = checksums.setdefault(image.content, image)
        same = hashes.setdefault((image.content, image.os_hash_algo), image)
        if first.checksum != image.checksum or same.os_hash_value != image.os_hash_value:
            yield Finding(evidence=f"images {first.id} and {image.id} have the same content and different checksums")
        elif image.os_hash_algo == "sha256" and image.os_hash_value != image.content:
            yield Finding(evidence=f"image {image.id} has the content {image.content[:12]}, and says that its SHA-256 is another")


def images_are_indexed(world: World) -> Findings:
    """What a filter by tags or properties finds is what the rows say."""
    tags: dict[str, set[str]] = {}
    for image_id, tag in world.image_tags:
        tags.setdefault(image_id, set()).add(tag)
    properties: dict[str, dict[str, str]] = {}
    for image_id, name, value in world.image_properties:
        properties.setdefault(image_id, {})[name] = value
    for image in world.images:
        if set(image.tags) != tags.get(image.id, set()) or image.properties != properties.get(image.id, {}):
            yield Finding(
                evidence=f"the index of tags and properties of image {image.id} says otherwise than its row",
                repair=IndexImage(image_id=image.id),
            )


def imports_end(world: World) -> Findings:
    """An import that has ended is forgotten some time; one that has not ended has an image."""
    known = {one.id for one in world.images}
    for task in world.image_tasks:
        ended = task.status in ("success", "failure")
        if ended != (task.expires_at is not None):
            yield Finding(evidence=f"import {task.id} of image {task.image_id} is {task.status}, and expires at {task.expires_at}")
        elif not ended and task.image_id not in known:
            yield Finding(evidence=f"import {task.id} is {task.status}, and its image {task.image_id} is gone; restart the control plane")


INVARIANTS = invariants(
    (images_have_content, "An active image's content is there in full."),
    (contents_have_images, "Every content belongs to an image."),
    (active_images_are_described, "An active image that lies here has a content, a size and checksums, and nobody writes it."),
    (waiting_images_have_no_content, "An image that waits for content has none."),
    (contents_lie_in_stores, "An image has content when it lies in a store, and only then."),
    (writes_are_named, "An image that is being written says by whom."),
    (hashes_are_well_formed, "Every checksum has its digits."),
    (equal_contents_agree, "Images of the same content have the same checksums."),
    (images_are_indexed, "The index of images says what the images say."),
    (imports_end, "An import that has not ended has an image, one that has ended expires."),
    repairable=(contents_have_images, images_are_indexed),
)
