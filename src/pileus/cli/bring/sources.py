"""What SOURCE names: files, OVAs disk by disk, the web; the other kinds have modules of their own."""

import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pileus.cli.bring.recognize import recognized
from pileus.core import ovf
from pileus.core.image_formats.sample import HEAD
from pileus.model.errors import Invalid, NotFound, Unavailable

BLOCK = 1 << 20
TIMEOUT = 60.0
MOST_MEMBERS = 64
WORDS = "a file, http(s)://..., cloud:NAME/IMAGE, libvirt:POOL/VOLUME, or a Proxmox backup (*.vma, *.vma.zst, *.vma.lzo, *.vma.gz)"


@dataclass
class Disk:
    """What becomes an image. `chunks` gives its bytes from an offset on. `sha512` is what its bytes must have, where that is known."""

    name: str
    disk_format: str
    container_format: str
    chunks: Callable[[int], Iterator[bytes]]
    size: int | None = None
    min_disk: int = 0
    min_ram: int = 0
    properties: dict[str, str] = field(default_factory=dict)
    sha512: str | None = None


@dataclass(frozen=True)
class Wishes:
    """How sources are to be read: where they may put files, how libvirt is reached, who is told how far they are."""

    scratch: Path
    libvirt: str = "qemu:///system"
    tell: Callable[[float, str], object] = lambda part, text: None


def disks(source: str, wishes: Wishes, held: ExitStack) -> list[Disk]:
    """The disks of a source, the first one to start from. What was made for them goes when `held` ends."""
    scheme, _, rest = source.partition(":")
    if scheme in ("http", "https"):
        return [_of_web(source)]
    if scheme == "cloud":
        from pileus.cli.bring import clouds

        return [clouds.disk(rest)]
    if scheme == "libvirt":
        from pileus.cli.bring import libvirt

        return [libvirt.disk(rest, wishes, held)]
    path = Path(source)
    if not path.exists():
        raise NotFound(f"There is no {source}. A source is {WORDS}.")
    if path.is_dir():
        raise Invalid(f"{source} is a directory. A source is {WORDS}.")
    from pileus.cli.bring import proxmox

    if proxmox.is_backup(path):
        return proxmox.disks(path, wishes, held)
    return of_file(path)


def of_file(path: Path, name: str = "") -> list[Disk]:
    """A file or block device as it is; an OVA's disks one by one."""
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
    found = _part(path, name or bare_name(path.name), 0, size)
    return _of_appliance(path, found) if found.container_format == "ova" else [found]


def bare_name(name: str) -> str:
    """A file's name without what says how it is packed."""
    path = PurePosixPath(name)
    while path.suffix.lower() in SUFFIXES:
        path = path.with_suffix("")
    return path.name or name


SUFFIXES = {
    *(".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso", ".ova", ".tar"),
    *(".gz", ".xz", ".bz2", ".zst", ".lz4", ".zip", ".lzo", ".vma"),
}


def _part(path: Path, name: str, start: int, size: int) -> Disk:
    """So many bytes of a file."""

    def read(offset: int, length: int) -> bytes:
        with path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), max(0, min(length, size - offset)), start + offset)

    disk_format, container = recognized(read, size)
    return Disk(name, disk_format, container, partial(_chunks, path, start, size), size)


def _chunks(path: Path, start: int, size: int, offset: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(start + offset)
        left = size - offset
        while left and (data := file.read(min(BLOCK, left))):
            left -= len(data)
            yield data


def _of_appliance(path: Path, whole: Disk) -> list[Disk]:
    """Each disk of an OVA, with what its description says of the machine."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = [one for _, one in zip(range(MOST_MEMBERS), archive, strict=False)]
            first = archive.extractfile(members[0]) if members and members[0].size <= ovf.LONGEST else None
            described = ovf.parse(first.read() if first else b"")
    except tarfile.TarError as error:
        raise Invalid(f"{path} is no sound OVA: {error}.") from error
    found: list[Disk] = []
    for one in described.disks:
        member = next((member for member in members if member.isreg() and member.name == one.name), None)
        if member is None:
            raise Invalid(f"{path} names a disk {one.name[:100]!r} that is not in it.")
        disk = _part(path, whole.name if not found else f"{whole.name}-{bare_name(one.name)}", member.offset_data, member.size)
        disk.properties = {**described.properties, "ovf_disk": one.name}
        disk.min_ram = described.memory_mib
        found.append(disk)
    return found


def _of_web(address: str) -> Disk:
    """What lies in the web, fetched by this machine."""
    head = b""
    size: int | None = None
    for number, data in enumerate(_fetched(address, 0, with_size=True)):
        if number == 0:
            size = int(data) if data else None
        else:
            head += data
        if len(head) >= HEAD:
            break
    path = unquote(urlsplit(address).path)
    disk_format, container = recognized(lambda offset, length: head[offset : offset + length], None)
    if disk_format == "raw" and path.lower().endswith((".vhd", ".vhdx")):
        disk_format = path.lower().rpartition(".")[2]  # which only its end would tell
    return Disk(bare_name(PurePosixPath(path).name) or "image", disk_format, container, partial(_fetched, address), size)


def _fetched(address: str, offset: int, with_size: bool = False) -> Iterator[bytes]:
    request = urllib.request.Request(address, headers={"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 a scheme that was looked at
            if with_size:
                yield (answer.headers.get("Content-Length") or "").encode()
            yield from after(iter(lambda: answer.read(BLOCK), b""), offset if answer.status != 206 else 0)
    except urllib.error.HTTPError as error:
        raise Unavailable(f"{address} answered {error.code} {error.reason}.") from error
    except urllib.error.URLError as error:
        raise Unavailable(f"{address} can't be fetched: {error.reason}.") from error


def after(chunks: Iterator[bytes], skipped: int) -> Iterator[bytes]:
    """What comes after so many bytes, from who gives only the whole."""
    for data in chunks:
        if skipped < len(data):
            yield data[skipped:]
        skipped = max(0, skipped - len(data))
