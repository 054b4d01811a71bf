"""What the bytes of a source are, so that nobody has to say it."""

import io
from collections.abc import Callable
from typing import BinaryIO, cast

from pileus.api.image import decompressing
from pileus.core.image_formats.check import find
from pileus.core.image_formats.microsoft import vhdx_metadata_region
from pileus.core.image_formats.others import compression, tar
from pileus.core.image_formats.sample import HEAD, TAIL, Sample
from pileus.model.errors import Invalid

ReadAt = Callable[[int, int], bytes]
"""read(offset, length): fewer bytes at the end."""
CONTAINERS = ("oci-layout", "index.json", "manifest.json", "repositories", "blobs/")


def recognized(read: ReadAt, size: int | None) -> tuple[str, str]:
    """disk_format and container_format. Where the size is not known, what only the end would tell is not seen."""
    head = read(0, HEAD)
    region = vhdx_metadata_region(head)
    sample = Sample(
        head=head,
        tail=read(max(0, size - TAIL), TAIL) if size is not None else b"",
        size=size if size is not None else 1 << 62,
        region=read(*region) if region and size is not None else b"",
    )
    found = find(sample)
    if found:
        return found[0].name, "bare"
    first = tar(sample)
    if first is not None and first.lower().endswith(".ovf"):
        return "raw", "ova"
    if first is not None and first.startswith(CONTAINERS):
        return "raw", "docker"
    name = compression(sample)
    if name is None:
        return "raw", "bare"
    return _inside(read, name, size), "compressed"


def _inside(read: ReadAt, name: str, size: int | None) -> str:
    """The format of what is packed, by its beginning; raw where that is not to be had."""
    if name == "zip" and size is None:
        return "raw"
    head = b""
    try:
        for data in decompressing.plain(cast(BinaryIO, _File(read, size)), name):
            head += data
            if len(head) >= HEAD:
                break
    except Invalid:  # the service says what is wrong with it
        return "raw"
    found = find(Sample(head=head[:HEAD], tail=b"", size=1 << 62))
    return found[0].name if found else "raw"


class _File(io.RawIOBase):
    """A source as a file that can be read."""

    def __init__(self, read: ReadAt, size: int | None) -> None:
        self._read, self._size, self._at = read, size, 0

    def read(self, length: int = -1) -> bytes:
        data = self._read(self._at, length if length >= 0 else (self._size or 0) - self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size or 0}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True
