"""Copies of images into more stores, in the background: one store after the other, each by one transaction when the file is there.

What a crash leaves half done goes at the next start, or when somebody asks for the image later (`writers.reclaim`): the stores that were
filled stay, the others are named as failed.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pileus.api.cloud import Cloud
from pileus.api.image import content, files, placing, signatures, stores, web_contents, writers
from pileus.api.image.placing import Targets
from pileus.core.image_formats import check
from pileus.model.errors import Gone, NotFound, PileusError, Unavailable
from pileus.model.image_stores import FAILED, IMPORTING
from pileus.model.images import Image, ImageTask
from pileus.store import image_tasks, images
from pileus.store.database import Transaction

log = logging.getLogger("pileus.image")
_running: set[asyncio.Task[None]] = set()


@dataclass(frozen=True)
class Source:
    """What is copied: a whole file, what it is, and what the image learns of itself on the way (of one that lay in the web alone)."""

    path: Path
    digest: files.Digest
    learned: dict[str, Any]


def begin(cloud: Cloud, task: ImageTask, targets: Targets) -> None:
    """Copy, while others go on. The task has begun."""
    running = asyncio.create_task(_copy(cloud, task, targets))
    _running.add(running)
    running.add_done_callback(_running.discard)


async def _copy(cloud: Cloud, task: ImageTask, targets: Targets) -> None:
    """However it ends, image and task say how."""
    filled: list[str] = []
    message = "The copy was broken off; the image has what it had before."
    try:
        with writers.writing(cloud.images, task.image_id, task.id):
            message = ""
            async with _source(cloud, task) as source:
                for name in targets.stores:
                    problem = await _fill(cloud, task, source, name)
                    message = message or problem
                    if not problem:
                        filled.append(name)
                    elif targets.all_must_succeed:
                        break
    except PileusError as error:
        message = error.message
    except OSError as error:
        message = files.storage_error(error).message
    except asyncio.CancelledError:
        message = "The copy was broken off; repeat it."
        raise
    except Exception:
        log.exception("copy of image %s failed", task.image_id)
        message = "Unexpected error; the log of the control plane has it."
    finally:
        await _settle(cloud, task, targets, filled, message)


async def _fill(cloud: Cloud, task: ImageTask, source: Source, name: str) -> str:
    """Have one store hold the content; says what went wrong."""
    target = cloud.image_stores[name] / files.UPLOADS / f"{task.image_id}.{task.id}.{name}"
    try:
        if await content.apart(placing.copied, cloud, name, source.path, target, source.digest.sha256) != source.digest.sha256:
            raise Unavailable(f"The content of image {task.image_id} is damaged: it is not copied. Upload it again.")
        async with files.naming(cloud.images):
            await content.apart(files.install, cloud.image_stores[name], target, source.digest)
            there = await _note(cloud, task, source, name)
        if not there:
            await files.release(cloud.db, cloud.image_stores, source.digest.sha256)
            raise Gone(f"Image {task.image_id} was deleted during the copy.")
    except PileusError as error:
        return f"Store {name}: {error.message}"
    except OSError as error:
        return files.storage_error(error, name).message
    finally:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
    return ""


async def _note(cloud: Cloud, task: ImageTask, source: Source, name: str) -> bool:
    """The store has the content under its name: so the image is in it. False when the image is gone, or has another content."""

    async def write(tx: Transaction) -> bool:
        image = await images.IMAGES.get(tx, task.image_id)
        if image is None or image.content not in (None, source.digest.sha256) or (image.content is None and not image.locations):
            return False
        left = [one for one in image.properties.get(IMPORTING, "").split(",") if one not in ("", name)]
        learned = {} if image.content else {**source.learned, "content": source.digest.sha256}
        there = stores.heaviest_first(cloud.config, [*(one for one in image.stores if one != name), name])
        await images.save(tx, image, stores=there, properties={**image.properties, IMPORTING: ",".join(left)}, **learned)
        return True

    return await cloud.db.write(write)


async def _settle(cloud: Cloud, task: ImageTask, targets: Targets, filled: list[str], message: str) -> None:
    """The last word. Where all had to succeed and one did not, those that were filled are left again."""
    undone = filled if message and targets.all_must_succeed else []
    failed = [name for name in targets.stores if name not in filled or name in undone]

    async def finish(tx: Transaction) -> Image | None:
        image = await images.IMAGES.get(tx, task.image_id)
        if image is not None:
            kept = [name for name in image.stores if name not in undone]
            gone: dict[str, Any] = {} if kept else {"content": None}
            properties = {**image.properties, IMPORTING: "", FAILED: ",".join(failed)}
            await images.save(tx, image, stores=kept, properties=properties, **gone)
        await image_tasks.end_task(tx, task.id, message if failed else "")
        return image

    image = await cloud.db.write(finish)
    if undone and image is not None and image.content:
        await files.release(cloud.db, cloud.image_stores, image.content)


@asynccontextmanager
async def _source(cloud: Cloud, task: ImageTask) -> AsyncIterator[Source]:
    """The image's content in a store that has it, or fetched from where it lies for as long as it is needed."""
    image = await images.IMAGES.get(cloud.db, task.image_id)
    if image is None:
        raise NotFound(f"No image found with ID {task.image_id}", kind="Image", id=task.image_id)
    path = stores.find(cloud, image)
    if path is not None:
        yield Source(path, content.digest_of(image), {})
        return
    if not image.locations:
        raise Unavailable(f"The content of image {image.id} is missing, or damaged; upload it again into another image.")
    fetched = cloud.images / files.UPLOADS / f"{image.id}.{task.id}.web"
    try:
        found, inspector = await web_contents.bring(cloud, image, fetched)
        await content.apart(signatures.verify, cloud.images, image.properties, fetched, found)
        learned: dict[str, Any] = {
            "size": found.size,
            "virtual_size": check(inspector.sample(), image.disk_format or "raw", image.container_format or "bare"),
            "checksum": found.md5,
        }
        if image.os_hash_value is None:
            learned |= {"os_hash_algo": "sha512", "os_hash_value": found.sha512}
        yield Source(fetched, found, learned)
    finally:
        fetched.unlink(missing_ok=True)
