"""Writes Proxmox's archives for the tests, as the published description of the format has them."""

import hashlib
import struct
from collections.abc import Mapping

UUID = bytes(range(16))
CLUSTER, BLOCK = 65536, 4096


def archive(configs: Mapping[str, bytes], devices: Mapping[str, bytes], order: int = 1) -> bytes:
    """An archive of devices with their content; `order` -1: the clusters from the last to the first."""
    blobs = bytearray(b"\0")

    def kept(data: bytes) -> int:
        where = len(blobs)
        blobs.extend(struct.pack("<H", len(data)) + data)
        return where

    names = [kept(name.encode() + b"\0") for name in configs]
    contents = [kept(data) for data in configs.values()]
    infos = [(kept(name.encode() + b"\0"), len(data)) for name, data in devices.items()]
    blobs.extend(bytes(-len(blobs) % 512))
    head = bytearray(12288)
    struct.pack_into(">4sI16sQ", head, 0, b"VMA\0", 1, UUID, 1_700_000_000)
    struct.pack_into(">III", head, 48, 12288, len(blobs), 12288 + len(blobs))
    struct.pack_into(f">{len(names)}I", head, 2044, *names)
    struct.pack_into(f">{len(contents)}I", head, 3068, *contents)
    for number, (name, size) in enumerate(infos, 1):
        struct.pack_into(">IIQ", head, 4096 + 32 * number, name, 0, size)
    whole = head + blobs
    whole[32:48] = hashlib.md5(whole).digest()
    return bytes(whole) + _extents(list(devices.values()), order)


def _extents(devices: list[bytes], order: int) -> bytes:
    clusters = [
        (number, at // CLUSTER, data[at : at + CLUSTER].ljust(CLUSTER, b"\0"))
        for number, data in enumerate(devices, 1)
        for at in range(0, len(data), CLUSTER)
    ][::order]
    out = b""
    for start in range(0, len(clusters), 59):
        head, body, blocks = bytearray(512), b"", 0
        for index, (number, cluster, data) in enumerate(clusters[start : start + 59]):
            mask = 0
            for block in range(16):
                part = data[block * BLOCK : (block + 1) * BLOCK]
                if any(part):
                    mask |= 1 << block
                    body += part
                    blocks += 1
            struct.pack_into(">Q", head, 40 + 8 * index, mask << 48 | number << 32 | cluster)
        struct.pack_into(">4sHH16s", head, 0, b"VMAE", 0, blocks, UUID)
        head[24:40] = hashlib.md5(head).digest()
        out += bytes(head) + body
    return out
