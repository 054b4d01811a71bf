"""Makes what is imported ready for servers: unpacks compressed images and OVAs, converts foreign disks to qcow2.

By our own readers of the formats (`core/disk_readers`), for the process that takes requests in may start no program (ADR 0019).
All of it blocks and is called in a thread; what it makes lies beside the file that it was made of, under names that begin with its name.
"""

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pileus.api.image import archives, decompressing, sparse
from pileus.api.image.files import Digest, look_through, read_through
from pileus.core import ovf
from pileus.core.disk_readers import READERS, Disk
from pileus.core.disk_readers.qcow2_writer import write_qcow2, write_raw
from pileus.core.image_formats import Inspector, check
from pileus.core.image_formats.check import find
from pileus.core.image_formats.others import compression
from pileus.model.errors import Invalid, TooLarge
from pileus.model.images import Image

FOREIGN = ("vmdk", "vdi", "vhd", "vhdx")
"""What becomes qcow2 whatever the operator has chosen: QEMU runs it slowly, or refuses to grow it."""
MOST_MEMBERS = 64
GIB = 1 << 30
Target = Literal["raw", "qcow2"] | None


@dataclass(frozen=True)
class Taken:
    """A finished file with what was counted of it (None: not yet, for it may only be on its way), and what it changes of its image."""

    path: Path
    digest: Digest | None
    inspector: Inspector
    changes: dict[str, Any]


def prepared(taken: Taken, image: Image, target: Target, limit: int) -> Taken:
    """The image's content as servers want it, counted; the same when it is so already. Invalid says what it is instead of what was said."""
    made = _prepared(taken, image, target, limit)
    return made if made.digest else replace(made, digest=read_through(made.path)[0])


def _prepared(taken: Taken, image: Image, target: Target, limit: int) -> Taken:
    container, kind = image.container_format or "bare", image.disk_format or "raw"
    if container == "bare" and kind != "raw" and kind in READERS and compression(taken.inspector.sample()):
        container = "compressed"  # clients can't all say so, and no such disk begins like that
    check(taken.inspector.sample(), kind, container)
    if container == "compressed":
        taken = _decompressed(taken, limit)
        taken = replace(taken, changes={**taken.changes, "container_format": "bare"})
    elif container == "ova":
        taken, kind = _from_archive(taken, image, limit)
    elif container == "docker" and compression(taken.inspector.sample()):
        return _decompressed(taken, limit)
    elif container != "bare":
        return taken
    wanted = target or ("qcow2" if kind in FOREIGN else None)
    if wanted is None or kind == wanted or kind not in READERS:
        return taken
    check(taken.inspector.sample(), kind, "bare")
    return _opened(_converted(taken, kind, wanted, limit), disk_format=wanted)


def remove(path: Path) -> None:
    """What was made of a file, and has not become an image's content."""
    for one in path.parent.glob(f"{path.name}.*"):
        if one.suffix in (".plain", ".disk", ".converted"):
            one.unlink(missing_ok=True)


def _opened(taken: Taken, **changes: Any) -> Taken:
    return Taken(taken.path, None, look_through(taken.path), {**taken.changes, **changes})


@contextmanager
def _made(path: Path, suffix: str) -> Iterator[tuple[Path, int]]:
    """A new file beside another one."""
    target = path.with_name(f"{path.name}{suffix}")
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        yield target, handle
        os.fsync(handle)
    finally:
        os.close(handle)


def _decompressed(taken: Taken, limit: int) -> Taken:
    """The file without its compression, with holes where there is nothing."""
    name = compression(taken.inspector.sample())
    assert name  # it was checked
    with _made(taken.path, ".plain") as (target, handle), taken.path.open("rb", buffering=0) as source:
        total = 0
        for data in decompressing.plain(source, name):
            if total + len(data) > limit:
                raise TooLarge(f"Unpacked, the image is larger than {limit} bytes.")
            sparse.write(handle, data, total)
            total += len(data)
        os.ftruncate(handle, total)
    return _opened(replace(taken, path=target))


def _from_archive(taken: Taken, image: Image, limit: int) -> tuple[Taken, str]:
    """An OVA's disk with its format; the description becomes properties, and the least disk and memory where nobody has said them."""
    with archives.members(taken.path, "The OVA", MOST_MEMBERS) as members:
        described = ovf.parse(archives.document(taken.path, members[0], ovf.LONGEST))
        wanted = described.chosen(image.properties.get("ovf_disk"))
        disk = next((one for one in members if archives.is_plain(one) and one.name == wanted.name), None)
        if disk is None or disk.size > limit:
            raise Invalid(f"The OVA has no file {wanted.name[:100]!r}, or it is too large.")
        made = _copied(taken, disk)
    if wanted.gzipped:
        if compression(made.inspector.sample()) != "gzip":
            raise Invalid(f"The OVA's file {wanted.name[:100]!r} is not compressed by gzip, as its description says.")
        made = _decompressed(made, limit)
    sample = made.inspector.sample()
    kind = next((one.name for one in find(sample)), "raw")
    size = check(sample, kind, "bare") or 0
    told = {"ovf_disk": wanted.name, "ovf_disks": ",".join(one.name for one in described.disks)} if len(described.disks) > 1 else {}
    changes: dict[str, Any] = {"container_format": "bare", "disk_format": kind}
    changes["properties"] = {**described.properties, **told, **image.properties}
    changes["min_disk"] = image.min_disk or -(-size // GIB)
    changes["min_ram"] = image.min_ram or described.memory_mib
    return replace(made, changes=changes), kind


def _copied(taken: Taken, member: tarfile.TarInfo) -> Taken:
    with _made(taken.path, ".disk") as (target, handle):
        total = 0
        for data in archives.blocks(taken.path, member):
            sparse.write(handle, data, total)
            total += len(data)
        os.ftruncate(handle, total)
    return _opened(replace(taken, path=target))


def _converted(taken: Taken, kind: str, wanted: str, limit: int) -> Taken:
    size = taken.inspector.size
    handle = os.open(taken.path, os.O_RDONLY | os.O_CLOEXEC)

    def read(offset: int, length: int) -> bytes:
        return os.pread(handle, length, offset) if offset < size else b""

    try:
        disk: Disk = READERS[kind](read, size)
        if disk.size > limit:
            raise TooLarge(f"The image's disk has {disk.size} bytes; at most {limit} are converted. Upload it as it is (PUT .../file).")
        with _made(taken.path, ".converted") as (target, out):

            def write(offset: int, data: bytes) -> None:
                os.pwrite(out, data, offset)

            if wanted == "qcow2":
                write_qcow2(disk, write)
            else:
                write_raw(disk, write)
                os.ftruncate(out, disk.size)
    finally:
        os.close(handle)
    return replace(taken, path=target)
