"""Content that is staged in parts: what has come stays when a connection breaks, and the client goes on from there.

`PUT .../stage` with `Content-Range: bytes FIRST-LAST/TOTAL` appends to what is there, which must end at FIRST; `HEAD .../stage` says where
that is (`Upload-Offset`). The part that brings the last byte makes the content complete, and it waits for its import like any other;
where a crash came between, an empty part (`bytes */TOTAL`) does it.
Until then it lies in `.staged/ID.part`, through restarts of the control plane as well. Deleting the image removes it.
"""

import asyncio
import os
import re
import secrets
from pathlib import Path

from pileus.api.image import content, files, sparse
from pileus.api.image.images import load_own
from pileus.api.request import Request, Response
from pileus.model.errors import Conflict, Gone, Invalid, NotFound, TooLarge
from pileus.model.images import Image, ImageStatus
from pileus.store import images as store
from pileus.store.database import Transaction

RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})")


class _Part:
    """Bytes that go to the end of a file. Each method blocks."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.offset = os.fstat(self._file).st_size

    def write(self, data: bytes) -> None:
        sparse.write(self._file, data, self.offset)
        self.offset += len(data)
        os.ftruncate(self._file, self.offset)

    def finish(self) -> int:
        """Make it durable; how much there is now."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1
        return self.offset


async def show(request: Request) -> Response:
    """GET and HEAD /v2/images/{image_id}/stage: how much of the content is there."""
    image = await load_own(request)
    offset, complete = _staged(request.cloud.images, image)
    if image.status != ImageStatus.UPLOADING:
        raise NotFound(f"Nothing is staged for image {image.id}: it has status {image.status}.", id=image.id)
    return Response(200, {"offset": offset, "complete": complete, "writing": image.upload is not None}, _headers(offset, complete))


async def receive(request: Request, image: Image) -> Response:
    """PUT /v2/images/{image_id}/stage with a Content-Range: the next part."""
    first, last, total = _range(request.headers["content-range"], request.cloud.config.image_size_limit)
    length = request.headers.get("content-length")
    if length is not None and length != str(last - first + 1):
        raise Invalid(f"The part has {length} bytes by its Content-Length, {last - first + 1} by its Content-Range.")
    offset, complete = _staged(request.cloud.images, image)
    if image.status != ImageStatus.QUEUED and (image.status != ImageStatus.UPLOADING or complete):
        raise Conflict(f"Image status transition from {image.status} to {ImageStatus.UPLOADING} is not allowed")
    if image.upload:
        raise Conflict(f"Another part of image {image.id} is being written. Ask where it ends (HEAD) and go on from there.")
    if first != offset:
        raise Conflict(f"{offset} bytes of image {image.id} are there; go on from there.", headers=_headers(offset, False))
    upload = await _claim(request, image, total)
    async with content.held(request.cloud, image.id, upload):
        offset = await _append(request, image, upload, last - first + 1)
    complete = offset == total
    if complete:
        await _complete(request, image)
    return Response(204, None, _headers(offset, complete))


async def _claim(request: Request, image: Image, total: int) -> str:
    upload = secrets.token_hex(8)

    async def claim(tx: Transaction) -> Image:
        if image.status == ImageStatus.QUEUED:
            return await store.begin_parts(tx, image, upload, total)
        return await store.continue_upload(tx, image.id, upload)

    await content.within_quota(request.cloud.db.write(claim))
    return upload


async def _append(request: Request, image: Image, upload: str, length: int) -> int:
    """What comes is kept, however it ends."""
    part: _Part | None = None
    try:
        part = await asyncio.to_thread(_Part, part_of(request.cloud.images, image.id))
        expected = part.offset + length
        offset = await files.fill(part, request.stream(), length)
        if offset != expected:
            raise Invalid(
                f"The part ended after {length - expected + offset} of {length} bytes. Ask where it ends (HEAD) and go on from there."
            )
        return offset
    except OSError as error:
        raise files.storage_error(error) from error
    finally:
        if part:
            await asyncio.shield(asyncio.to_thread(part.finish))
        await request.cloud.db.write(lambda tx: store.end_part(tx, image.id, upload))


async def _complete(request: Request, image: Image) -> None:
    """Under its final name, unless the image was deleted meanwhile."""
    part = part_of(request.cloud.images, image.id)
    try:
        await asyncio.to_thread(part.replace, part.with_name(image.id))
    except FileNotFoundError as error:
        raise Gone(f"Image {image.id} was deleted during its upload.") from error
    await asyncio.to_thread(files.sync_directory, part.parent)
    if await store.IMAGES.get(request.cloud.db, image.id) is None:
        part.with_name(image.id).unlink(missing_ok=True)
        raise Gone(f"Image {image.id} was deleted during its upload.")


def part_of(directory: Path, image_id: str) -> Path:
    """Where the parts that have come lie."""
    return directory / files.STAGED / f"{image_id}{files.PART}"


def _staged(directory: Path, image: Image) -> tuple[int, bool]:
    """How many bytes are there, and whether these are all."""
    part = part_of(directory, image.id)
    for path, complete in ((part, False), (part.with_name(image.id), True)):
        try:
            return path.stat().st_size, complete
        except FileNotFoundError:
            continue
    return 0, False


def _headers(offset: int, complete: bool) -> dict[str, str]:
    return {"Upload-Offset": str(offset), "Upload-Complete": "?1" if complete else "?0"}


def _range(text: str, limit: int) -> tuple[int, int, int]:
    """First and last byte, and how many there are in all; of `bytes */TOTAL`, which only ends, the last byte comes before the first."""
    found = RANGE.fullmatch(text.strip())
    total = int(found[3]) if found else 0
    first, last = (int(found[1]), int(found[2])) if found and found[1] else (total, total - 1)
    if not total or not first <= last + 1 <= total or (found and found[1] and last < first):
        raise Invalid(f"Content-Range {text[:100]!r} is not of the form bytes FIRST-LAST/TOTAL, or bytes */TOTAL.")
    if total > limit:
        raise TooLarge(f"The image has {total} bytes; at most {limit} are accepted.")
    return first, last, total
