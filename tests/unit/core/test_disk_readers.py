"""Disks of every format, made by qemu-img, read by us and written again: what is on them stays."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pileus.core.disk_readers import READERS, Disk, Read
from pileus.core.disk_readers.qcow2_writer import write_qcow2, write_raw
from pileus.model.errors import Invalid

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img, which makes the images, is missing (qemu-utils)")
MIB = 1 << 20
SIZE = 9 * MIB + 512 * 3
NAMES = {"vhd": "vpc"}
FORMS = [
    ("raw", ""),
    ("qcow2", ""),
    ("qcow2", "cluster_size=512"),
    ("qcow2", "cluster_size=2M"),
    ("qcow2", "compat=0.10"),
    ("qcow2", "compressed"),
    ("vmdk", "subformat=monolithicSparse"),
    ("vmdk", "subformat=streamOptimized"),
    ("vdi", ""),
    ("vdi", "static=on"),
    ("vhd", "subformat=dynamic,force_size=on"),
    ("vhd", "subformat=fixed,force_size=on"),
    ("vhdx", ""),
    ("vhdx", "block_size=1M"),
    ("vhdx", "subformat=fixed"),
]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with data here and there, some that packs well and some that does not, and nothing elsewhere."""
    chance = random.Random(5)
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    with path.open("wb") as file:
        file.truncate(SIZE)
        for start, data in (
            (0, b"boot" * 128),
            (MIB - 7, chance.randbytes(70000)),
            (5 * MIB, b"x" * MIB),
            (SIZE - 600, chance.randbytes(600)),
        ):
            file.seek(start)
            file.write(data)
    return path


def made(disk: Path, folder: Path, kind: str, options: str) -> Path:
    """The disk in a format, by qemu-img."""
    target = folder / f"disk.{kind}"
    more = ["-c"] if options == "compressed" else ["-o", options] if options else []
    command = ["qemu-img", "convert", "-f", "raw", "-O", NAMES.get(kind, kind), *more, str(disk), str(target)]
    subprocess.run(command, check=True, timeout=60)
    return target


def opened(path: Path, kind: str) -> Disk:
    """The disk in a file."""
    data = path.read_bytes()

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return READERS[kind](read, len(data))


def flat(found: Disk) -> bytes:
    """All of a disk."""
    out = bytearray(found.size)
    last = -1
    for offset, data in found.pieces:
        assert offset > last
        last = offset
        kept = data[: max(0, found.size - offset)]
        out[offset : offset + len(kept)] = kept
    return bytes(out)


@pytest.mark.parametrize(("kind", "options"), FORMS, ids=[f"{kind} {options}" for kind, options in FORMS])
def test_what_is_read_is_what_qemu_img_wrote(kind: str, options: str, disk: Path, tmp_path: Path) -> None:
    seen = flat(opened(made(disk, tmp_path, kind, options), kind))
    assert seen == disk.read_bytes().ljust(len(seen), b"\0")


@pytest.mark.parametrize("size", [0, 512, 65536, 65537, 600 * MIB])
def test_a_qcow2_of_ours_is_sound_and_holds_what_was_written(size: int, tmp_path: Path) -> None:
    source, target = tmp_path / "source.raw", tmp_path / "ours.qcow2"
    pieces = [(0, b"a" * 700), (60000, b"b" * 70000), (520 * MIB, b"c" * 65536), (599 * MIB, bytes(MIB))]
    with source.open("wb") as file:
        file.truncate(size)
    with source.open("r+b") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data[: max(0, size - offset)])
    with target.open("wb") as file:
        write_qcow2(Disk(size=size, pieces=iter(pieces)), lambda offset, data: (file.seek(offset), file.write(data)))
    subprocess.run(["qemu-img", "check", "-q", str(target)], check=True, timeout=60)
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", str(source), str(target)], check=True, timeout=60)
    assert target.stat().st_size < MIB


def test_a_raw_disk_of_ours_has_holes_where_there_is_nothing() -> None:
    written: list[int] = []
    write_raw(
        Disk(size=3000, pieces=iter([(0, bytes(1000)), (1000, b"x"), (2999, b"yz")])),
        lambda offset, data: written.append(offset + len(data)),
    )
    assert written == [1001, 3000]


@pytest.mark.parametrize(("kind", "options"), FORMS, ids=[f"{kind} {options}" for kind, options in FORMS])
def test_a_damaged_image_is_refused_or_read_and_never_read_beyond_itself(kind: str, options: str, disk: Path, tmp_path: Path) -> None:
    whole = made(disk, tmp_path, kind, options).read_bytes()
    chance = random.Random(kind + options)
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(min(len(data), chance.choice((600, 70000, 400000))))] = chance.choice((0, 1, 0x7F, 0xFF))
        data = data[: chance.choice((len(data), len(data), chance.randrange(len(data))))]
        assert_bounded(kind, bytes(data))


def assert_bounded(kind: str, data: bytes) -> None:
    """It ends by itself or is refused; each piece is small, however large the disk claims to be."""

    def read(offset: int, length: int) -> bytes:
        assert offset >= 0 and 0 <= length <= 32 * MIB
        return data[offset : offset + length]

    reader: Read = read
    try:
        total = 0
        for number, (_, piece) in enumerate(READERS[kind](reader, len(data)).pieces):
            assert len(piece) <= 16 * MIB
            total += len(piece)
            if number > 200 or total > 64 * MIB:
                return
    except Invalid:
        pass
