"""Takes an image's bytes as they come by and keeps what the parsers of formats need."""

from pileus.core.image_formats import microsoft
from pileus.core.image_formats.sample import HEAD, TAIL, Sample


class Inspector:
    """Fed with chunks of any length, in order; its memory is bounded whatever the image's size."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = b""
        self._size = 0
        self._region = bytearray()
        self._wanted: tuple[int, int] | None = None  # offset and length of the region
        self._planned = False

    @property
    def size(self) -> int:
        """How many bytes came by."""
        return self._size

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        start = self._size
        self._size += len(data)
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        if not self._planned and len(self._head) == HEAD:
            self._planned = True
            self._wanted = microsoft.vhdx_metadata_region(bytes(self._head))
        if self._wanted is not None:
            self._capture(data, start, *self._wanted)
        self._tail = bytes(data[-TAIL:]) if len(data) >= TAIL else (self._tail + data)[-TAIL:]

    def sample(self) -> Sample:
        """What was kept."""
        return Sample(head=bytes(self._head), tail=self._tail, size=self._size, region=bytes(self._region))

    def _capture(self, data: bytes, start: int, offset: int, length: int) -> None:
        first = max(offset, start)
        last = min(offset + length, start + len(data))
        if first < last:
            self._region += data[first - start : last - start]
