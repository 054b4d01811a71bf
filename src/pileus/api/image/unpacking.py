"""Makes what is imported ready for servers: unpacks compressed images and OVAs, converts foreign disks to qcow2.

By our own readers of the formats (`core/disk_readers`), for the process that takes requests in may start no program (ADR 0019).
All of it blocks and is called in a thread; what it makes lies beside the file that it was made of, under names that begin with its name.
"""

import bz2
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pileus.api.image.files import BLOCK, Digest, read_through
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
    """A finished file with what was counted of it, and what it changes of its image."""

    path: Path
    digest: Digest
    inspector: Inspector
    changes: dict[str, Any]


def prepared(taken: Taken, image: Image, target: Target, limit: int) -> Taken:
    """The image's content as servers want it; the same when it is so already. Invalid says what it is instead of what was said."""
    container, kind = image.container_format or "bare", image.disk_format or "raw"
    if container == "bare" and kind != "raw" and kind in READERS and compression(taken.inspector.sample()):
        container = "compressed"  # clients can't all say so, and no such disk begins like that
    check(taken.inspector.sample(), kind, container)
    if container == "compressed":
        taken = _opened(_decompressed(taken, limit), container_format="bare")
    elif container == "ova":
        taken, kind = _from_archive(taken, image, limit)
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
    digest, inspector = read_through(taken.path)
    return Taken(taken.path, digest, inspector, {**taken.changes, **changes})


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
    """Streams of gzip, xz and bzip2, several in a row as the tools write them; holes where there is nothing."""
    name = compression(taken.inspector.sample())
    if name not in ("gzip", "xz", "bzip2"):
        raise Invalid(f"An image that is compressed by {name} is not unpacked here; use gzip, xz or bzip2, or unpack it before.")
    with _made(taken.path, ".plain") as (target, handle), taken.path.open("rb", buffering=0) as source:
        total = 0
        try:
            for data in _unpacked(source, name):
                total += len(data)
                if total > limit:
                    raise TooLarge(f"Unpacked, the image is larger than {limit} bytes.")
                if data.count(0) != len(data):
                    os.pwrite(handle, data, total - len(data))
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise Invalid(f"The image's {name} data is damaged: {error}.") from error
        os.ftruncate(handle, total)
    return replace(taken, path=target)


def _unpacked(source: Any, name: str) -> Iterator[bytes]:
    waiting = source.read(BLOCK)
    while waiting:
        machine: Any = {"gzip": lambda: zlib.decompressobj(31), "xz": lzma.LZMADecompressor, "bzip2": bz2.BZ2Decompressor}[name]()
        while not machine.eof:
            data = machine.decompress(waiting, BLOCK)
            waiting = machine.unconsumed_tail if name == "gzip" else b""
            if data:
                yield data
            if machine.eof:
                waiting = machine.unused_data
                break
            if not waiting and (name == "gzip" or machine.needs_input):
                waiting = source.read(BLOCK)
                if not waiting and not data:
                    raise EOFError("it ends too early")
        waiting = (waiting or source.read(BLOCK)).lstrip(b"\0")


def _from_archive(taken: Taken, image: Image, limit: int) -> tuple[Taken, str]:
    """An OVA's disk with its format; the description becomes properties, and the least disk and memory where nobody has said them."""
    with tarfile.open(taken.path, "r:") as archive:
        try:
            members = [one for _, one in zip(range(MOST_MEMBERS), archive, strict=False)]
            described = ovf.parse(_content(archive, members[0], ovf.LONGEST))
            disk = next((one for one in members if one.isreg() and one.name == described.disk), None)
            if disk is None or disk.size > limit:
                raise Invalid(f"The OVA has no file {described.disk[:100]!r}, or it is too large.")
            made = _copied(taken, disk.offset_data, disk.size)
        except tarfile.TarError as error:
            raise Invalid(f"The OVA is no sound tar archive: {error}.") from error
    sample = made.inspector.sample()
    kind = next((one.name for one in find(sample)), "raw")
    size = check(sample, kind, "bare") or 0
    changes: dict[str, Any] = {"container_format": "bare", "disk_format": kind}
    changes["properties"] = {**described.properties, **image.properties}
    changes["min_disk"] = image.min_disk or -(-size // GIB)
    changes["min_ram"] = image.min_ram or described.memory_mib
    return replace(made, changes=changes), kind


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = archive.extractfile(member) if member.isreg() and member.size <= most else None
    if file is None:
        raise Invalid("The OVA's description is too long, or no file.")
    return file.read()


def _copied(taken: Taken, offset: int, length: int) -> Taken:
    with _made(taken.path, ".disk") as (target, handle), taken.path.open("rb", buffering=0) as source:
        source.seek(offset)
        left = length
        while left:
            data = source.read(min(BLOCK, left))
            if not data:
                raise Invalid("The OVA ends before its disk does.")
            os.write(handle, data)
            left -= len(data)
    return _opened(replace(taken, path=target))


def _converted(taken: Taken, kind: str, wanted: str, limit: int) -> Taken:
    size = taken.digest.size
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
