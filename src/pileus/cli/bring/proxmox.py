"""Proxmox's backups (vzdump): *.vma, packed by zstd, lzo, gzip or not at all. Each disk becomes a qcow2 in the scratch directory."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pileus.api.image import sparse
from pileus.cli.bring.sources import BLOCK, Disk, Wishes, bare_name, of_file
from pileus.core import vma
from pileus.core.disk_readers import Disk as ReadDisk
from pileus.core.disk_readers.qcow2_writer import write_qcow2
from pileus.model.errors import Invalid, NotFound

PROGRAMS = {".zst": ("zstd", "zstd"), ".lzo": ("lzop", "lzop"), ".gz": ("gzip", "gzip")}
"""Program and Debian package by which a backup is unpacked."""


def is_backup(path: Path) -> bool:
    """By its name where it is packed, by its first bytes otherwise."""
    suffixes = [one.lower() for one in path.suffixes[-2:]]
    if suffixes[-1:] == [".vma"] or (len(suffixes) == 2 and suffixes[0] == ".vma" and suffixes[1] in PROGRAMS):
        return True
    with path.open("rb") as file:
        return file.read(4) == vma.MAGIC


def disks(path: Path, wishes: Wishes, held: ExitStack) -> list[Disk]:
    """The guest's disks, the one that it starts from first."""
    folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pileus-import-", dir=wishes.scratch)))
    with _opened(path, wishes) as file:
        header = vma.header(file.read)
        said = vma.settings(header.configs)
        drives = vma.drives(said, header)
        if not drives:
            raise Invalid(f"{path} has no disk.")
        _restore(file, header, {number: folder / f"{number}.raw" for number, _ in drives})
    name = said.get("name") or bare_name(path.name)
    found: list[Disk] = []
    for number, drive in drives:
        made = _packed(folder / f"{number}.raw", header.devices[number].size)
        disk = of_file(made, name if not found else f"{name}-{drive}")[0]
        disk.properties = vma.properties(said, drive)
        disk.min_ram = int(said["memory"]) if said.get("memory", "").isdecimal() else 0
        found.append(disk)
    return found


def _restore(file: BinaryIO, header: vma.Header, paths: dict[int, Path]) -> None:
    """The devices as raw files with holes."""
    handles = {number: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600) for number, path in paths.items()}
    try:
        for number, offset, data in vma.pieces(file.read, header):
            if number in handles:
                sparse.write(handles[number], data, offset)
        for number, handle in handles.items():
            os.ftruncate(handle, header.devices[number].size)
    finally:
        for handle in handles.values():
            os.close(handle)


def _packed(raw: Path, size: int) -> Path:
    """The disk as qcow2, which is as small on its way as on this disk; the raw file goes."""
    target = raw.with_suffix(".qcow2")
    with raw.open("rb", buffering=0) as source, target.open("wb", buffering=0) as out:
        write_qcow2(ReadDisk(size=size, pieces=_areas(source.fileno(), size)), lambda offset, data: os.pwrite(out.fileno(), data, offset))
    raw.unlink()
    return target


def _areas(handle: int, size: int) -> Iterator[tuple[int, bytes]]:
    """What is in the file, holes left out."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(handle, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return
        end = os.lseek(handle, begin, os.SEEK_HOLE)
        for at in range(begin, end, BLOCK):
            yield at, os.pread(handle, min(BLOCK, end - at), at)
        at = end


class _Counted:
    """The archive as a file of which exactly so much is read as asked for, telling how far it is."""

    def __init__(self, stream: BinaryIO, packed: BinaryIO, size: int, wishes: Wishes) -> None:
        self._stream, self._packed, self._size, self._wishes = stream, packed, size, wishes

    def read(self, length: int) -> bytes:
        self._wishes.tell(min(1.0, self._packed.tell() / max(1, self._size)), "reading the backup")
        return self._stream.read(length)


@contextmanager
def _opened(path: Path, wishes: Wishes) -> Iterator[BinaryIO]:
    """The archive, unpacked on its way."""
    words = PROGRAMS.get(path.suffix.lower())
    with path.open("rb") as file:
        if words is None:
            yield cast(BinaryIO, _Counted(file, file, path.stat().st_size, wishes))
            return
        program = shutil.which(words[0])
        if program is None:
            raise NotFound(f"{words[0]} is missing, by which {path.name} is unpacked: apt-get install {words[1]}")
        argv = [program, "-d", "-c"]
        with subprocess.Popen(argv, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=BLOCK) as unpacking:
            assert unpacking.stdout and unpacking.stderr
            try:
                yield cast(BinaryIO, _Counted(cast(BinaryIO, unpacking.stdout), file, path.stat().st_size, wishes))
                if unpacking.stdout.read(1) or unpacking.wait():
                    raise Invalid(f"{path} is damaged: {words[0]}: {unpacking.stderr.read(500).decode(errors='replace').strip()}")
            finally:
                unpacking.kill()
