"""What the readers share: the disk as they give it, numbers of a table, reading that must not end early."""

import struct
from collections.abc import Callable, Iterator

from pileus.model.base import Model
from pileus.model.errors import Invalid

Read = Callable[[int, int], bytes]
"""read(offset, length): bytes of the file, fewer at its end."""
Pieces = Iterator[tuple[int, bytes]]
PART = 1 << 20
ENTRIES = 8192
"""Entries of a table that are read at once."""


class Disk(Model, frozen=True, kw_only=True):
    """A disk: its size in bytes, and what is on it. A piece may reach beyond the size; what does is not of the disk."""

    size: int
    pieces: Pieces


def exactly(read: Read, offset: int, length: int) -> bytes:
    """So many bytes; Invalid when the file is too short."""
    data = read(offset, length)
    if len(data) != length:
        raise Invalid(f"The image is damaged: {length} bytes are missing at {offset}.")
    return data


def padded(read: Read, offset: int, length: int) -> bytes:
    """So many bytes, zero beyond the file's end: the last block may be cut off there."""
    data = read(offset, length)
    if not data:
        raise Invalid(f"The image is damaged: there is nothing at {offset}.")
    return data.ljust(length, b"\0")


def numbers(read: Read, layout: str, offset: int, count: int) -> Iterator[int]:
    """The numbers of a table, each of the struct `layout` ("<I")."""
    width = struct.calcsize(layout)
    for start in range(0, count, ENTRIES):
        part = min(ENTRIES, count - start)
        yield from struct.unpack(f"{layout[0]}{part}{layout[1:]}", exactly(read, offset + start * width, part * width))


def block(read: Read, where: int, on_disk: int, length: int) -> Pieces:
    """A block of the file as pieces of bounded length."""
    for start in range(0, length, PART):
        yield on_disk + start, padded(read, where + start, min(PART, length - start))


def between(name: str, value: int, least: int, most: int) -> int:
    """The value; Invalid when a header says something that no disk has."""
    if not least <= value <= most:
        raise Invalid(f"The image is damaged: its {name} is {value}.")
    return value


def raw(read: Read, size: int) -> Disk:
    """A plain disk."""

    def pieces() -> Pieces:
        for start in range(0, size, PART):
            yield start, exactly(read, start, min(PART, size - start))

    return Disk(size=size, pieces=pieces())
