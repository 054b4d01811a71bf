"""Proxmox's archives are read as they are described, and refused when they are damaged."""

import io

import pytest

from pileus.core import vma
from pileus.model.errors import Invalid
from tests.unit.core.vma_writer import archive

CONFIG = b"""#a comment
bios: ovmf
boot: order=virtio1;scsi0
cores: 4
sockets: 2
machine: pc-q35-8.1
memory: 2048
name: web
ostype: l26
agent: 1,fstrim_cloned_disks=1
scsihw: virtio-scsi-single
[snapshot]
memory: 1
"""
SYSTEM = b"\0" * 70000 + b"system" * 30000 + b"\0" * 5000
DATA = b"\0" * 65536 * 70 + b"d" * 4096 + b"\0" * 61440 + b"tail" * 100
DEVICES = {"drive-scsi0": SYSTEM, "drive-virtio1": DATA, "drive-efidisk0": b"e" * 4096}


def read(data: bytes) -> tuple[vma.Header, dict[str, bytes]]:
    """The header, and the devices' content."""
    file = io.BytesIO(data)
    header = vma.header(file.read)
    found = {number: bytearray(device.size) for number, device in header.devices.items()}
    for number, offset, part in vma.pieces(file.read, header):
        assert offset + len(part) <= header.devices[number].size
        found[number][offset : offset + len(part)] = part
    return header, {header.devices[number].name: bytes(content) for number, content in found.items()}


@pytest.mark.parametrize("order", [1, -1])
def test_devices_are_read_in_whatever_order_their_clusters_come(order: int) -> None:
    header, content = read(archive({"qemu-server.conf": CONFIG, "fw.conf": b"x"}, DEVICES, order))
    assert content == DEVICES
    assert header.configs == {"qemu-server.conf": CONFIG, "fw.conf": b"x"}


def test_the_memory_of_a_guest_is_passed_over() -> None:
    _, content = read(archive({}, {"drive-scsi0": SYSTEM, "vmstate": b"memory" * 20000}))
    assert content["drive-scsi0"] == SYSTEM and not any(content["vmstate"])


def test_the_configuration_says_which_disk_comes_first_and_what_the_machine_had() -> None:
    header, _ = read(archive({"qemu-server.conf": CONFIG}, DEVICES))
    said = vma.settings(header.configs)
    assert said["name"] == "web" and said["memory"] == "2048"
    assert vma.drives(said, header) == [(2, "virtio1"), (1, "scsi0")]
    assert vma.properties(said, "scsi0") == {
        "hw_cpu_cores": "4",
        "hw_cpu_sockets": "2",
        "hw_firmware_type": "uefi",
        "hw_machine_type": "q35",
        "hw_disk_bus": "scsi",
        "hw_scsi_model": "virtio-scsi",
        "os_type": "linux",
        "hw_qemu_guest_agent": "yes",
    }
    assert vma.properties({}, "virtio1") == {"hw_disk_bus": "virtio"}
    assert vma.drives({}, header) == [(1, "scsi0"), (2, "virtio1")]


WHOLE = archive({"qemu-server.conf": CONFIG}, DEVICES)
BODY = WHOLE.index(b"VMAE")


def changed(at: int, data: bytes) -> bytes:
    return WHOLE[:at] + data + WHOLE[at + len(data) :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"QFI\xfb" + bytes(20000), "no Proxmox backup"),
        (WHOLE[:5000], "no Proxmox backup"),
        (changed(7, b"\2"), "version 2"),
        (changed(100, b"x"), "another checksum"),
        (changed(56, b"\xff" * 4), "impossible length"),
        (WHOLE[:BODY], "clusters are missing"),
        (WHOLE[: BODY + 100], "an extent does not begin"),
        (WHOLE[: BODY + 5000], "in the middle of an extent"),
        (changed(BODY, b"VMAX"), "an extent does not begin"),
        (changed(BODY + 45, b"\x09"), "another checksum"),
        (WHOLE + WHOLE[BODY:], "comes twice"),
    ],
)
def test_what_is_damaged_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        read(data)
