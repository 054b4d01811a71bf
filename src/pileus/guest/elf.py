"""Reads from ELF files what decides the image's contents: needed libraries, and a kernel module's own description."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PT_LOAD = 1
PT_DYNAMIC = 2
DT_NEEDED = 1
DT_STRTAB = 5


class NotElf(ValueError):
    """The file is not a 64-bit little-endian ELF file."""


def _check(data: bytes) -> None:
    if data[:6] != b"\x7fELF\x02\x01":
        raise NotElf(NotElf.__doc__)


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode("ascii")


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (type, file offset, virtual address, size in the file) of each program header."""
    (table,) = struct.unpack_from("<Q", data, 32)
    entry_size, count = struct.unpack_from("<HH", data, 54)
    for index in range(count):
        kind, _flags, offset, address, _physical, size = struct.unpack_from("<IIQQQQ", data, table + index * entry_size)
        yield kind, offset, address, size


def needed(data: bytes) -> list[str]:
    """The shared libraries that the dynamic linker must find, in their order; empty for a static program."""
    _check(data)
    segments = list(_segments(data))
    dynamic = next(((offset, size) for kind, offset, _address, size in segments if kind == PT_DYNAMIC), None)
    if dynamic is None:
        return []
    entries = list(struct.iter_unpack("<qQ", data[dynamic[0] : dynamic[0] + dynamic[1] // 16 * 16]))
    strings = next(value for tag, value in entries if tag == DT_STRTAB)
    base = next(offset - address for kind, offset, address, size in segments if kind == PT_LOAD and address <= strings < address + size)
    return [_text(data, strings + base + value) for tag, value in entries if tag == DT_NEEDED]


def _section(data: bytes, wanted: str) -> bytes:
    (table,) = struct.unpack_from("<Q", data, 40)
    entry_size, count, names_index = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, table + index * entry_size) for index in range(count)]
    names = headers[names_index][4]
    for name, _kind, _flags, _address, offset, size in headers:
        if _text(data, names + name) == wanted:
            return data[offset : offset + size]
    return b""


def module_info(data: bytes) -> list[tuple[str, str]]:
    """The `key=value` pairs of a kernel module: `name`, `depends`, `alias` (many), `softdep` and more."""
    _check(data)
    fields = [field.decode("utf-8", "replace") for field in _section(data, ".modinfo").split(b"\0") if field]
    return [(key, value) for key, _equals, value in (field.partition("=") for field in fields)]
