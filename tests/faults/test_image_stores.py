"""The control plane is killed at each step of an import into several stores, and of a copy: each store has what the images say."""

import asyncio
import hashlib
import multiprocessing
import uuid
from pathlib import Path

import pytest

from pileus.api.cloud import Cloud
from pileus.api.image import content, files, placing, store_copies
from pileus.api.image.placing import Targets
from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.model.image_stores import IMPORTING, ImageSettings, ImageStore
from pileus.model.images import Image, ImageStatus, ImageTask
from pileus.store import image_tasks
from pileus.store import images as store
from pileus.store.database import Transaction
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase
from tests.faults.test_image_upload import dying

DATA = b"an image for several stores" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
IMAGE_ID = str(uuid.UUID(int=2))
MORE = Targets(("local", "spare", "third"))


async def opened(directory: Path) -> Cloud:
    db = SqliteDatabase(directory / "pileus.db")
    await migrate(db)
    stores = {name: ImageStore(path=str(directory / name)) for name in ("spare", "third")}
    for name in stores:
        (directory / name).mkdir(exist_ok=True)
    config = Config(state=str(directory), image=ImageSettings(stores=stores))
    return Cloud(config=config, db=db, bus=LocalBus(), tokens=None, wake=lambda name, key: None)  # type: ignore[arg-type]


async def insert(cloud: Cloud) -> Image:
    """The image, which waits for content, or as it is."""
    found = await store.IMAGES.get(cloud.db, IMAGE_ID)
    made = Image(id=IMAGE_ID, owner="p", disk_format="raw", container_format="bare", status=ImageStatus.UPLOADING)
    return found or await cloud.db.write(lambda tx: store.insert(tx, made))


async def bring(cloud: Cloud, directory: Path) -> None:
    """Import what is staged into all stores."""
    image = await insert(cloud)
    if image.status == ImageStatus.ACTIVE:
        return
    staged = directory / "staged"
    staged.write_bytes(DATA)
    upload = await content.begin(cloud, image, ImageStatus.IMPORTING)
    await content.ingest(cloud, image, upload, staged, MORE)


async def copy(cloud: Cloud, directory: Path) -> None:
    """Have the image in one store, then copy it into the others."""
    image = await insert(cloud)
    if image.status != ImageStatus.ACTIVE:
        (directory / "file").write_bytes(DATA)
        await cloud.db.write(lambda tx: store.save(tx, image, status=ImageStatus.QUEUED))
        image = await content.ingest_file(cloud, IMAGE_ID, directory / "file")
    missing = tuple(name for name in MORE.stores if name not in image.stores)
    task = ImageTask(id=str(uuid.uuid4()), image_id=IMAGE_ID, owner="p", user_id="u", request_id="r", status="processing",
                     input={"backend": list(missing)})  # fmt: skip

    async def begin(tx: Transaction) -> None:
        now = await store.IMAGES.get(tx, IMAGE_ID)
        assert now
        await store.save(tx, now, properties={IMPORTING: ",".join(missing)})
        await image_tasks.start_task(tx, task)

    await cloud.db.write(begin)
    (directory / "copying").touch()
    await store_copies._copy(cloud, task, Targets(missing))  # pyright: ignore[reportPrivateUsage]


WORK = {"import": bring, "copy": copy}
PLACES = {"files": files, "placing": placing, "store": store, "tasks": image_tasks}


def child(directory: Path, work: str, step: str, nth: int) -> None:
    place, _, rest = step.partition(".")
    name, _, moment = rest.partition(" ")

    async def run() -> None:
        cloud = await opened(directory)
        await files.recover(cloud.db, cloud.image_stores)
        await WORK[work](cloud, directory)
        await cloud.db.close()

    _at(PLACES[place], name, moment == "after", nth, directory if work == "copy" else None)
    asyncio.run(run())


def _at(place: object, name: str, late: bool, nth: int, directory: Path | None) -> None:
    """Die at the nth call; of a copy, those before it begins do not count."""
    original = getattr(place, name)
    calls = 0

    def counted(*args: object, **rest: object) -> object:
        nonlocal calls
        calls += directory is None or (directory / "copying").exists()
        if calls == nth:
            setattr(place, name, original)
            dying(place, name, late)
            return getattr(place, name)(*args, **rest)
        return original(*args, **rest)

    setattr(place, name, counted)


STEPS = [
    ("import", "files.link_or_copy before", 2),
    ("import", "files.link_or_copy after", 3),
    ("import", "files.install before", 1),
    ("import", "files.install after", 2),
    ("import", "store.end_upload before", 1),
    ("copy", "placing.copied after", 1),
    ("copy", "files.install before", 1),
    ("copy", "files.install after", 1),
    ("copy", "store.save before", 1),
    ("copy", "placing.copied before", 2),
    ("copy", "files.install after", 2),
    ("copy", "tasks.end_task before", 1),
]


@pytest.mark.parametrize(("work", "step", "nth"), STEPS)
def test_killed_at_any_step_every_store_has_what_the_image_says(tmp_path: Path, work: str, step: str, nth: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=child, args=(tmp_path, work, step, nth))
    process.start()
    process.join(60)
    assert process.exitcode == 9, f"the step {step} was not reached"

    async def look() -> None:
        cloud = await opened(tmp_path)
        await files.recover(cloud.db, cloud.image_stores)
        await _agrees(cloud)
        tasks = await image_tasks.IMAGE_TASKS.find(cloud.db)
        assert all(one.status in ("success", "failure") for one in tasks)
        (tmp_path / "copying").unlink(missing_ok=True)
        await WORK[work](cloud, tmp_path)  # the second run ends the work
        image = await _agrees(cloud)
        assert set(image.stores) == set(MORE.stores) and image.status == ImageStatus.ACTIVE
        await cloud.db.close()

    asyncio.run(look())


async def _agrees(cloud: Cloud) -> Image:
    """The image as it is, when the stores have just what it says."""
    image = await store.IMAGES.get(cloud.db, IMAGE_ID)
    assert image and image.upload is None and not image.properties.get(IMPORTING)
    there = {name: sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != files.NAMING)
             for name, folder in cloud.image_stores.items()}  # fmt: skip
    assert there == {name: [SHA] if name in image.stores else [] for name in cloud.image_stores}
    return image
