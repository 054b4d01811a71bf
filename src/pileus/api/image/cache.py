"""Cache management: images kept at hand in this machine's memory, before the store's disk.

The cache is the kernel's page cache: to queue an image reads its file in, to remove it lets go of it. Each API process says what it was
told since it started; under pressure the kernel may drop a part, and reads it from the store again.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from pileus import clock
from pileus.api.image import stores
from pileus.api.image.files import BLOCK
from pileus.api.image.images import load
from pileus.api.request import Request, Response
from pileus.model.errors import Invalid, NotFound
from pileus.model.images import Image, ImageStatus
from pileus.store import images as store

TARGETS = ("cache", "queue", "")
HEADER = "x-image-cache-clear-target"


class Cache:
    """What one process keeps at hand: image id -> its entry, and those that wait to be read."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Path] = {}
        self.waiting: dict[str, asyncio.Task[None]] = {}

    def queue(self, image: Image, path: Path) -> None:
        """Read the image's file in, in the background; one that is there or waits stays."""
        if image.id not in self.entries and image.id not in self.waiting:
            self.waiting[image.id] = asyncio.create_task(self._read(image, path))

    def used(self, image_id: str) -> None:
        """Somebody has downloaded it."""
        if entry := self.entries.get(image_id):
            entry["hits"] += 1
            entry["last_accessed"] = clock.now()

    def remove(self, image_id: str) -> bool:
        """Let go of it; whether it was there."""
        task = self.waiting.pop(image_id, None)
        if task:
            task.cancel()
        entry = self.entries.pop(image_id, None)
        if entry:
            _let_go(self.files.pop(image_id))
        return bool(task or entry)

    async def _read(self, image: Image, path: Path) -> None:
        try:
            await asyncio.to_thread(_touch, path)
            now = clock.now()
            self.files[image.id] = path
            self.entries[image.id] = {"hits": 0, "last_accessed": now, "last_modified": now, "size": image.size}
        except OSError:  # it was deleted meanwhile
            return
        finally:
            if self.waiting.get(image.id) is asyncio.current_task():
                del self.waiting[image.id]


def _touch(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(BLOCK)
        while file.readinto(buffer):
            pass


def _let_go(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


_caches: dict[Path, Cache] = {}


def cache_of(directory: Path) -> Cache:
    """This process's cache of an image directory."""
    return _caches.setdefault(directory, Cache())


async def index(request: Request) -> dict[str, Any]:
    """GET /v2/cache."""
    cache = cache_of(request.cloud.images)
    there = [one.id for one in await store.IMAGES.find(request.cloud.db, "content IS NOT NULL")]
    for image_id in set(cache.entries) - set(there):
        cache.remove(image_id)
    cached = [{"image_id": image_id, **entry} for image_id, entry in sorted(cache.entries.items())]
    return {"cached_images": cached, "queued_images": sorted(cache.waiting)}


async def queue(request: Request) -> Response:
    """PUT /v2/cache/{image_id}."""
    image = await load(request)
    path = stores.find(request.cloud, image)
    if image.status != ImageStatus.ACTIVE or path is None:
        raise Invalid(f"Only images with status active can be targeted for queueing; image {image.id} has status {image.status}.")
    cache_of(request.cloud.images).queue(image, path)
    return Response(202)


async def remove(request: Request) -> Response:
    """DELETE /v2/cache/{image_id}."""
    key = request.params["image_id"]
    if not cache_of(request.cloud.images).remove(key):
        raise NotFound(f"Image {key} is neither cached nor queued for it.", kind="Image", id=key)
    return Response(204)


async def clear(request: Request) -> Response:
    """DELETE /v2/cache: all that is cached, all that is queued, or both, as the header says."""
    target = request.headers.get(HEADER, "").lower()
    if target not in TARGETS:
        raise Invalid(f"If the header {HEADER} is given it must be 'cache' or 'queue', not {target[:40]!r}.", field=HEADER)
    cache = cache_of(request.cloud.images)
    for image_id in [*(cache.waiting if target != "cache" else ()), *(cache.entries if target != "queue" else ())]:
        cache.remove(image_id)
    return Response(204)
