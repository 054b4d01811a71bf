"""Contents that stay at an address of the web: read from there whenever somebody asks, by the rules of web-download.

Of an image whose hash is known every reading is compared with it: the last block is held back until that is done, so that nobody takes
something else for the image. No server is made of one before it was copied into a store (import, copy-image).
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pileus.api.cloud import Cloud
from pileus.api.image import downloads, files
from pileus.api.request import Response
from pileus.core.image_formats import Inspector
from pileus.core.images import DIGESTS
from pileus.model.errors import Invalid, PileusError, TooLarge, Unavailable
from pileus.model.images import Image

OCTETS = "application/octet-stream"


async def chunks(cloud: Cloud, image: Image, uri: str) -> AsyncIterator[bytes]:
    """The content, block by block. Unavailable when it is not what it was; Invalid when it can't be had."""
    algorithm = image.os_hash_algo if image.os_hash_algo in DIGESTS else "md5"
    expected = image.os_hash_value if image.os_hash_algo in DIGESTS else image.checksum
    hashed = hashlib.new(algorithm, usedforsecurity=False) if expected else None
    held, got = b"", 0
    async for data in downloads.chunks(uri, cloud.config.import_hosts):
        if hashed:
            await asyncio.to_thread(hashed.update, data)
        got += len(data)
        if image.size is not None and got > image.size:
            break
        if held:
            yield held
        held = data
    if image.size is not None and got != image.size:
        raise Unavailable(f"What lies at {uri} is not the content of image {image.id} any more: it has another length.")
    if hashed and hashed.hexdigest() != expected:
        raise Unavailable(f"What lies at {uri} is not the content of image {image.id}: its {algorithm} is another one.")
    if held:
        yield held


async def give_out(cloud: Cloud, image: Image) -> Response:
    """The content as a stream, from the first of its addresses that answers."""
    why = ""
    for place in image.locations:
        stream = chunks(cloud, image, place.url)
        try:
            first = await anext(stream, b"")
        except PileusError as error:
            why = error.message
            continue
        headers: dict[str, Any] = {"Content-Type": OCTETS, "Content-Length": str(image.size or 0)}
        return Response(200, _after(first, stream), headers | ({"Content-MD5": image.checksum} if image.checksum else {}))
    raise Unavailable(f"The content of image {image.id} can't be had from where it lies: {why}")


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for data in rest:
        yield data


async def bring(cloud: Cloud, image: Image, path: Path) -> tuple[files.Digest, Inspector]:
    """Fetch the content into a file; Unavailable when no address has it."""
    why = ""
    for place in image.locations:
        intake = await asyncio.to_thread(files.Intake, path)
        try:
            return await files.fill(intake, chunks(cloud, image, place.url), cloud.config.image_size_limit), intake.inspector
        except TooLarge:
            raise
        except PileusError as error:
            await asyncio.to_thread(intake.discard)
            why = error.message
        finally:
            await asyncio.to_thread(intake.close)
    raise Unavailable(f"The content of image {image.id} can't be had from where it lies: {why}")


async def counted(cloud: Cloud, uri: str) -> tuple[files.Digest, Inspector]:
    """Read what lies there once, and keep nothing of it but its hashes and what it looks like."""
    inspector = Inspector()
    hashes = (hashlib.sha256(), hashlib.sha512(), hashlib.md5(usedforsecurity=False))
    limit = cloud.config.image_size_limit
    async for data in downloads.chunks(uri, cloud.config.import_hosts):
        await asyncio.to_thread(files.count, data, inspector, hashes)
        if inspector.size > limit:
            raise TooLarge(f"The image is larger than {limit} bytes, the most that is accepted.")
    return files.digest(inspector, hashes), inspector


async def length(cloud: Cloud, uri: str) -> int:
    """How long the content is, by the server's word; Invalid when it does not say, or can't be reached."""
    size = await downloads.length(uri, cloud.config.import_hosts)
    if size is None:
        raise Invalid(f"{uri} does not say how long it is (Content-Length), and can't be an image's location.")
    return size
