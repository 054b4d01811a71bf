"""Makes a qcow2 of pieces of a disk: what is zero takes no room."""

import struct
from collections.abc import Callable

from pileus.core.disk_readers.pieces import Disk

BITS = 16
CLUSTER = 1 << BITS
PER_TABLE = CLUSTER // 8
COUNTED = CLUSTER // 2
"""Clusters whose uses one block of counts holds, 16 bits each."""
IN_USE = 1 << 63
SECTOR = 512
Write = Callable[[int, bytes], object]
"""write(offset, data)."""


class Qcow2Writer:
    """Clusters one after the other as they come; the tables and the header at the end. Needs pieces in ascending order."""

    def __init__(self, write: Write, size: int) -> None:
        self._write = write
        self._end = size
        self._size = -(-size // SECTOR) * SECTOR  # nobody reads less than a sector
        self._next = 1  # the header's cluster comes first
        self._first = [0] * -(-self._size // (CLUSTER * PER_TABLE))
        self._table: list[int] = []
        self._tables = -1
        self._cluster = -1
        self._data = bytearray()

    def add(self, offset: int, data: bytes) -> None:
        """A piece of the disk; what lies beyond its size is left out."""
        data = data[: max(0, self._end - offset)]
        position = 0
        while position < len(data):
            number, within = divmod(offset + position, CLUSTER)
            part = data[position : position + CLUSTER - within]
            if number != self._cluster:
                self._end_cluster()
                self._cluster, self._data = number, bytearray(CLUSTER)
            self._data[within : within + len(part)] = part
            position += len(part)

    def finish(self) -> None:
        """Tables, counts, header."""
        self._end_cluster()
        self._end_table()
        first = self._take(b"".join(struct.pack(">Q", entry) for entry in self._first)) if self._first else 0
        blocks = 1
        while True:  # the counts count themselves
            table = -(-blocks * 8 // CLUSTER)
            total = self._next + blocks + table
            if total <= blocks * COUNTED:
                break
            blocks += 1
        counts = self._next
        for number in range(blocks):
            used = min(COUNTED, max(0, total - number * COUNTED))
            self._take(b"\0\1" * used)
        table_at = self._take(b"".join(struct.pack(">Q", (counts + number) << BITS) for number in range(blocks)))
        header = struct.pack(
            ">4sIQIIQIIQQIIQQQQII",
            b"QFI\xfb", 3, 0, 0, BITS, self._size, 0, len(self._first), first << BITS, table_at << BITS, table, 0, 0, 0, 0, 0, 4, 104,
        )  # fmt: skip
        self._write(0, header.ljust(CLUSTER, b"\0"))

    def _take(self, data: bytes) -> int:
        """Write whole clusters at the end; the number of the first."""
        start = self._next
        clusters = -(-len(data) // CLUSTER)
        self._write(start << BITS, data.ljust(clusters * CLUSTER, b"\0"))
        self._next += clusters
        return start

    def _end_cluster(self) -> None:
        if self._cluster < 0 or self._data.count(0) == CLUSTER:
            return
        number, index = divmod(self._cluster, PER_TABLE)
        if number != self._tables:
            self._end_table()
            self._tables, self._table = number, [0] * PER_TABLE
        self._table[index] = self._take(bytes(self._data)) << BITS | IN_USE
        self._data = bytearray(CLUSTER)

    def _end_table(self) -> None:
        if self._tables >= 0:
            packed = struct.pack(f">{PER_TABLE}Q", *self._table)
            self._first[self._tables] = self._take(packed) << BITS | IN_USE
            self._tables = -1


def write_qcow2(disk: Disk, write: Write) -> None:
    """The whole disk."""
    writer = Qcow2Writer(write, disk.size)
    for offset, data in disk.pieces:
        writer.add(offset, data)
    writer.finish()


def write_raw(disk: Disk, write: Write) -> None:
    """The disk as it is, with holes where it is zero; its size is for the caller to set."""
    for offset, data in disk.pieces:
        kept = data[: max(0, disk.size - offset)]
        if kept.count(0) != len(kept):
            write(offset, kept)
