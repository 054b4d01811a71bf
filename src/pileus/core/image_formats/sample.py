"""What is kept of an image's bytes, and what a format's parser says of them."""

import struct

from pileus.model.base import Model

HEAD = 1 << 20
TAIL = 4096


class Sample(Model, frozen=True, kw_only=True):
    """The first bytes (HEAD at most), the last (TAIL at most), the region that the format asked for, the length of the whole."""

    head: bytes
    tail: bytes
    size: int
    region: bytes = b""

    def unpack(self, layout: str, offset: int) -> tuple[int, ...] | None:
        """Numbers at an offset of the head; None where it is too short."""
        if offset + struct.calcsize(layout) > len(self.head):
            return None
        return struct.unpack_from(layout, self.head, offset)

    def number(self, layout: str, offset: int) -> int:
        """One number of the head; 0 where it is too short."""
        found = self.unpack(layout, offset)
        return found[0] if found else 0

    def end(self, length: int) -> bytes:
        """The last bytes of the image; empty when it is shorter than that."""
        return self.tail[-length:] if self.size >= length else b""


class Finding(Model, frozen=True, kw_only=True):
    """A format that was recognized. `refusal` says why such an image can't be taken although it is of that format."""

    name: str
    virtual_size: int | None = None
    refusal: str | None = None
