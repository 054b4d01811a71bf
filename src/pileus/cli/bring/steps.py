"""The way of an image from its source into the cloud; what fails, or is interrupted, leaves nothing behind."""

import contextlib
import hashlib
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from pileus.cli.bring.sources import Disk, Wishes, disks
from pileus.cli.bring.target import Target
from pileus.cli.progress import Step, step
from pileus.model.errors import Invalid, PileusError

GIB, MIB = 1 << 30, 1 << 20
EVERY = 0.5
SHOWN = (
    *("id", "name", "status", "disk_format", "container_format", "size", "virtual_size", "min_disk", "min_ram", "visibility"),
    *("os_hash_algo", "os_hash_value"),
)


@dataclass(frozen=True)
class Said:
    """What the user has said of the image; None and empty: what the source says."""

    name: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    visibility: str | None = None
    min_disk: int | None = None
    min_ram: int | None = None
    properties: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


def bring(source: str, target: Target, said: Said, wishes: Wishes) -> list[dict[str, Any]]:
    """All disks of a source as images. When one fails, none stays."""
    made: list[str] = []
    with _ended_by_signal(), ExitStack() as held:
        try:
            with step("Source") as current:
                found = disks(source, Wishes(wishes.scratch, wishes.libvirt, current.progress), held)
                current.note(", ".join(f"{one.name} ({one.disk_format})" for one in found))
            return [_bring_one(one, number, target, said, made) for number, one in enumerate(found)]
        except BaseException:
            _take_back(target, made)
            raise


def _bring_one(disk: Disk, number: int, target: Target, said: Said, made: list[str]) -> dict[str, Any]:
    name = disk.name if said.name is None else said.name if number == 0 else f"{said.name}-{number + 1}"
    attributes: dict[str, Any] = {
        "name": name,
        "disk_format": said.disk_format or disk.disk_format,
        "container_format": said.container_format or disk.container_format,
        "min_disk": disk.min_disk if said.min_disk is None else said.min_disk,
        "min_ram": disk.min_ram if said.min_ram is None else said.min_ram,
        **({"visibility": said.visibility} if said.visibility else {}),
        **({"tags": list(said.tags)} if said.tags else {}),
        **disk.properties,
        **said.properties,
    }
    with step("Image") as current:
        image = target.create(attributes)
        made.append(image["id"])
        current.note(f"{name} {image['id']}")
    with step("Upload") as current:
        broken = target.stage(image["id"], disk.chunks, disk.size, lambda done: _tell(current, done, disk.size))
        current.note(_amount(disk.size) if disk.size is not None else "")
    with step("Import") as current:
        current.note("unpacked, converted and hashed by the cloud")
        target.bring_in(image["id"])
        image = settled(target, image["id"])
        current.note(f"{image['disk_format']}, {_amount(image['size'])}")
    if broken or disk.sha512:
        _compare(disk, image, attributes)
    if not image["min_disk"] and said.min_disk is None and image.get("virtual_size"):
        image = target.change(image["id"], min_disk=-(-image["virtual_size"] // GIB))
    return {key: image.get(key) for key in SHOWN} | {"source": disk.name}


def settled(target: Target, image_id: str) -> dict[str, Any]:
    """The image when it is active: the answer to an import may come before its end. Invalid with the reason when it failed."""
    while True:
        image = target.show(image_id)
        if image["status"] == "active":
            return image
        if image["status"] not in ("importing", "saving", "uploading"):
            raise Invalid(f"The import failed: {target.failure(image_id) or 'the image has status ' + image['status']}")
        time.sleep(EVERY)


def _compare(disk: Disk, image: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Where the cloud keeps what was sent, it must be the source's content."""
    same = all(image[key] == attributes[key] for key in ("disk_format", "container_format")) and image["size"] == disk.size
    if not same or image.get("os_hash_algo") != "sha512":
        return
    wanted = disk.sha512
    if wanted is None:
        counted = hashlib.sha512()
        for data in disk.chunks(0):
            counted.update(data)
        wanted = counted.hexdigest()
    if wanted != image["os_hash_value"]:
        raise Invalid(f"The image {disk.name} that came in is not what the source has: the hashes differ. Try it again.")


def _tell(current: Step, done: int, size: int | None) -> None:
    if size:
        current.progress(done / size, f"{_amount(done)} of {_amount(size)}")
    else:
        current.note(_amount(done))


def _amount(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def _take_back(target: Target, made: list[str]) -> None:
    for image_id in made:
        try:
            target.remove(image_id)
        except PileusError as error:
            with step("Clean up") as current:
                current.note(f"the image {image_id} could not be removed: {error.message}")


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: with what was made removed."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
