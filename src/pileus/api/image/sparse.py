"""Writes content with holes where it is zero: a disk that is mostly empty takes little room, whatever its size."""

import os

GRAIN = 1 << 16
"""Bytes that become a hole together."""
ZEROS = bytes(GRAIN)


def write(handle: int, data: bytes, offset: int) -> None:
    """Write into a file that has nothing there yet. Its size is for the caller to set: what is zero at its end is not written."""
    begin = position = 0
    while position < len(data):
        end = min(len(data), position + GRAIN - (offset + position) % GRAIN)
        if not data[position] and not data[end - 1] and data[position:end] == ZEROS[: end - position]:
            _whole(handle, data, begin, position, offset)
            begin = end
        position = end
    _whole(handle, data, begin, position, offset)


def _whole(handle: int, data: bytes, begin: int, end: int, offset: int) -> None:
    rest = memoryview(data)[begin:end]
    while rest:
        done = os.pwrite(handle, rest, offset + begin)
        begin += done
        rest = rest[done:]
