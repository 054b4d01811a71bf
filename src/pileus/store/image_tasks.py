"""What became of imports of images; kept for a while after their end."""

from pileus import clock
from pileus.model.image_stores import FAILED, IMPORTING, LOCAL, WEB
from pileus.model.images import Image, ImageStatus, ImageTask
from pileus.store.database import Reader, Transaction
from pileus.store.images import IMAGES, save
from pileus.store.tables import ResourceTable

IMAGE_TASKS = ResourceTable("image_tasks", ImageTask)
KEPT = 48 * 3600.0
"""Seconds that a task is shown after its end."""


async def tasks_of(db: Reader, image_id: str) -> list[ImageTask]:
    """An image's tasks, oldest first."""
    return await IMAGE_TASKS.find(db, "image_id = ? ORDER BY created_at, id", image_id)


async def start_task(tx: Transaction, task: ImageTask) -> ImageTask:
    """Add a task; those that ended long ago go."""
    await tx.execute("DELETE FROM image_tasks WHERE expires_at < ?", task.created_at)
    return await IMAGE_TASKS.insert(tx, task)


async def end_task(tx: Transaction, task_id: str, message: str = "") -> None:
    """A task is over: well, or with a message of what went wrong."""
    now = clock.now()
    status = "failure" if message else "success"
    await IMAGE_TASKS.set(tx, task_id, status=status, message=message, updated_at=now, expires_at=now + KEPT)


async def fail_broken(tx: Transaction, image_id: str | None = None) -> None:
    """What was under way when its process ended has failed, but for what only lacked its last word: of all images, or of one."""
    for task in await IMAGE_TASKS.find(tx, "status IN ('pending', 'processing')"):
        if image_id not in (None, task.image_id):
            continue
        image = await IMAGES.get(tx, task.image_id)
        lacking = missing(image, task)
        if image is not None and image.properties.get(IMPORTING):
            await save(tx, image, properties={**image.properties, IMPORTING: "", FAILED: ",".join(lacking)})
        what = "the image waits for content again" if image is None or image.status != ImageStatus.ACTIVE else "it has what it had before"
        done = image is not None and image.status == ImageStatus.ACTIVE and not lacking
        await end_task(tx, task.id, "" if done else f"The control plane ended during the import; repeat it: {what}.")


def missing(image: Image | None, task: ImageTask) -> list[str]:
    """The stores that the task was to fill and did not."""
    wanted: list[str] = task.input.get("backend") or [LOCAL]
    there = [] if image is None else [*image.stores, *([WEB] if image.locations else [])]
    return [name for name in wanted if name not in there]
