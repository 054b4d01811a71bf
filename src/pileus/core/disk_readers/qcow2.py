"""QEMU's qcow2, versions 2 and 3: two levels of tables, clusters that may be compressed."""

import struct
import zlib

from pileus.core.disk_readers.pieces import Disk, Pieces, Read, between, exactly, numbers, padded
from pileus.model.errors import Invalid

OFFSET = 0x00FFFFFFFFFFFE00
COMPRESSED, ZERO = 1 << 62, 1
OTHER_COMPRESSION, EXTENDED = 1 << 3, 1 << 4


def qcow2(read: Read, size: int) -> Disk:
    """A qcow2 without a backing file. Invalid for one with zstd or subclusters, which are not read here."""
    header = exactly(read, 0, 72)
    version, bits, capacity = struct.unpack_from(">I12xIQ", header, 4)
    count, where = struct.unpack_from(">IQ", header, 36)
    between("size of a cluster", bits, 9, 21)
    features = struct.unpack(">Q", exactly(read, 72, 8))[0] if version >= 3 else 0
    if features & (OTHER_COMPRESSION | EXTENDED):
        raise Invalid("The image is compressed by zstd, or has subclusters: it can't be converted here. Upload it as it is (PUT .../file).")
    length = 1 << bits
    per_table = length // 8
    tables = -(-capacity // (length * per_table))
    between("first table", count, tables, 1 << 26)

    def pieces() -> Pieces:
        for number, entry in enumerate(numbers(read, ">Q", where, tables)):
            if not entry & OFFSET:
                continue
            for index, cluster in enumerate(numbers(read, ">Q", entry & OFFSET, per_table)):
                start = (number * per_table + index) * length
                if cluster & COMPRESSED:
                    yield start, _unpacked(read, cluster, bits)
                elif cluster & OFFSET and not cluster & ZERO:
                    yield start, padded(read, cluster & OFFSET, length)

    return Disk(size=capacity, pieces=pieces())


def _unpacked(read: Read, entry: int, bits: int) -> bytes:
    split = 62 - (bits - 8)
    where = entry & ((1 << split) - 1)
    sectors = (entry >> split) & ((1 << (bits - 8)) - 1)
    packed = read(where, (sectors + 1) * 512 - where % 512)
    try:
        data = zlib.decompressobj(-12).decompress(packed, 1 << bits)
    except zlib.error as error:
        raise Invalid(f"The image is damaged: a packed cluster at {where} can't be read.") from error
    if len(data) != 1 << bits:
        raise Invalid(f"The image is damaged: a packed cluster at {where} is too short.")
    return data
