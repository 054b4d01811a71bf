"""QEMU's command line: golden files for whole guests, and what is refused. UPDATE_GOLDEN=1 writes the files anew."""

import json
import os
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from pileus.core.qemu_argv import DiskFile, Launch, carrier_argv, is_q35, machine_of, qemu_argv, translation_buffer_mib
from pileus.model.errors import Invalid
from pileus.model.guests import DiskImage, Guest, GuestDisk, GuestNic

GOLDEN = Path(__file__).parent / "golden" / "qemu_argv"
IMAGE = DiskImage(sha256="0" * 64, path="/images/0", format="qcow2", virtual_size=1 << 30)


def guest(**changes: object) -> Guest:
    root = GuestDisk(name="root", size=1 << 30, image=IMAGE)
    plain = Guest(id="11111111-2222-3333-4444-555555555555", name="hello", project_id="p", vcpus=1, memory_mib=512, disks=[root])
    return msgspec.structs.replace(plain, **changes)


def nic(number: int, model: str = "virtio") -> GuestNic:
    return GuestNic(port_id=f"port-{number}", network_id="n", domain_id="d", mac=f"fa:16:3e:00:00:{number:02x}", model=model, mtu=1450)


def launch(one: Guest, **changes: object) -> Launch:
    files = {
        disk.name: DiskFile(path="../../base/0", format="raw", read_only=True)
        if disk.cdrom
        else DiskFile(path=f"disks/{disk.name}", format="qcow2" if disk.image else "raw")
        for disk in one.disks
    }
    taps = {card.port_id: 20 + index for index, card in enumerate(one.nics)}
    plain = Launch(
        accelerator="tcg", qmp_fd=10, serial_fd=11, disks=files, taps=taps, config_drive="config.iso" if one.config_drive else None
    )
    return msgspec.structs.replace(plain, **changes)


DISKS = [
    GuestDisk(name="root", size=1 << 30, image=IMAGE, boot_index=0),
    GuestDisk(name="ephemeral0", size=1 << 30, filesystem="ext4"),
    GuestDisk(name="swap", size=1 << 30, filesystem="swap"),
]
UEFI = {
    "firmware": DiskFile(path="/usr/share/OVMF/OVMF_CODE_4M.fd", format="raw", read_only=True),
    "firmware_variables": DiskFile(path="disks/uefi-variables", format="raw"),
}
CASES: dict[str, tuple[Guest, dict[str, object]]] = {
    "plain": (guest(), {}),
    "network-and-disks": (guest(nics=[nic(1), nic(2)], disks=DISKS, config_drive=True, vcpus=4, memory_mib=2048), {}),
    "kvm": (guest(nics=[nic(1)]), {"accelerator": "kvm"}),
    "emulated-devices": (
        guest(
            nics=[nic(1, "e1000")], disks=[msgspec.structs.replace(disk, bus="ide") for disk in DISKS], config_drive=True, video="cirrus"
        ),
        {},
    ),
    "every-bus": (
        guest(disks=[GuestDisk(name=bus, size=1 << 30, bus=bus) for bus in ("scsi", "sata", "ide", "usb", "nvme", "virtio")]),
        {},
    ),
    "throttled": (guest(extra={"quota:disk_total_iops_sec": "500", "quota:disk_read_bytes_sec": "1000000"}), {}),
    "installer-cd": (
        guest(
            disks=[
                GuestDisk(name="root", size=1 << 30, boot_index=1),
                GuestDisk(name="cdrom", size=1 << 20, image=IMAGE, cdrom=True, boot_index=0),
            ]
        ),
        {},
    ),
    "kernel": (guest(kernel_command_line="console=ttyS0", rng=False, video="none"), {"kernel": "../../base/k", "initrd": "../../base/i"}),
    "uefi": (guest(firmware="uefi"), UEFI),
    "resumed": (guest(), {"incoming_fd": 12}),
    "incoming": (guest(), {"incoming": True, "machine": "pc-q35-7.0", "cpu_model": "max,la57=off,avx2=off"}),
    "even-memory": (guest(), {"incoming_fd": 12, "even_memory": True}),
    "without-sandbox": (guest(cpu_model="Nehalem"), {"sandbox": False}),
    "aarch64": (guest(architecture="aarch64", video="virtio"), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_is_as_it_was(name: str) -> None:
    one, changes = CASES[name]
    text = "\n".join(qemu_argv(one, launch(one, **changes))) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_carrier_has_disks_and_nothing_else() -> None:
    one = guest(disks=[GuestDisk(name="root", size=1 << 30), GuestDisk(name="cdrom", size=1 << 20, image=IMAGE, cdrom=True)])
    files = {"root": DiskFile(path="disks/root", format="qcow2"), "cdrom": DiskFile(path="../../base/x", format="raw", read_only=True)}
    argv = carrier_argv(one, launch(one, disks=files))
    assert argv[argv.index("-machine") + 1] == "none"
    assert argv[argv.index("-name") + 1].startswith(f"guest={one.id},")
    nodes = [json.loads(value)["node-name"] for word, value in pairwise(argv) if word == "-blockdev"]
    assert nodes == ["disk-root-file", "disk-root"]
    assert not {"-device", "-netdev", "-accel", "-m"} & set(argv)
    assert "-sandbox" in argv


@pytest.mark.parametrize("name", CASES)
def test_no_two_devices_have_one_address_or_name(name: str) -> None:
    one, changes = CASES[name]
    devices = [value for option, value in pairs(qemu_argv(one, launch(one, **changes))) if option == "-device"]
    options = [dict(part.split("=", 1) for part in device.split(",") if "=" in part) for device in devices]
    for key in ("id", "addr"):
        values = [option[key] for option in options if key in option]
        assert len(values) == len(set(values)), key


@pytest.mark.parametrize("name", CASES)
def test_a_guest_never_gets_more_than_it_needs(name: str) -> None:
    argv = qemu_argv(*((one := CASES[name][0]), launch(one, **CASES[name][1])))
    assert {"-nodefaults", "-no-user-config", "-S", "-no-shutdown"} <= set(argv)
    nodes = [json.loads(value) for option, value in pairs(argv) if option == "-blockdev"]
    writable = {node["filename"] for node in nodes if node["driver"] == "file" and not node.get("read-only")}
    assert all(path.startswith("disks/") for path in writable)


def pairs(argv: list[str]) -> list[tuple[str, str]]:
    return list(pairwise(argv))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"architecture": "vax"}, "vax"),
        ({"video": "hologram"}, "hologram"),
        ({"nics": [nic(1, "ne1")]}, "ne1"),
        ({"disks": [GuestDisk(name="root", size=1, bus="mfm")]}, "mfm"),
    ],
)
def test_what_is_not_known_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    one = guest(**wrong)
    with pytest.raises(Invalid, match=named):
        qemu_argv(one, launch(one))


def test_a_negative_boot_index_means_not_bootable() -> None:
    one = guest(disks=[GuestDisk(name="root", size=1, boot_index=-1)])
    assert "bootindex" not in " ".join(qemu_argv(one, launch(one)))


def test_commas_in_file_names_are_doubled() -> None:
    one = guest()
    argv = " ".join(qemu_argv(one, launch(one, console_log="a,b")))
    assert "logfile=a,,b," in argv


def test_the_machine_follows_the_guest() -> None:
    assert machine_of(guest(machine="pc-q35-7.2")) == "pc-q35-7.2"
    assert is_q35("pc-q35-7.2") and is_q35("q35") and not is_q35("pc")
    assert machine_of(guest(disks=[GuestDisk(name="root", size=1, bus="ide")])) == "pc"
    assert machine_of(guest(architecture="riscv64")) == "virt"


@pytest.mark.parametrize(("memory", "buffer"), [(64, 64), (512, 256), (8192, 512)])
def test_the_translation_buffer_is_neither_small_nor_large(memory: int, buffer: int) -> None:
    assert translation_buffer_mib(memory) == buffer
