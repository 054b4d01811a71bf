"""The standard catalogue of metadata definitions: what images and flavors may say that this cloud heeds, each property in a line.

Names are those that clients know; a new cloud begins with it. Whoever adds a property that something here reads adds it here, too.
"""

import uuid
from typing import Any

from pileus.core.placement_topology import MOST_NODES
from pileus.core.qemu_argv import NIC_DEVICES, VIDEO_DEVICES
from pileus.model.base import Model
from pileus.model.metadefs import MetadefItem, MetadefKind, MetadefNamespace
from pileus.store.database import Transaction
from pileus.store.metadefs import NAMESPACES, insert_namespace

IMAGE, FLAVOR, SERVER = "OS::Glance::Image", "OS::Nova::Flavor", "OS::Nova::Server"
WANTED = ("required", "forbidden")


class Part(Model, frozen=True, kw_only=True):
    """A namespace: `types` are (resource type, prefix of the properties' names there)."""

    name: str
    title: str
    text: str
    types: list[tuple[str, str]]
    properties: dict[str, dict[str, Any]]


def _choice(title: str, text: str, values: Any, default: str | None = None) -> dict[str, Any]:
    return {"title": title, "description": text, "type": "string", "enum": list(values)} | ({"default": default} if default else {})


def _number(title: str, text: str, least: int = 1, most: int | None = None) -> dict[str, Any]:
    return {"title": title, "description": text, "type": "integer", "minimum": least} | ({"maximum": most} if most else {})


def _text(title: str, text: str) -> dict[str, Any]:
    return {"title": title, "description": text, "type": "string"}


CATALOGUE: list[Part] = [
    Part(
        name="OS::Compute::GuestHardware",
        title="Hardware of a server",
        text="The devices that servers of an image see.",
        types=[(IMAGE, "hw_")],
        properties={
            "disk_bus": _choice("Bus of disks", "What disks are attached to.", ("virtio", "scsi", "sata", "ide", "usb"), "virtio"),
            "vif_model": _choice("Network card", "The card that each port appears as.", NIC_DEVICES, "virtio"),
            "video_model": _choice("Graphics card", "The card behind the graphical console.", VIDEO_DEVICES, "vga"),
            "rng_model": _choice("Random numbers", "Whether the host gives random numbers to the guest.", ("virtio", "none"), "virtio"),
            "firmware_type": _choice("Firmware", "What starts the boot disk.", ("bios", "uefi"), "bios"),
            "machine_type": _text("Machine", "QEMU's name of the board, such as q35; the host's choice when not given."),
            "vm_mode": _choice(
                "Kind of virtualization", "How the guest runs; hosts that can't are left out.", ("hvm", "uml", "exe"), "hvm"
            ),
            "architecture": _text("Architecture", "The processor that the image is made for, such as x86_64 or aarch64."),
        },
    ),
    Part(
        name="OS::Compute::Placement",
        title="Choice of a host",
        text="What a host must have, or must not have, for servers of an image or a flavor.",
        types=[(IMAGE, "trait:"), (FLAVOR, "trait:")],
        properties={
            "HW_CPU_X86_AVX2": _choice("AVX2", "Hosts whose processor has AVX2.", WANTED),
            "HW_CPU_X86_AESNI": _choice("AES", "Hosts whose processor has instructions for AES.", WANTED),
            "HW_CPU_X86_VMX": _choice("VMX", "Hosts on which guests of guests run, by Intel's extension.", WANTED),
            "HW_CPU_X86_SVM": _choice("SVM", "Hosts on which guests of guests run, by AMD's extension.", WANTED),
        },
    ),
    Part(
        name="OS::Compute::Topology",
        title="Memory and NUMA",
        text="How a server's processors and memory lie on the host.",
        types=[(IMAGE, "hw_"), (FLAVOR, "hw:")],
        properties={
            "numa_nodes": _number("NUMA nodes", "Into how many equal nodes processors and memory are divided.", 1, MOST_NODES),
            "mem_page_size": _text("Memory pages", "small, any, large, or a size such as 2MB or 1GB of huge pages."),
        },
    ),
    Part(
        name="OS::Compute::Quota",
        title="Limits of a server",
        text="How much of the host's processors, disks and network a server of the flavor may take.",
        types=[(FLAVOR, "quota:")],
        properties={
            "cpu_shares": _number("Weight of processors", "Share when the host is busy, relative to other servers.", 1),
            "cpu_period": _number("Period of processors", "Microseconds over which cpu_quota is counted.", 1000, 1000000),
            "cpu_quota": _number("Processor time", "Microseconds of processor time in each period.", 1000),
            **{
                f"disk_{what}_{unit}_sec": _number(f"Disk, {what}, {words}", f"At most so many {words} a second, for each disk.")
                for what in ("total", "read", "write")
                for unit, words in (("bytes", "bytes"), ("iops", "requests"))
            },
            **{
                f"vif_{way}_{what}": _number(f"Network, {way}, {what}", f"{text}, for each port.")
                for way in ("inbound", "outbound")
                for what, text in (("average", "Kilobytes a second"), ("burst", "Kibibytes that may come at once"))
            },
        },
    ),
    Part(
        name="OS::Compute::Availability",
        title="Availability",
        text="What becomes of a server when its host is lost, and how it is stopped.",
        types=[(FLAVOR, ""), (SERVER, "")],
        properties={"HA_Enabled": _choice("Start elsewhere", "Started on another host when its own is lost.", ("true", "false"))},
    ),
    Part(
        name="OS::Software::OperatingSystem",
        title="Operating system",
        text="What is installed in an image.",
        types=[(IMAGE, "os_")],
        properties={
            "distro": _text("Distribution", "Its name in lower case, such as debian, ubuntu, fedora or windows."),
            "version": _text("Version", "As its makers write it."),
            "admin_user": _text("First user", "The user that keys and passwords are set for."),
            "shutdown_timeout": _number("Time to stop", "Seconds that a guest gets to shut down before its power is cut.", 0, 3600),
        },
    ),
]


async def bootstrap(tx: Transaction, now: float) -> None:
    """The catalogue, when there is no namespace at all."""
    if await NAMESPACES.first(tx, "1 = 1 LIMIT 1") is not None:
        return
    for part in CATALOGUE:
        namespace = MetadefNamespace(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, part.name)),
            created_at=now,
            updated_at=now,
            name=part.name,
            display_name=part.title,
            description=part.text,
            visibility="public",
            protected=False,
        )
        types = {kind: {"prefix": prefix} if prefix else {} for kind, prefix in part.types}
        items = [_item(namespace, MetadefKind.RESOURCE_TYPE, name, body, now) for name, body in types.items()]
        items += [_item(namespace, MetadefKind.PROPERTY, name, body, now) for name, body in part.properties.items()]
        await insert_namespace(tx, namespace, items)


def _item(namespace: MetadefNamespace, kind: MetadefKind, name: str, body: dict[str, Any], now: float) -> MetadefItem:
    key = str(uuid.uuid5(uuid.UUID(namespace.id), f"{kind} {name}"))
    return MetadefItem(id=key, created_at=now, updated_at=now, namespace_id=namespace.id, kind=kind, name=name, body=body)
