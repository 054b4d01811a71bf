"""A write whose process has died is ended by whoever asks for the image next; one that goes on, however slowly, is not."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pileus.api.image import writers
from pileus.model.images import ImageStatus, ImageTask
from pileus.store import image_tasks, images
from pileus.store.database import Transaction
from tests.api.harness import TestCloud
from tests.api.image.calls import create, files, names, show, upload

WRITER = """
import sys
from pathlib import Path
from pileus.api.image import files, writers
directory, image, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with writers.writing(directory, image, name):
    intake = files.Intake(directory / files.UPLOADS / f"{image}.{name}")
    intake.write(b"half of it")
    print("writing", flush=True)
    sys.stdin.read()
"""


def begun(cloud: TestCloud, image_id: str, status: ImageStatus, ago: float) -> None:
    """As another process has written it."""

    async def write(tx: Transaction) -> None:
        found = await images.IMAGES.get(tx, image_id)
        assert found is not None
        await images.begin_upload(tx, found, "elsewhere", status)
        await images.IMAGES.set(tx, image_id, updated_at=time.time() - ago)

    cloud.write(write)


def writer(place: Path, image_id: str) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-c", WRITER, str(place), image_id, "elsewhere"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    return process


@pytest.mark.parametrize("asked", [show, lambda cloud, image: names(cloud)])
def test_an_image_whose_writer_was_killed_waits_for_content_again(cloud: TestCloud, asked: Any) -> None:
    image = create(cloud)
    process = writer(cloud.cloud.images, image["id"])
    try:
        begun(cloud, image["id"], ImageStatus.SAVING, ago=writers.PATIENCE + 1)
        assert show(cloud, image)["status"] == "saving"
        assert upload(cloud, image, b"content").status == 409
        process.kill()
        process.wait()
        asked(cloud, image)
        assert show(cloud, image)["status"] == "queued" and files(cloud) == []
        assert upload(cloud, image, b"content").status == 204
        assert show(cloud, image)["status"] == "active"
    finally:
        process.kill()
        process.communicate()


def test_a_write_that_has_just_begun_is_left_alone(cloud: TestCloud) -> None:
    image = create(cloud)
    begun(cloud, image["id"], ImageStatus.SAVING, ago=0)
    assert show(cloud, image)["status"] == "saving"


def test_an_import_whose_process_was_killed_has_failed(cloud: TestCloud) -> None:
    image = create(cloud)
    begun(cloud, image["id"], ImageStatus.IMPORTING, ago=writers.PATIENCE + 1)
    task = ImageTask(id="task", image_id=image["id"], owner="p", user_id="u", request_id="r", status="processing")
    cloud.write(lambda tx: image_tasks.start_task(tx, task))
    assert show(cloud, image)["status"] == "queued"
    (ended,) = cloud.run(image_tasks.tasks_of(cloud.db, image["id"]))
    assert ended.status == "failure" and "repeat it" in ended.message
