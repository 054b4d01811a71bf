"""The guest that a host is told to run, from a server, its ports and its image."""

from pathlib import PurePath
from typing import Any

import msgspec

from pileus.model.base import Model
from pileus.model.guests import DiskImage, Guest, GuestDisk, GuestNic, ObservedGuest, ObservedPower, Power
from pileus.model.servers import Server

GIB = 1 << 30
MIB = 1 << 20
OFF = frozenset({ObservedPower.STOPPED, ObservedPower.CRASHED, ObservedPower.ABSENT})
BUSES = {"virtio": "virtio", "scsi": "scsi", "sata": "sata", "ide": "ide", "usb": "usb"}


class Card(Model, frozen=True, kw_only=True):
    """A port as a guest's card needs it."""

    port_id: str
    network_id: str
    domain_id: str
    mac: str
    mtu: int


def guest_of(server: Server, cards: list[Card], images: PurePath, metadata: dict[str, str]) -> Guest:
    """The whole desired state of the server's guest. `images` is the directory of image content, by hash."""
    properties: dict[str, Any] = server.image.get("properties") or {}
    model = str(properties.get("hw_vif_model", "virtio"))
    return Guest(
        id=server.id,
        name=server.name,
        project_id=server.project_id,
        user_id=server.user_id,
        generation=server.generation,
        power=server.power,
        reboots_soft=server.reboots_soft,
        reboots_hard=server.reboots_hard,
        builds=server.builds,
        made=server.launched_at is not None and server.observed is not None and server.observed.builds == server.builds,
        vcpus=server.flavor.vcpus,
        memory_mib=server.flavor.ram,
        architecture=str(properties.get("hw_architecture") or properties.get("architecture") or "x86_64"),
        machine=properties.get("hw_machine_type"),
        firmware=str(properties.get("hw_firmware_type", "bios")),
        vm_mode=str(properties.get("hw_vm_mode") or properties.get("vm_mode") or "hvm"),
        disks=disks_of(server, images),
        nics=[
            GuestNic(port_id=card.port_id, network_id=card.network_id, domain_id=card.domain_id, mac=card.mac, mtu=card.mtu, model=model)
            for card in cards
        ],
        video=str(properties.get("hw_video_model", "vga")),
        rng=str(properties.get("hw_rng_model", "virtio")) == "virtio",
        cpu_shares=_integer(server.flavor.extra_specs.get("quota:cpu_shares")),
        cpu_quota=_quota(server.flavor.extra_specs),
        metadata=metadata,
        config_drive=server.config_drive,
        extra={**{str(key): str(value) for key, value in properties.items()}, **server.flavor.extra_specs},
    )


class Asked(Model, frozen=True, kw_only=True):
    """The last that a host was asked for about a guest, and what it did of it: the same but for the power, perhaps."""

    wanted: Guest
    applied: Guest


def crossed(wanted: Guest, before: Asked | None, here: ObservedGuest, seen: ObservedGuest | None) -> Guest:
    """What a host is to apply of what is wanted, decided by somebody who had seen `seen`, when the guest is `here`.

    A guest that has changed by itself, such as one that its user has shut down from within, keeps its power: nobody who knew it has
    asked otherwise. A reboot or a rebuild is done in full, and an apply that was cut off as it was begun.
    """
    if before is None:
        return wanted
    if here.generation < before.wanted.generation:
        again = wanted.power == before.wanted.power and _counters(wanted) == _counters(before.wanted)
        return msgspec.structs.replace(wanted, power=before.applied.power) if again else wanted
    if _counters(here) != _counters(wanted):
        return wanted
    as_seen = seen is None or here.power == seen.power or {here.power, seen.power} <= OFF
    asked = wanted.power != before.wanted.power or (seen is not None and seen.generation >= before.wanted.generation)
    possible = here.power not in OFF or wanted.power in (Power.RUNNING, Power.STOPPED)  # what is off can't be paused
    if here.generation < wanted.generation and as_seen and asked and possible:
        return wanted
    power = Power.STOPPED if here.power in OFF else Power(here.power.value)
    return msgspec.structs.replace(wanted, power=power)


def _counters(guest: Guest | ObservedGuest) -> tuple[int, int, int]:
    return guest.reboots_soft, guest.reboots_hard, guest.builds


def disks_of(server: Server, images: PurePath) -> list[GuestDisk]:
    """Root (an overlay of the image; an ISO image boots from a CD, beside a blank root), ephemeral and swap."""
    properties: dict[str, Any] = server.image.get("properties") or {}
    bus = BUSES.get(str(properties.get("hw_disk_bus", "virtio")), "virtio")
    image = image_of(server, images)
    disks: list[GuestDisk] = []
    is_cd = image is not None and image.format == "iso"
    root_size = server.flavor.disk * GIB or (image.virtual_size if image and not is_cd else GIB)
    disks.append(GuestDisk(name="root", size=root_size, image=None if is_cd else image, bus=bus, boot_index=1 if is_cd else 0))
    if is_cd and image:
        disks.append(GuestDisk(name="cdrom", size=image.virtual_size, image=image, bus="sata", boot_index=0, cdrom=True))
    if server.flavor.ephemeral:
        disks.append(GuestDisk(name="ephemeral0", size=server.flavor.ephemeral * GIB, bus=bus, filesystem="ext4", label="ephemeral0"))
    if server.flavor.swap:
        disks.append(GuestDisk(name="swap", size=server.flavor.swap * MIB, bus=bus, filesystem="swap"))
    return disks


def image_of(server: Server, images: PurePath) -> DiskImage | None:
    """The image as it was when the server was made."""
    content = server.image.get("content")
    if not content:
        return None
    return DiskImage(
        sha256=content,
        path=str(images / content),
        format=str(server.image["disk_format"]),
        size=int(server.image.get("size") or 0),
        virtual_size=int(server.image.get("virtual_size") or server.image.get("size") or 0),
    )


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _quota(specs: dict[str, str]) -> float | None:
    quota, period = _integer(specs.get("quota:cpu_quota")), _integer(specs.get("quota:cpu_period"))
    return quota / (period or 100000) if quota else None
