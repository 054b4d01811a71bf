"""The first bytes of disks: empty qcow2 images and swap areas as bytes to write, and what a qcow2 header says."""

import struct

from pileus.model.base import Model
from pileus.model.errors import Invalid

CLUSTER = 65536
_MAGIC = 0x514649FB
_COPIED = 1 << 63
_BACKING_FORMAT = 0xE2792ACA
_L1_COVERS = CLUSTER * (CLUSTER // 8)  # bytes of disk that one entry of the L1 table stands for: 512 MiB


class Qcow2Header(Model, frozen=True, kw_only=True):
    """What matters of a qcow2 header before the image is trusted."""

    version: int
    virtual_size: int
    backing_file: bool
    data_file: bool
    encrypted: bool


def read_qcow2_header(data: bytes) -> Qcow2Header | None:
    """The header from an image's first 80 bytes or more; None when it is not qcow2."""
    if len(data) < 80 or struct.unpack_from(">I", data)[0] != _MAGIC:
        return None
    version, backing_offset = struct.unpack_from(">IQ", data, 4)
    size, crypt = struct.unpack_from(">QI", data, 24)
    incompatible = struct.unpack_from(">Q", data, 72)[0] if version >= 3 else 0
    return Qcow2Header(
        version=version, virtual_size=size, backing_file=backing_offset != 0, data_file=bool(incompatible & 4), encrypted=crypt != 0
    )


def read_backing_name(data: bytes) -> str:
    """The name of the file that a qcow2 image is over, from its first 4096 bytes; empty when there is none."""
    header = read_qcow2_header(data)
    if header is None or not header.backing_file:
        return ""
    offset, length = struct.unpack_from(">QI", data, 8)
    return data[offset : offset + length].decode(errors="replace")


def empty_qcow2(size: int, backing: str | None = None, backing_format: str = "raw") -> bytes:
    """A qcow2 (version 3) image of `size` bytes that holds nothing yet, over a backing file if one is named.

    Written by us because a process for each disk costs more than the whole rest of making it. Layout: header, refcount table,
    refcount block, L1 table. `size` is rounded up to a sector.
    """
    size = (size + 511) // 512 * 512
    l1_entries = max(1, -(-size // _L1_COVERS))
    l1_clusters = -(-l1_entries * 8 // CLUSTER)
    clusters = 3 + l1_clusters
    if clusters > CLUSTER // 2:  # one refcount block counts that many clusters
        raise Invalid(f"A disk of {size} bytes is too large.")
    extensions = b""
    if backing:
        extensions += _extension(_BACKING_FORMAT, backing_format.encode())
    extensions += _extension(0, b"")
    name = backing.encode() if backing else b""
    offset = 104 + len(extensions)
    if len(name) > 1023:
        raise Invalid("The backing file's name is longer than 1023 bytes.")
    header = struct.pack(
        ">IIQIIQIIQQIIQQQQII",
        _MAGIC,
        3,
        offset if backing else 0,
        len(name),
        16,  # cluster size as a power of two
        size,
        0,  # no encryption
        l1_entries,
        3 * CLUSTER,  # where the L1 table lies
        CLUSTER,  # where the refcount table lies
        1,
        0,  # internal snapshots
        0,
        0,  # incompatible, compatible, autoclear features
        0,
        0,
        4,  # refcounts of 16 bits
        104,
    )
    first = (header + extensions + name).ljust(CLUSTER, b"\0")
    table = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
    block = struct.pack(f">{clusters}H", *([1] * clusters)).ljust(CLUSTER, b"\0")
    return first + table + block + bytes(l1_clusters * CLUSTER)


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b"\0")


def swap_header(size: int, uuid: bytes, label: str = "", page: int = 4096) -> bytes:
    """The first page of a swap area of `size` bytes, as Linux's mkswap writes it. `uuid` is 16 bytes."""
    pages = size // page
    if pages < 10:
        raise Invalid(f"A swap disk of {size} bytes is too small.")
    head = bytes(1024) + struct.pack("<III", 1, min(pages - 1, 0xFFFFFFFF), 0) + uuid + label.encode()[:15].ljust(16, b"\0")
    return head.ljust(page - 10, b"\0") + b"SWAPSPACE2"
