"""The control plane is killed at each step of an upload: the image is whole or waits again, and no file is left over or missing."""

import asyncio
import hashlib
import multiprocessing
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.api.cloud import Cloud
from pileus.api.image import content, files
from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.model.images import Image, ImageStatus
from pileus.store import images as store
from pileus.store.database import Transaction
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase

DATA = b"snapshot" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
IMAGE_ID = str(uuid.UUID(int=1))


def dying(place: Any, name: str, late: bool) -> None:
    """From now on the process dies when the function is called, or when it has done its work."""
    original: Callable[..., Any] = getattr(place, name)

    def deadly(*args: Any, **rest: Any) -> Any:
        if late:
            original(*args, **rest)
        os._exit(9)

    setattr(place, name, deadly)


async def opened(directory: Path) -> Cloud:
    db = SqliteDatabase(directory / "pileus.db")
    await migrate(db)
    return Cloud(config=Config(state=str(directory)), db=db, bus=LocalBus(), tokens=None, wake=lambda name, key: None)  # type: ignore[arg-type]


async def ingest(directory: Path) -> None:
    cloud = await opened(directory)
    await files.recover(cloud.db, cloud.image_stores)
    if await store.IMAGES.get(cloud.db, IMAGE_ID) is None:

        async def insert(tx: Transaction) -> None:
            await store.insert(tx, Image(id=IMAGE_ID, owner="p", disk_format="raw", container_format="bare"))

        await cloud.db.write(insert)
    await content.ingest_file(cloud, IMAGE_ID, directory / "snapshot")
    await cloud.db.close()


def child(directory: Path, step: str) -> None:
    place, _, rest = step.partition(".")
    name, _, moment = rest.partition(" ")
    dying({"files": files, "store": store, "path": Path}[place], name, moment == "after")
    asyncio.run(ingest(directory))


STEPS = [
    "store.begin_upload before",
    "files.read_through before",
    "files.link_or_copy before",
    "files.link_or_copy after",
    "files.install before",
    "files.install after",
    "store.end_upload before",
    "path.unlink before",
]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_an_image_is_whole_or_waits_again(tmp_path: Path, step: str) -> None:
    (tmp_path / "snapshot").write_bytes(DATA)
    process = multiprocessing.get_context("spawn").Process(target=child, args=(tmp_path, step))
    process.start()
    process.join(60)
    assert process.exitcode == 9, f"the step {step} was not reached"

    async def look() -> None:
        cloud = await opened(tmp_path)
        await files.recover(cloud.db, cloud.image_stores)
        image = await store.IMAGES.get(cloud.db, IMAGE_ID)
        assert image and image.status in (ImageStatus.QUEUED, ImageStatus.ACTIVE) and image.upload is None
        left = sorted(path.name for path in cloud.images.rglob("*") if path.is_file() and path.name != files.NAMING)
        assert left == ([SHA256] if image.status == ImageStatus.ACTIVE else [])
        await cloud.db.close()
        await ingest(tmp_path)  # the second run ends the work
        cloud = await opened(tmp_path)
        done = await store.IMAGES.get(cloud.db, IMAGE_ID)
        assert done and done.status == ImageStatus.ACTIVE and (cloud.images / SHA256).read_bytes() == DATA
        assert not (tmp_path / "snapshot").exists()
        await cloud.db.close()

    asyncio.run(look())
