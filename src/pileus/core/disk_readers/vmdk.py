"""VMware's disk in one file, sparse or stream-optimized: a directory of tables of grains, which may be compressed."""

import struct
import zlib

from pileus.core.disk_readers.pieces import Disk, Pieces, Read, between, exactly, numbers, padded
from pileus.model.errors import Invalid

SECTOR = 512
AT_END = 0xFFFFFFFFFFFFFFFF
COMPRESSED = 1 << 16


def vmdk(read: Read, size: int) -> Disk:
    """A VMDK with its descriptor inside."""
    header = exactly(read, 0, SECTOR)
    if struct.unpack_from("<Q", header, 56)[0] == AT_END:
        header = exactly(read, size - 2 * SECTOR, SECTOR)
    flags, capacity, grain = struct.unpack_from("<IQQ", header, 8)
    count = between("number of grains in a table", struct.unpack_from("<I", header, 44)[0], 1, 1 << 16)
    directory = struct.unpack_from("<Q", header, 56)[0]
    length = between("size of a grain", grain, 1, 1 << 15) * SECTOR

    def pieces() -> Pieces:
        tables = -(-capacity // (grain * count))
        for number, table in enumerate(numbers(read, "<I", directory * SECTOR, tables)):
            if not table:
                continue
            for index, sector in enumerate(numbers(read, "<I", table * SECTOR, count)):
                if sector > 1:  # 0: never written, 1: zero
                    where = sector * SECTOR
                    data = _unpacked(read, where, length) if flags & COMPRESSED else padded(read, where, length)
                    yield (number * count + index) * length, data

    return Disk(size=capacity * SECTOR, pieces=pieces())


def _unpacked(read: Read, where: int, length: int) -> bytes:
    packed = struct.unpack("<QI", exactly(read, where, 12))[1]
    between("size of a packed grain", packed, 1, 2 * length + SECTOR)
    try:
        data = zlib.decompressobj().decompress(exactly(read, where + 12, packed), length)
    except zlib.error as error:
        raise Invalid(f"The image is damaged: a packed grain at {where} can't be read.") from error
    return data.ljust(length, b"\0")
