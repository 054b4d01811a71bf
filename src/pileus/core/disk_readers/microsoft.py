"""Microsoft's disks: VHD, fixed and dynamic, and VHDX."""

import struct
import uuid

from pileus.core.disk_readers.pieces import Disk, Pieces, Read, between, block, exactly, numbers, raw
from pileus.core.image_formats.microsoft import FILE_PARAMETERS, METADATA_LENGTH, METADATA_REGION, MOST_ENTRIES, REGION_TABLE
from pileus.core.image_formats.microsoft import VIRTUAL_SIZE as DISK_SIZE
from pileus.core.image_formats.microsoft import metadata as items_of
from pileus.model.errors import Invalid

SECTOR = 512
FIXED = 2
UNUSED = 0xFFFFFFFF
BAT_REGION = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
SECTOR_SIZE = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
PRESENT, PARTLY = 6, 7
IN_ONE_BITMAP = 1 << 23
"""Sectors of which one block of a VHDX's bitmaps tells."""
MIB = 1 << 20


def vhd(read: Read, size: int) -> Disk:
    """A VHD, by the footer at its end."""
    footer = exactly(read, size - SECTOR, SECTOR)
    header_at, capacity, kind = struct.unpack_from(">Q", footer, 16)[0], *struct.unpack_from(">QxxxxI", footer, 48)
    if kind == FIXED:
        return raw(read, between("size", capacity, 0, size - SECTOR))
    header = exactly(read, header_at, 1024)
    table, count, length = struct.unpack_from(">QxxxxII", header, 16)
    between("size of a block", length, SECTOR, 1 << 30)
    between("number of blocks", count, -(-capacity // length), 1 << 31)
    bitmap = -(-length // SECTOR // 8 // SECTOR) * SECTOR or SECTOR

    def pieces() -> Pieces:
        for number, sector in enumerate(numbers(read, ">I", table, -(-capacity // length))):
            if sector != UNUSED:
                yield from block(read, sector * SECTOR + bitmap, number * length, length)

    return Disk(size=capacity, pieces=pieces())


def vhdx(read: Read, size: int) -> Disk:
    """A VHDX that was closed cleanly and has no parent."""
    regions = _regions(read)
    items = items_of(read(regions[METADATA_REGION], METADATA_LENGTH)) if METADATA_REGION in regions else None
    if items is None or BAT_REGION not in regions or not {FILE_PARAMETERS, DISK_SIZE, SECTOR_SIZE} <= items.keys():
        raise Invalid("The image is damaged: a VHDX's table of blocks, or its metadata, is missing.")
    length = between("size of a block", int.from_bytes(items[FILE_PARAMETERS][:4], "little"), MIB, 1 << 28)
    capacity = int.from_bytes(items[DISK_SIZE][:8], "little")
    sector = between("size of a sector", int.from_bytes(items[SECTOR_SIZE][:4], "little"), 512, 4096)
    chunk = IN_ONE_BITMAP * sector // length
    blocks = -(-capacity // length)
    entries = blocks + (blocks - 1) // chunk if blocks else 0

    def pieces() -> Pieces:
        for index, entry in enumerate(numbers(read, "<Q", regions[BAT_REGION], entries)):
            if index % (chunk + 1) == chunk:
                continue  # of the bitmaps, which only disks with a parent need
            if entry & 7 == PARTLY:
                raise Invalid("The image is damaged: it names blocks of a parent disk.")
            if entry & 7 == PRESENT:
                yield from block(read, entry >> 20 << 20, (index - index // (chunk + 1)) * length, length)

    return Disk(size=capacity, pieces=pieces())


def _regions(read: Read) -> dict[bytes, int]:
    table = exactly(read, REGION_TABLE, 64 * 1024)
    count = struct.unpack_from("<I", table, 8)[0]
    entries = [table[16 + 32 * index : 48 + 32 * index] for index in range(min(count, MOST_ENTRIES))]
    return {entry[:16]: struct.unpack_from("<Q", entry, 16)[0] for entry in entries if len(entry) == 32}
