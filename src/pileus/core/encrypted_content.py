"""The form of image content that is encrypted at rest: a header, then chunks, each encrypted and authenticated by itself.

The header has HEADER bytes: MAGIC, version, bytes of plain content in a chunk, bytes of plain content in all, its SHA-256, and the file's
own key, sealed. A chunk is AES-256-GCM under that key: its number is the nonce, and it is bound to the header (but not to the sealed key,
so that keys can be sealed anew) and to whether it is the last one. A chunk that was changed, moved, cut off or taken from another file
does not open. An empty content has one chunk, of nothing.
"""

import struct

from pileus.model.base import Model

MAGIC = b"\x93pileus\x1a"
VERSION = 1
HEADER = 512
CHUNK = 64 << 10
TAG = 16
"""Bytes by which an encrypted chunk is longer than what it holds."""
LARGEST_CHUNK = 16 << 20
_FIXED = struct.Struct(">8sHIQ32s")
_LENGTH = struct.Struct(">H")
LONGEST_KEY = HEADER - _FIXED.size - _LENGTH.size


class Header(Model, frozen=True, kw_only=True):
    """What stands before the chunks. `sealed_key`: text that the cloud's seal opens to the file's key; `sha256`: of the plain content."""

    size: int
    sha256: bytes
    sealed_key: str
    chunk: int = CHUNK

    @property
    def chunks(self) -> int:
        """How many there are; at least one."""
        return max(1, -(-self.size // self.chunk))

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return HEADER + self.size + TAG * self.chunks

    def place(self, number: int) -> tuple[int, int]:
        """Where an encrypted chunk lies in the file, and its bytes."""
        return HEADER + number * (self.chunk + TAG), min(self.chunk, self.size - number * self.chunk) + TAG

    def bound(self, number: int) -> bytes:
        """What a chunk is authenticated together with."""
        return _fixed(self) + bytes([number == self.chunks - 1])


def is_encrypted(begin: bytes) -> bool:
    """Whether a file with this beginning is of this form."""
    return begin.startswith(MAGIC)


def nonce(number: int) -> bytes:
    """The nonce of a chunk; a key is never used for two files."""
    return number.to_bytes(12, "big")


def encode(header: Header) -> bytes:
    """The header as it stands in the file."""
    key = header.sealed_key.encode("ascii")
    if len(key) > LONGEST_KEY or len(header.sha256) != 32:
        raise ValueError("the header does not hold that")
    return (_fixed(header) + _LENGTH.pack(len(key)) + key).ljust(HEADER, b"\0")


def decode(data: bytes) -> Header:
    """The header of a file; ValueError, with the reason, when it is none of ours."""
    if len(data) < HEADER or not is_encrypted(data):
        raise ValueError("its header is cut off")
    _, version, chunk, size, sha256 = _FIXED.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"it is of version {version}, which this version of pileus does not know")
    (length,) = _LENGTH.unpack_from(data, _FIXED.size)
    begin = _FIXED.size + _LENGTH.size
    if not 0 < chunk <= LARGEST_CHUNK or size >= 1 << 62 or length > LONGEST_KEY or any(data[begin + length : HEADER]):
        raise ValueError("its header is damaged")
    try:
        key = data[begin : begin + length].decode("ascii")
    except UnicodeDecodeError as error:
        raise ValueError("its header is damaged") from error
    return Header(size=size, sha256=sha256, sealed_key=key, chunk=chunk)


def span(header: Header, offset: int, length: int) -> range:
    """The numbers of the chunks that hold these plain bytes; of an empty content, its only one."""
    end = min(offset + length, header.size)
    if header.size == 0:
        return range(1)
    return range(offset // header.chunk, -(-end // header.chunk)) if offset < end else range(0)


def _fixed(header: Header) -> bytes:
    return _FIXED.pack(MAGIC, VERSION, header.chunk, header.size, header.sha256)
