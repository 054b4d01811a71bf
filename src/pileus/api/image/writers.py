"""Who writes an image: each write holds a lock for as long as its process lives. What nobody writes any more waits for content again.

Several API processes may share the image directory: the row alone does not say whether the one that began a write is still there. It is
looked at when somebody asks for the image, a minute after the write began at the earliest.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pileus import clock
from pileus.api.cloud import Cloud
from pileus.api.image import files, placing
from pileus.model.image_stores import IMPORTING
from pileus.model.images import Image, ImageStatus
from pileus.store import image_tasks
from pileus.store import images as store
from pileus.store.database import Transaction

PATIENCE = 60.0
"""Seconds after which a write that nobody holds has ended; it takes its lock right after it has said that it begins."""
LOCK = ".lock"


def _lock(directory: Path, image_id: str, upload: str) -> Path:
    return directory / files.UPLOADS / f"{image_id}.{upload}{LOCK}"


@contextmanager
def writing(directory: Path, image_id: str, upload: str) -> Iterator[None]:
    """Held by a write from its beginning to its end, however it ends."""
    path = _lock(directory, image_id, upload)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_held(directory: Path, image_id: str, upload: str) -> bool:
    try:
        handle = os.open(_lock(directory, image_id, upload), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


async def reclaim(cloud: Cloud, images: Iterable[Image]) -> bool:
    """Have those of these images wait for content again whose writer has died; says whether there were any."""
    late = [one for one in images if (one.upload or one.properties.get(IMPORTING)) and clock.now() > one.updated_at + PATIENCE]
    dead = [one for one in late if one.upload and not _is_held(cloud.images, one.id, one.upload)]
    for image in dead:
        await _requeue(cloud, image)
    broken = [one for one in late if not one.upload and await _copied_by_nobody(cloud, one)]
    for image in broken:
        left = [
            path
            for task in await image_tasks.tasks_of(cloud.db, image.id)
            for path in placing.leftovers(cloud.image_stores, f"{image.id}.{task.id}")
        ]
        await cloud.db.write(partial(image_tasks.fail_broken, image_id=image.id))
        for path in left:
            path.unlink(missing_ok=True)
    return bool(dead or broken)


async def _copied_by_nobody(cloud: Cloud, image: Image) -> bool:
    """Whether a copy into more stores has lost its process: each holds a lock of its task's name."""
    going = [task for task in await image_tasks.tasks_of(cloud.db, image.id) if task.status == "processing"]
    return bool(going) and not any(_is_held(cloud.images, image.id, task.id) for task in going)


async def _requeue(cloud: Cloud, image: Image) -> None:
    assert image.upload  # it is being written
    upload = image.upload

    again = ImageStatus.UPLOADING if (cloud.images / files.STAGED / f"{image.id}{files.PART}").exists() else ImageStatus.QUEUED

    async def back(tx: Transaction) -> None:
        if await store.end_upload(tx, image.id, upload, status=again) is not None:
            await image_tasks.fail_broken(tx, image.id)

    await cloud.db.write(back)
    for path in placing.leftovers(cloud.image_stores, f"{image.id}.{upload}"):
        path.unlink(missing_ok=True)
