"""Proxmox's backups: the Virtual Machine Archive, version 1, as Proxmox has published it (vma_spec.txt of its QEMU).

A header with the configuration and the list of devices, then extents: 512 bytes that say which clusters of 64 KiB follow, and which of
their blocks of 4 KiB are there; what is zero is left out. Clusters of the devices come in any order, each of them once.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping

from pileus.model.base import Model
from pileus.model.errors import Invalid

Read = Callable[[int], bytes]
"""read(length): the next bytes, fewer at the end."""
MAGIC, EXTENT = b"VMA\0", b"VMAE"
CLUSTER, BLOCK, BLOCKS = 65536, 4096, 16
EXTENT_HEAD, PER_EXTENT = 512, 59
FIXED = 12288
"""Bytes of the header before the buffer of names and configurations."""
LONGEST = 32 << 20
LARGEST = 1 << 44
CONFIGS, DEVICES = 256, 256
MEMORY = "vmstate"
"""The device that is no disk: the guest's memory."""
MOST_TEXT = 255
HARDWARE = {"ovmf": ("hw_firmware_type", "uefi"), "seabios": ("hw_firmware_type", "bios")}


class Device(Model, frozen=True, kw_only=True):
    """A disk of the guest: `drive-scsi0`, with its size in bytes."""

    name: str
    size: int


class Header(Model, frozen=True, kw_only=True):
    """What the archive holds. `configs`: files of the configuration by name; `devices` by their number."""

    uuid: bytes
    configs: dict[str, bytes]
    devices: dict[int, Device]


def header(read: Read) -> Header:
    """The archive's header. Invalid when it is damaged, or none."""
    data = read(FIXED)
    if len(data) < FIXED or not data.startswith(MAGIC):
        raise Invalid("This is no Proxmox backup: it does not begin as a VMA archive does.")
    if (version := struct.unpack_from(">I", data, 4)[0]) != 1:
        raise Invalid(f"The Proxmox backup is of version {version}; version 1 is read.")
    where, length, whole = struct.unpack_from(">III", data, 48)
    if not FIXED <= where <= where + length <= whole <= LONGEST:
        raise _damaged("its header has an impossible length")
    data += read(whole - FIXED)
    if len(data) != whole or hashlib.md5(data[:32] + bytes(16) + data[48:], usedforsecurity=False).digest() != data[32:48]:
        raise _damaged("its header has another checksum")
    blobs = data[where : where + length]
    names = struct.unpack_from(f">{CONFIGS}I", data, 2044)
    contents = struct.unpack_from(f">{CONFIGS}I", data, 3068)
    devices: dict[int, Device] = {}
    for number in range(1, DEVICES):
        name, size = struct.unpack_from(">IxxxxQ", data, 4096 + 32 * number)
        if name:
            if not 0 < size <= LARGEST:
                raise _damaged(f"a device has {size} bytes")
            devices[number] = Device(name=_text(blobs, name), size=size)
    configs = {_text(blobs, name): _blob(blobs, content) for name, content in zip(names, contents, strict=True) if name and content}
    return Header(uuid=data[8:24], configs=configs, devices=devices)


def pieces(read: Read, found: Header) -> Iterator[tuple[int, int, bytes]]:
    """What is on the devices: number of the device, offset, bytes; all else is zero. Invalid when the archive is damaged or cut off."""
    seen = {number: bytearray(-(-_clusters(device) // 8)) for number, device in found.devices.items()}
    left = {number: _clusters(device) for number, device in found.devices.items()}
    while head := read(EXTENT_HEAD):
        for number, cluster, mask in _extent(head, found.uuid):
            device = found.devices.get(number)
            if device is None:
                raise _damaged(f"it has data of a device {number} that its header does not name")
            data = _cluster(read, mask)
            if device.name == MEMORY:
                continue
            if cluster >= _clusters(device) or seen[number][cluster // 8] >> cluster % 8 & 1:
                raise _damaged(f"cluster {cluster} of {device.name} lies beyond it, or comes twice")
            seen[number][cluster // 8] |= 1 << cluster % 8
            left[number] -= 1
            for offset, part in data:
                start = cluster * CLUSTER + offset
                yield number, start, part[: max(0, device.size - start)]
    for number, device in found.devices.items():
        if left[number] and device.name != MEMORY:
            raise _damaged(f"it ends before {device.name} does: {left[number]} of its clusters are missing")


def _extent(head: bytes, uuid: bytes) -> list[tuple[int, int, int]]:
    """Device, cluster and mask of blocks, of each cluster of an extent."""
    if len(head) < EXTENT_HEAD or not head.startswith(EXTENT) or head[8:24] != uuid:
        raise _damaged("an extent does not begin where one should")
    if hashlib.md5(head[:24] + bytes(16) + head[40:], usedforsecurity=False).digest() != head[24:40]:
        raise _damaged("an extent has another checksum")
    entries = struct.unpack_from(f">{PER_EXTENT}Q", head, 40)
    found = [(entry >> 32 & 0xFF, entry & 0xFFFFFFFF, entry >> 48) for entry in entries if entry >> 32 & 0xFF]
    if sum(mask.bit_count() for _, _, mask in found) != struct.unpack_from(">H", head, 6)[0]:
        raise _damaged("an extent says two numbers of blocks")
    return found


def _cluster(read: Read, mask: int) -> list[tuple[int, bytes]]:
    """The runs of blocks that are there, each with its offset in the cluster."""
    data = read(mask.bit_count() * BLOCK) if mask else b""
    if len(data) != mask.bit_count() * BLOCK:
        raise _damaged("it ends in the middle of an extent")
    if mask == 0xFFFF:
        return [(0, data)]
    there = [number for number in range(BLOCKS) if mask >> number & 1]
    return [(number * BLOCK, data[index * BLOCK : (index + 1) * BLOCK]) for index, number in enumerate(there)]


def _clusters(device: Device) -> int:
    return -(-device.size // CLUSTER)


def _blob(blobs: bytes, where: int) -> bytes:
    if where + 2 > len(blobs):
        raise _damaged("a name lies beyond its header")
    length = struct.unpack_from("<H", blobs, where)[0]  # the one number that is little-endian
    data = blobs[where + 2 : where + 2 + length]
    if len(data) != length:
        raise _damaged("a name lies beyond its header")
    return data


def _text(blobs: bytes, where: int) -> str:
    return _blob(blobs, where).rstrip(b"\0").decode("utf-8", "replace")[:MOST_TEXT]


def _damaged(why: str) -> Invalid:
    return Invalid(f"The Proxmox backup is damaged: {why}.")


def settings(configs: Mapping[str, bytes]) -> dict[str, str]:
    """The lines of `qemu-server.conf` before its snapshots: name, memory, cores, ..."""
    found: dict[str, str] = {}
    for line in configs.get("qemu-server.conf", b"").decode("utf-8", "replace").splitlines():
        if line.startswith("["):
            break
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            found.setdefault(key.strip(), value.strip()[:MOST_TEXT])
    return found


def properties(said: Mapping[str, str], drive: str) -> dict[str, str]:
    """The image's properties of the guest's configuration, for one of its drives (`scsi0`)."""
    found: dict[str, str] = {}
    for key, name in (("cores", "hw_cpu_cores"), ("sockets", "hw_cpu_sockets")):
        if said.get(key, "").isdecimal():
            found[name] = said[key]
    if said.get("bios") in HARDWARE:
        name, value = HARDWARE[said["bios"]]
        found[name] = value
    if "q35" in said.get("machine", ""):
        found["hw_machine_type"] = "q35"
    bus = drive.rstrip("0123456789")
    if bus in ("scsi", "virtio", "sata", "ide"):
        found["hw_disk_bus"] = bus
        if bus == "scsi" and said.get("scsihw", "").startswith("virtio-scsi"):
            found["hw_scsi_model"] = "virtio-scsi"
    kind = said.get("ostype", "")
    if kind.startswith(("l2", "w")):
        found["os_type"] = "linux" if kind.startswith("l2") else "windows"
    if said.get("agent", "").partition(",")[0] in ("1", "enabled=1"):
        found["hw_qemu_guest_agent"] = "yes"
    return found


def drives(said: Mapping[str, str], found: Header) -> list[tuple[int, str]]:
    """The disks that become images: numbers and drives (`scsi0`), the one that the guest starts from first. Not firmware and memory."""
    named = {number: device.name.removeprefix("drive-") for number, device in found.devices.items() if device.name != MEMORY}
    disks = [(number, drive) for number, drive in named.items() if not drive.startswith(("efidisk", "tpmstate"))]
    order = [*said.get("boot", "").removeprefix("order=").split(";"), said.get("bootdisk", "")]
    return sorted(disks, key=lambda one: order.index(one[1]) if one[1] in order else len(order))
