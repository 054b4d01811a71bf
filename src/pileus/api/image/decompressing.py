"""Unpacks gzip, xz, bzip2, zstd, lz4 and zip, a bounded piece at a time: little memory, whatever the data claims to become."""

import bz2
import importlib
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from pileus.api.image.files import BLOCK
from pileus.model.errors import Invalid

ZSTD_PIECE = 1024
"""Bytes of zstd at a time, which make 32 MiB at the most: four bytes may stand for 128 KiB."""
XZ_MEMORY = 256 << 20
LONGEST_READ = 4 << 20
"""What is read at once of an archive's directory; it says itself how long that is."""
DAMAGED = (zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error, EOFError, ValueError, IndexError, RuntimeError, OSError)
"""What Python's modules, and those of lz4, say of damaged data."""
MODULES = {"zstd": "zstandard", "lz4": "lz4.frame"}


class Bounded:
    """A file of which nobody reads more than a few MiB at once, or goes beyond its ends: where a header leads there, it is damaged."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self.tell, self.seekable, self.close = file.tell, file.seekable, file.close
        file.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """ValueError outside of the file."""
        if whence == os.SEEK_SET and not 0 <= offset <= self._size:
            raise ValueError("a part of it would lie beyond its end")
        return self._file.seek(offset, whence)

    def read(self, length: int = -1) -> bytes:
        """So many bytes, or what is left."""
        data = self._file.read(LONGEST_READ + 1 if length < 0 else min(length, LONGEST_READ + 1))
        if max(length, len(data)) > LONGEST_READ:
            raise Invalid(f"The archive is refused: a part of its directory claims to have {max(length, len(data))} bytes.")
        return data


class _Gzip:
    """zlib's machine, with the words of the others."""

    def __init__(self) -> None:
        self._machine = zlib.decompressobj(31)
        self._tail = b""
        self.needs_input = True

    def decompress(self, data: bytes, most: int) -> bytes:
        made = self._machine.decompress(self._tail + data, most)
        self._tail = self._machine.unconsumed_tail
        self.needs_input = not self._tail and len(made) < most
        return made

    @property
    def eof(self) -> bool:
        return self._machine.eof

    @property
    def unused_data(self) -> bytes:
        return self._machine.unused_data


class _Zstd:
    """zstd's machine gives all that a piece comes to: it gets small ones."""

    def __init__(self, module: Any) -> None:
        self._error = module.ZstdError
        self._machine = module.ZstdDecompressor().decompressobj()
        self._data = b""
        self._next = 0

    def decompress(self, data: bytes, most: int) -> bytes:
        if data:
            self._data, self._next = data, 0
        piece = self._data[self._next : self._next + ZSTD_PIECE]
        self._next += len(piece)
        try:
            return self._machine.decompress(piece)
        except self._error as error:
            raise ValueError(str(error)) from error

    @property
    def needs_input(self) -> bool:
        return self._next >= len(self._data)

    @property
    def eof(self) -> bool:
        return self._machine.eof

    @property
    def unused_data(self) -> bytes:
        return self._machine.unused_data + self._data[self._next :]


def plain(source: BinaryIO, name: str) -> Iterator[bytes]:
    """The content of an unbuffered file that is compressed so; several streams in a row as the tools write them, one file of a zip.
    Invalid when it is damaged."""
    with _told(name):
        yield from _member(source) if name == "zip" else _streams(source, _machine(name))


def _machine(name: str) -> Callable[[], Any]:
    if name in MODULES:
        try:
            module = importlib.import_module(MODULES[name])
        except ImportError as error:
            package = MODULES[name].partition(".")[0]
            raise Invalid(
                f"An image that is compressed by {name} can't be unpacked here: the Python package {package} is missing "
                "(pip install 'pileus[compression]'). Use gzip, xz or bzip2, or unpack it before."
            ) from error
        return (lambda: _Zstd(module)) if name == "zstd" else module.LZ4FrameDecompressor
    return {"gzip": _Gzip, "xz": lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY), "bzip2": bz2.BZ2Decompressor}[name]


def _streams(source: BinaryIO, make: Callable[[], Any]) -> Iterator[bytes]:
    waiting = source.read(BLOCK)
    while waiting:
        machine = make()
        while True:
            if data := machine.decompress(waiting, BLOCK):
                yield data
            if machine.eof:
                break
            waiting = b""
            if machine.needs_input and not (waiting := source.read(BLOCK)):
                raise EOFError("it ends too early")
        waiting = (machine.unused_data or source.read(BLOCK)).lstrip(b"\0")  # which tapes and padding leave


def _member(source: BinaryIO) -> Iterator[bytes]:
    """The one file of a zip. Its other compressions are refused: Python unpacks those without a bound."""
    with zipfile.ZipFile(Bounded(source)) as archive:  # type: ignore[arg-type]
        files = [one for one in archive.infolist() if not one.is_dir()]
        if len(files) != 1:
            raise Invalid(f"The zip archive holds {len(files)} files; an image is made of one. Pack the disk alone.")
        if files[0].flag_bits & 1 or files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Invalid("The zip archive is encrypted, or packed by something else than deflate; pack it as usual.")
        with archive.open(files[0]) as member:
            while data := member.read(BLOCK):
                yield data


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What the machines say of damaged data, as Invalid."""
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise Invalid(f"The image's {name} data is damaged: {error}.") from error
