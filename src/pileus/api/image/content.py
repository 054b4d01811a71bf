"""An image's content: taken in as a stream, given out as a stream, whole or in part."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pileus.api.cloud import Cloud
from pileus.api.image import containers, files, placing, signatures, stores, unpacking, writers
from pileus.api.image.files import Intake
from pileus.api.image.placing import Targets
from pileus.api.image.unpacking import Taken
from pileus.api.request import Request, Response
from pileus.core.image_formats import check
from pileus.model.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    PileusError,
    QuotaExceeded,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from pileus.model.images import Image, ImageStatus
from pileus.store import contents
from pileus.store import images as store
from pileus.store.contents import Content
from pileus.store.database import Transaction

T = TypeVar("T")
OCTETS = "application/octet-stream"
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
READ = 1 << 20
HERE = Targets()


async def take_in(request: Request, image: Image, status: ImageStatus, staged: bool) -> None:
    """Read the request's body into the image: straight to active, in the store that it names, or to the staging area until it is imported.

    Whatever goes wrong, the image waits for content again and no file remains.
    """
    targets = None if staged else Targets((stores.one(request),))
    limit = request.cloud.config.image_size_limit
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > limit):
        raise TooLarge(f"The image has {length} bytes; at most {limit} are accepted.")
    upload = await begin(request.cloud, image, status)
    async with held(request.cloud, image.id, upload):
        await _take_in(request, image, upload, limit, targets)


@asynccontextmanager
async def held(cloud: Cloud, image_id: str, upload: str) -> AsyncIterator[None]:
    """The write's lock. Where the disk does not take that, nothing is written, and the image waits again."""
    try:
        with writers.writing(cloud.images, image_id, upload):
            yield
    except OSError as error:
        await requeue(cloud, image_id, upload)
        raise files.storage_error(error) from error


async def _take_in(request: Request, image: Image, upload: str, limit: int, targets: Targets | None) -> None:
    intake: Intake | None = None
    done = False
    directory = request.cloud.image_stores[targets.stores[0]] if targets else request.cloud.images
    try:
        intake = await asyncio.to_thread(Intake, directory / files.UPLOADS / f"{image.id}.{upload}")
        found = await files.fill(intake, request.stream(), limit)
        if targets is None:
            await _stage(request.cloud, image, upload, intake.path, found.size)
        else:
            await activate(request.cloud, image, upload, Taken(intake.path, found, intake.inspector, {}), targets)
        done = True
    except OSError as error:
        raise files.storage_error(error) from error
    finally:
        if intake:
            await asyncio.to_thread(intake.discard)
        if not done:
            await requeue(request.cloud, image.id, upload)


async def begin(cloud: Cloud, image: Image, status: ImageStatus) -> str:
    """Claim the image for one write; returns the write's name."""
    upload = secrets.token_hex(8)

    async def claim(tx: Transaction) -> Image:
        return await store.begin_upload(tx, image, upload, status)

    await within_quota(cloud.db.write(claim))
    return upload


async def within_quota(work: Awaitable[T]) -> T:
    """TooLarge, as Glance has it, when the owner may have no more."""
    try:
        return await work
    except QuotaExceeded as error:
        raise TooLarge(error.message, **error.data) from error


async def requeue(cloud: Cloud, image_id: str, upload: str, status: ImageStatus = ImageStatus.QUEUED) -> None:
    """The write has failed: the image waits for content again, unless it is gone or someone else's."""

    async def back(tx: Transaction) -> Image | None:
        return await store.end_upload(tx, image_id, upload, status=status)

    await cloud.db.write(back)


async def activate(cloud: Cloud, image: Image, upload: str, taken: Taken, targets: Targets = HERE) -> Image:
    """Check a finished file and make it the image's content, in the stores that are asked for.

    Invalid when it is not what the image's formats say, Gone when the image was deleted meanwhile.
    """
    if (taken.changes.get("container_format") or image.container_format) == "docker":
        check(taken.inspector.sample(), image.disk_format or "raw", "docker")
        taken = await apart(containers.inspected, taken, image, pool=files.unpackers)
    found, changes = taken.digest, taken.changes
    assert found  # whoever unpacks has counted
    await apart(signatures.verify, cloud.images, changes.get("properties", image.properties), taken.path, found)
    disk_format, container_format = (changes.get(name, getattr(image, name)) for name in ("disk_format", "container_format"))
    virtual_size, flaw = _judged(cloud, taken, disk_format or "raw", container_format or "bare")
    placed = placing.Placing(cloud, taken.path, found, f"{image.id}.{upload}")

    async def finish(tx: Transaction) -> Image | None:
        return await store.end_upload(
            tx, image.id, upload, status=ImageStatus.ACTIVE, size=found.size, virtual_size=virtual_size, checksum=found.md5,
            content=found.sha256, stores=list(placed.ready), locations=[], flaw=flaw,
            **{"os_hash_algo": "sha512", "os_hash_value": found.sha512, **changes},
        )  # fmt: skip

    active: Image | None = None
    try:
        await apart(placed.spread, targets)
        async with files.naming(cloud.images):
            await asyncio.to_thread(placed.install)
            active = await within_quota(cloud.db.write(finish))
    finally:
        await asyncio.to_thread(placed.discard)
        if active is None:
            await files.release(cloud.db, cloud.image_stores, found.sha256)
    if active is None:
        raise Gone(f"Image {image.id} could not be found after upload. The image may have been deleted during the upload.")
    return active


def _judged(cloud: Cloud, taken: Taken, disk_format: str, container_format: str) -> tuple[int | None, str | None]:
    """The virtual size. What is not what it is said to be is refused; or, by the operator's will, taken with its flaw noted."""
    try:
        return check(taken.inspector.sample(), disk_format, container_format), None
    except Invalid as error:
        if cloud.config.image.require_format_match:
            raise
        return None, error.message


async def _stage(cloud: Cloud, image: Image, upload: str, path: Path, size: int) -> None:
    target = cloud.images / files.STAGED / image.id
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def finish(tx: Transaction) -> Image | None:
        return await store.end_upload(tx, image.id, upload, staged=size)

    await asyncio.to_thread(path.replace, target)
    try:
        ended = await within_quota(cloud.db.write(finish))
    except TooLarge:
        target.unlink(missing_ok=True)
        raise
    if ended is None:
        target.unlink(missing_ok=True)
        raise Gone(f"Image {image.id} could not be found after upload. The image may have been deleted during the upload.")


async def ingest_file(cloud: Cloud, image_id: str, path: Path) -> Image:
    """Take a finished file of this machine in as the image's content, and remove the file; an active image is left as it is.

    NotFound when there is no such image, Conflict when another write is under way, Invalid when the content is not what the image says.
    """
    image = await store.IMAGES.get(cloud.db, image_id)
    if image is None:
        raise NotFound(f"No image found with ID {image_id}", kind="Image", id=image_id)
    if image.status == ImageStatus.ACTIVE:  # an earlier run died after its work
        await asyncio.to_thread(path.unlink, missing_ok=True)
        return image
    if image.status not in (ImageStatus.QUEUED, ImageStatus.SAVING):
        raise Conflict(f"Image status transition from {image.status} to saving is not allowed")
    upload = await begin(cloud, image, ImageStatus.SAVING)
    async with held(cloud, image.id, upload):
        image = await _ingest(cloud, image, upload, path, HERE, False)
    await asyncio.to_thread(path.unlink, missing_ok=True)
    return image


async def ingest(cloud: Cloud, image: Image, upload: str, path: Path, targets: Targets) -> Image:
    """The same of what was staged, made ready for servers, by a write that has begun."""
    async with held(cloud, image.id, upload):
        return await _ingest(cloud, image, upload, path, targets, True)


async def _ingest(cloud: Cloud, image: Image, upload: str, path: Path, targets: Targets, unpack: bool) -> Image:
    temporary = cloud.images / files.UPLOADS / f"{image.id}.{upload}"
    done = False
    try:
        if unpack:
            taken = Taken(temporary, None, await asyncio.to_thread(files.look_through, path), {})
        else:
            taken = Taken(temporary, *await asyncio.to_thread(files.read_through, path), {})
        await asyncio.to_thread(files.link_or_copy, path, temporary)
        active = await activate(cloud, image, upload, await unpacked(cloud, image, taken) if unpack else taken, targets)
        done = True
    except OSError as error:
        raise files.storage_error(error) from error
    finally:
        temporary.unlink(missing_ok=True)
        unpacking.remove(temporary)
        if not done:
            await requeue(cloud, image.id, upload)
    return active


async def unpacked(cloud: Cloud, image: Image, taken: Taken) -> Taken:
    """What was imported, ready for servers. What is made on the way, `unpacking.remove` takes away."""
    wanted = (taken, image, cloud.config.image_import_format, cloud.config.image_size_limit)
    return await apart(unpacking.prepared, *wanted, pool=files.unpackers)


async def apart(work: Callable[..., T], *arguments: Any, pool: ThreadPoolExecutor | None = None) -> T:
    """In a thread, to its end whatever becomes of who asked: nothing is taken away under a thread."""
    wanted = asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
    try:
        return await asyncio.shield(wanted)
    finally:
        await asyncio.wait([wanted])


def digest_of(image: Image) -> files.Digest:
    """What is known of an image's content that lies in a store."""
    return files.Digest(size=image.size or 0, sha256=image.content or "", sha512="", md5=image.checksum or "")


async def free(cloud: Cloud, removed: Image) -> None:
    """After an image's row is gone: remove its files, but for content that another image has."""
    for name in (removed.id, f"{removed.id}{files.PART}"):
        (cloud.images / files.STAGED / name).unlink(missing_ok=True)
    if removed.content:
        await files.release(cloud.db, cloud.image_stores, removed.content)


def check_octets(request: Request) -> None:
    """UnsupportedMediaType unless the body is said to be plain bytes."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != OCTETS:
        raise UnsupportedMediaType(f"Unsupported Content-Type {kind or '(none)'}; use {OCTETS}.")


def check_formats(image: Image) -> None:
    """Content is taken only when it is said what it is to be."""
    missing = [name for name in ("disk_format", "container_format") if getattr(image, name) is None]
    if missing:
        raise Invalid(f"Properties {', '.join(missing)} must be set prior to saving data.")


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and length of a Range header; None when all is asked for (also by several ranges, as RFC 9110 allows)."""
    found = RANGE.fullmatch(header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return None
    first = int(found[1]) if found[1] else max(0, size - int(found[2]))
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if found[1] and found[2] and int(found[2]) < int(found[1]):
        return None
    if first >= size or (not found[1] and int(found[2]) == 0):
        raise PileusError("The requested range lies outside the image.", status=416, headers={"Content-Range": f"bytes */{size}"})
    return first, last - first + 1


def give_out(request: Request, image: Image) -> Response:
    """The content as a stream, with its checksum; part of it where the request has a Range."""
    if image.status == ImageStatus.DEACTIVATED and not request.identity.is_admin:
        raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
    if image.content is None or image.size is None:
        return Response(204)
    path = stores.find(request.cloud, image)
    if path is None:
        other = stores.anywhere(request.cloud, image.content)
        state = "is missing from the store" if other is None else f"is damaged: {stores.size_of(other)} of {image.size} bytes are there"
        raise Unavailable(f"The content of image {image.id} {state}. Upload it again.")
    contents.check(path, partial(stores.seal, request.cloud))
    headers: dict[str, Any] = {"Content-Type": OCTETS, "Accept-Ranges": "bytes", "ETag": f'"{image.content}"'}
    part = span(request.headers.get("range"), image.size)
    if part is None:
        headers |= {"Content-Length": str(image.size), "Content-MD5": image.checksum or ""}
        return Response(200, read(request.cloud, path, 0, image.size), headers)
    first, length = part
    headers |= {"Content-Length": str(length), "Content-Range": f"bytes {first}-{first + length - 1}/{image.size}"}
    return Response(206, read(request.cloud, path, first, length), headers)


async def read(cloud: Cloud, path: Path, offset: int, length: int) -> AsyncIterator[bytes]:
    """Plain bytes of a content's file, a block at a time; one is read while the one before it is sent. What is damaged breaks it off."""
    content = await asyncio.to_thread(contents.opened, path, partial(stores.seal, cloud))
    reading: asyncio.Future[bytes] | None = None
    try:
        end = offset + length
        while offset < end:
            reading = reading or asyncio.ensure_future(asyncio.to_thread(content.read, min(READ, end - offset), offset))
            data = await asyncio.shield(reading)
            reading = None
            if not data:
                return
            offset += len(data)
            if offset < end:
                reading = asyncio.ensure_future(asyncio.to_thread(content.read, min(READ, end - offset), offset))
            yield data
    finally:
        _close(content, reading)


def _close(content: Content, reading: asyncio.Future[bytes] | None) -> None:
    """Not under a thread that reads: another file might get the number."""

    def close(done: asyncio.Future[bytes]) -> None:
        content.close()
        if not done.cancelled():
            done.exception()  # nobody wants it any more

    if reading is None:
        content.close()
    else:
        reading.add_done_callback(close)
