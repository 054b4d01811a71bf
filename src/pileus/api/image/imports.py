"""Import of an image's content: what was staged, and what lies in the web, in the background. Each import leaves a task."""

import asyncio
import logging
import secrets
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from pileus import clock
from pileus.api.cloud import Cloud
from pileus.api.image import content, copies, downloads, files, parts, stores, unpacking, web_contents, writers
from pileus.api.image.images import IMPORT_METHODS, add, drafted, isotime, load_own
from pileus.api.image.placing import Targets
from pileus.api.image.unpacking import Taken
from pileus.api.request import Request, Response
from pileus.core.image_formats import check
from pileus.core.images import Digest
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound, PileusError, TooLarge
from pileus.model.image_stores import FAILED, IMPORTING, ImageLocation
from pileus.model.images import Image, ImageStatus, ImageTask
from pileus.store import image_tasks, images
from pileus.store.database import Transaction

log = logging.getLogger("pileus.image")
MOST_AT_ONCE = 4
"""Imports from the web that a project may have under way."""
SOON = 5.0
"""Seconds for which the answer to an import of staged content waits for its end."""
BROKEN_OFF = "The import was broken off; the image waits for content again."
DELETED = "The image was deleted during its import."
UNEXPECTED = "Unexpected error; the log of the control plane has it."
_running: set[asyncio.Task[None]] = set()


class ImportMethod(Model, frozen=True, kw_only=True):
    """How the content comes: glance-direct takes what was staged, web-download what lies at `uri`, glance-download another image's,
    copy-image puts it into more stores."""

    name: str
    uri: str | None = None
    glance_image_id: str | None = None
    glance_region: str | None = None
    glance_service_interface: str | None = None


class ImportBody(Model, frozen=True, kw_only=True):
    """Body of POST /v2/images/{image_id}/import."""

    method: ImportMethod
    stores: list[str] | None = None
    all_stores: bool = False
    all_stores_must_succeed: bool = True


class TaskInput(Model, frozen=True, kw_only=True):
    """What a task of type import makes an image of."""

    import_from: str
    import_from_format: str | None = None
    image_properties: dict[str, Any] = {}


class TaskBody(Model, frozen=True, kw_only=True):
    """Body of POST /v2/tasks."""

    type: str
    input: TaskInput


@dataclass(frozen=True)
class Wanted:
    """What is fetched: the address, the hash that it must have, whether it is made ready for servers, where it is to lie."""

    uri: str
    expected: Digest | None = None
    unpack: bool = True
    targets: Targets = content.HERE
    stays: bool = False  # it is looked at and counted, and left where it lies


async def create_task(request: Request) -> Response:
    """POST /v2/tasks: an image of what lies in the web, in one call."""
    body: TaskBody = request.body
    if body.type != "import":
        raise Invalid(f"Invalid type: {body.type}; tasks of type import can be made.", field="type")
    await downloads.resolve(body.input.import_from, request.cloud.config.import_hosts)
    image = drafted(request, body.input.image_properties)
    content.check_formats(image)
    await add(request, image)
    task = task_of(request, image, given=request.raw["input"])
    await _start_download(request, image, task, Wanted(body.input.import_from))
    return Response(201, task_view(task), {"Location": f"{request.service_url}/v2/tasks/{task.id}"})


async def import_image(request: Request) -> Response:
    """POST /v2/images/{image_id}/import."""
    body: ImportBody = request.body
    image = await load_own(request)
    if body.method.name not in IMPORT_METHODS:
        raise Invalid(f"Unknown import method name '{body.method.name}'; there are {', '.join(IMPORT_METHODS)}.", field="method")
    targets = Targets(stores.wanted(request, body.stores, body.all_stores), body.all_stores_must_succeed)
    if body.method.name == "web-download":
        await _download(request, image, body.method.uri, targets)
    elif body.method.name == "glance-direct":
        await _take_staged(request, image, targets)
    else:
        take = copies.copy_image if body.method.name == "copy-image" else copies.glance_download
        await take(request, image, task_of(request, image, targets), targets)
    return Response(202)


async def _take_staged(request: Request, image: Image, targets: Targets) -> None:
    """In the background, but that the answer waits a little for its end: of small content the outcome is there with the answer. What is
    wrong with the content the task tells, and the image, which waits for content again."""
    if image.status != ImageStatus.UPLOADING or image.upload:
        raise Conflict(f"Image {image.id} has status {image.status}; only staged content can be imported (PUT .../stage).")
    if parts.part_of(request.cloud.images, image.id).exists():
        raise Conflict(f"Not all of image {image.id} is staged yet; HEAD .../stage says how much.")
    task = task_of(request, image, targets)
    upload = await content.begin(request.cloud, image, ImageStatus.IMPORTING)

    async def begin(tx: Transaction) -> ImageTask:
        return await image_tasks.start_task(tx, task)

    await request.cloud.db.write(begin)
    running = _go(_ingest_staged(request.cloud, task, upload, targets))
    await asyncio.wait([running], timeout=SOON)


def _go(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    running = asyncio.create_task(work)
    _running.add(running)
    running.add_done_callback(_running.discard)
    return running


async def _ingest_staged(cloud: Cloud, task: ImageTask, upload: str, targets: Targets) -> None:
    """However it ends, image and task say how."""
    staged = cloud.images / files.STAGED / task.image_id
    message = BROKEN_OFF
    try:
        image = await images.IMAGES.get(cloud.db, task.image_id)
        if image is None:
            message = DELETED
            return
        await content.ingest(cloud, image, upload, staged, targets)
        message = ""
    except PileusError as error:
        message = error.message
    except Exception:
        log.exception("import of image %s failed", task.image_id)
        message = UNEXPECTED
    finally:
        await asyncio.to_thread(staged.unlink, missing_ok=True)
        await _end(cloud, task, message)


async def _download(request: Request, image: Image, uri: str | None, targets: Targets) -> None:
    """The address is looked at before the answer; its content comes after it."""
    if not uri:
        raise Invalid("The method web-download needs a uri.", field="uri")
    if image.status != ImageStatus.QUEUED:
        raise Conflict(f"Image {image.id} has status {image.status}; only one that waits for content can be filled from the web.")
    await fetch(request, image, Wanted(uri, targets=targets))


async def fetch(request: Request, image: Image, wanted: Wanted) -> None:
    """Begin to fill an image that waits from the web."""
    content.check_formats(image)
    await downloads.resolve(wanted.uri, request.cloud.config.import_hosts)
    await _start_download(request, image, task_of(request, image, wanted.targets), wanted)


async def _start_download(request: Request, image: Image, task: ImageTask, wanted: Wanted) -> None:
    upload = secrets.token_hex(8)

    async def begin(tx: Transaction) -> None:
        if await images.importing(tx, image.owner) >= MOST_AT_ONCE:
            raise TooLarge(f"Your project has {MOST_AT_ONCE} imports from the web under way; wait until one has ended.")
        claimed = await images.begin_upload(tx, image, upload, ImageStatus.IMPORTING)
        place = {"locations": [ImageLocation(url=wanted.uri)]} if wanted.stays else {}
        await images.save(tx, claimed, **place, properties={**claimed.properties, IMPORTING: ",".join(wanted.targets.stores), FAILED: ""})
        await image_tasks.start_task(tx, task)

    await content.within_quota(request.cloud.db.write(begin))
    _go(_fetch_alone(request.cloud, task, upload, wanted))


async def _fetch_alone(cloud: Cloud, task: ImageTask, upload: str, wanted: Wanted) -> None:
    try:
        with writers.writing(cloud.images, task.image_id, upload):
            await _fetch(cloud, task, upload, wanted)
    except OSError as error:  # of the lock: what is written tells its own
        await settle(cloud, task, upload, files.storage_error(error).message)


async def _fetch(cloud: Cloud, task: ImageTask, upload: str, wanted: Wanted) -> None:
    """The whole of an import in the background. However it ends, image and task say how."""
    intake: files.Intake | None = None
    message = BROKEN_OFF
    try:
        if wanted.stays:
            message = await _look(cloud, task, upload, wanted)
            return
        intake = await asyncio.to_thread(files.Intake, cloud.images / files.UPLOADS / f"{task.image_id}.{upload}")
        found = await files.fill(intake, downloads.chunks(wanted.uri, cloud.config.import_hosts), cloud.config.image_size_limit)
        image = await images.IMAGES.get(cloud.db, task.image_id)
        if image is None or image.upload != upload:
            message = DELETED
            return
        taken = Taken(intake.path, found, intake.inspector, _as_expected(found, wanted))
        ready = await content.unpacked(cloud, image, taken) if wanted.unpack else taken
        await content.activate(cloud, image, upload, ready, wanted.targets)
        message = ""
    except PileusError as error:
        message = error.message
    except OSError as error:
        message = files.storage_error(error).message
    except Exception:
        log.exception("import of image %s failed", task.image_id)
        message = UNEXPECTED
    finally:
        if intake:
            await asyncio.to_thread(intake.discard)
            unpacking.remove(intake.path)
        await settle(cloud, task, upload, message)


async def _look(cloud: Cloud, task: ImageTask, upload: str, wanted: Wanted) -> str:
    """What stays in the web: reads it once and says of the image what it is; or, by the operator's will, believes what was said of it."""
    known: dict[str, Any]
    if cloud.config.image.do_secure_hash:
        found, inspector = await web_contents.counted(cloud, wanted.uri)
        known = {"size": found.size, "checksum": found.md5, "os_hash_algo": "sha512", "os_hash_value": found.sha512}
        known |= _as_expected(found, wanted)
        image = await images.IMAGES.get(cloud.db, task.image_id)
        if image is not None:
            known["virtual_size"] = check(inspector.sample(), image.disk_format or "raw", image.container_format or "bare")
    else:
        known = {"size": await web_contents.length(cloud, wanted.uri)}
        if wanted.expected:
            known |= dict(zip(("os_hash_algo", "os_hash_value"), wanted.expected, strict=True))

    async def finish(tx: Transaction) -> Image | None:
        return await images.end_upload(tx, task.image_id, upload, status=ImageStatus.ACTIVE, **known)

    done = await content.within_quota(cloud.db.write(finish))
    return "" if done else DELETED


def _as_expected(found: files.Digest, wanted: Wanted) -> dict[str, Any]:
    """What the image is to say of its hash, where one was named. Invalid when it is another."""
    if wanted.expected is None:
        return {}
    algorithm, value = wanted.expected
    if getattr(found, algorithm) != value:
        raise Invalid(f"What lies at {wanted.uri} has another {algorithm} than was said: {getattr(found, algorithm)}.")
    return {"os_hash_algo": algorithm, "os_hash_value": value}


async def settle(cloud: Cloud, task: ImageTask, upload: str, message: str) -> None:
    """The last word of an import in the background: on the image, and on its task."""

    async def finish(tx: Transaction) -> None:
        image = await images.IMAGES.get(tx, task.image_id)
        if image is not None and (image.upload == upload or (not message and image.status == ImageStatus.ACTIVE)):
            kept = {name: value for name, value in image.properties.items() if name not in (IMPORTING, FAILED)}
            missing = ",".join(image_tasks.missing(image, task))
            if message:
                await images.end_upload(
                    tx, image.id, upload, status=ImageStatus.QUEUED, properties={**kept, IMPORTING: "", FAILED: missing}
                )
            else:
                await images.save(tx, image, properties={**kept, **({IMPORTING: "", FAILED: missing} if missing else {})})
        await image_tasks.end_task(tx, task.id, message)

    await cloud.db.write(finish)


async def _end(cloud: Cloud, task: ImageTask, message: str = "") -> None:
    async def finish(tx: Transaction) -> None:
        image = await images.IMAGES.get(tx, task.image_id)
        if image is not None and image.upload is None and (missing := image_tasks.missing(image, task)):
            await images.save(tx, image, properties={**image.properties, IMPORTING: "", FAILED: ",".join(missing)})
        await image_tasks.end_task(tx, task.id, message)

    await cloud.db.write(finish)


def task_of(request: Request, image: Image, targets: Targets = content.HERE, given: dict[str, Any] | None = None) -> ImageTask:
    """The task of an import that was asked for: `given`, or the request's body with the stores that it is for."""
    now = clock.now()
    return ImageTask(
        id=str(uuid.uuid4()),
        created_at=now,
        updated_at=now,
        image_id=image.id,
        owner=image.owner,
        user_id=request.identity.user_id,
        request_id=request.id,
        status="processing",
        input=given or {"image_id": image.id, "import_req": request.raw, "backend": list(targets.stores)},
    )


def task_view(task: ImageTask) -> dict[str, Any]:
    """A task as the API shows it."""
    return {
        "id": task.id,
        "type": "api_image_import" if "import_req" in task.input else "import",
        "status": task.status,
        "owner": task.owner,
        "image_id": task.image_id,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "input": task.input,
        "result": {"image_id": task.image_id} if task.status == "success" else None,
        "message": task.message,
        "created_at": isotime(task.created_at),
        "updated_at": isotime(task.updated_at),
        "expires_at": None if task.expires_at is None else isotime(task.expires_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }


async def list_tasks(request: Request) -> dict[str, Any]:
    """GET /v2/tasks: every task, newest first."""
    found = await image_tasks.IMAGE_TASKS.find(
        request.cloud.db, "1 = 1 ORDER BY created_at DESC, id LIMIT ?", request.cloud.config.list_limit
    )
    return {"tasks": [task_view(task) for task in found], "first": "/v2/tasks", "schema": "/v2/schemas/tasks"}


async def show_task(request: Request) -> dict[str, Any]:
    """GET /v2/tasks/{task_id}."""
    key = request.params["task_id"]
    task = await image_tasks.IMAGE_TASKS.get(request.cloud.db, key)
    if task is None:
        raise NotFound(f"No task found with ID {key}", kind="Task", id=key)
    return task_view(task)


async def image_task_list(request: Request) -> dict[str, Any]:
    """GET /v2/images/{image_id}/tasks: the owner's alone, since the address of an import may hold a secret."""
    image = await load_own(request)
    return {"tasks": [task_view(task) for task in await image_tasks.tasks_of(request.cloud.db, image.id)]}
