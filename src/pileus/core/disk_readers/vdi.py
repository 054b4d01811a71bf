"""VirtualBox's disk: a map of blocks, each anywhere in the file."""

import struct

from pileus.core.disk_readers.pieces import Disk, Pieces, Read, between, block, exactly, numbers

FREE = 0xFFFFFFFE  # and one more: never written, or discarded


def vdi(read: Read, size: int) -> Disk:
    """A VDI of version 1."""
    header = exactly(read, 0, 512)
    table, data = struct.unpack_from("<II", header, 0x154)
    capacity, length, extra, count = struct.unpack_from("<QIII", header, 0x170)
    between("size of a block", length, 512, 1 << 28)
    between("number of blocks", count, -(-capacity // length), 1 << 31)

    def pieces() -> Pieces:
        for number, entry in enumerate(numbers(read, "<I", table, -(-capacity // length))):
            if entry < FREE:
                yield from block(read, data + entry * (length + extra) + extra, number * length, length)

    return Disk(size=capacity, pieces=pieces())
