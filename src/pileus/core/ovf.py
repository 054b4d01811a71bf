"""What the OVF description of an OVA says: which file is the disk, and what the machine that it was taken from had (DMTF DSP0243)."""

import re
import xml.etree.ElementTree as ElementTree

from pileus.model.base import Model
from pileus.model.errors import Invalid

LONGEST = 1 << 20
DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
PROCESSOR, MEMORY, ETHERNET = "3", "4", "10"
BUSES = {"5": "ide", "6": "scsi", "20": "sata"}
"""Disk controllers, by their number in CIM_ResourceAllocationSettingData."""
CARDS = {"e1000": "e1000", "e1000e": "e1000e", "pcnet32": "pcnet", "vmxnet3": "vmxnet3", "virtionet": "virtio", "virtio": "virtio"}
UNITS = {"byte": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20, "gigabytes": 1 << 30}
MOST_TEXT = 255


class Ovf(Model, frozen=True, kw_only=True):
    """`disk`: the file's name in the archive. `memory_mib`: 0 where nothing is said. `properties` of the image."""

    disk: str
    memory_mib: int = 0
    properties: dict[str, str] = {}


def parse(data: bytes) -> Ovf:
    """The description. Invalid when it is none, or names no disk, or several."""
    try:
        text = data.decode("utf-8")
        if len(data) > LONGEST or DECLARATION.search(text):
            raise Invalid("The OVA's description is refused: it is too long, or declares types of its own.")
        root = ElementTree.fromstring(text)  # noqa: S314 without declarations there are no entities
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise Invalid(f"The OVA's description can't be read: {error}.") from error
    files = {_attribute(one, "id"): _attribute(one, "href") for one in _all(root, "File")}
    disks = [files.get(_attribute(one, "fileRef"), "") for one in _all(root, "Disk") if _attribute(one, "fileRef")]
    if len(disks) != 1 or not disks[0]:
        raise Invalid(f"The OVA's description names {len(disks)} disks; an image is made of one. Import each disk by itself.")
    compressed = [one for one in _all(root, "File") if _attribute(one, "href") == disks[0] and _attribute(one, "compression")]
    if compressed:
        raise Invalid("The OVA's disk is compressed inside the archive; export it again without that.")
    memory, properties = _hardware(root)
    return Ovf(disk=disks[0], memory_mib=memory, properties={**_product(root), **properties})


def _hardware(root: ElementTree.Element) -> tuple[int, dict[str, str]]:
    """Memory in MiB, and the properties that say what else the machine had."""
    memory = 0
    found: dict[str, str] = {}
    for item in _all(root, "Item"):
        kind, quantity = _text(item, "ResourceType"), _text(item, "VirtualQuantity")
        count = int(quantity) if quantity.isdecimal() and len(quantity) < 16 else 0
        if kind == PROCESSOR and count:
            found["hw_cpu_cores"] = str(count)
        elif kind == MEMORY:
            memory = min(count * _unit(_text(item, "AllocationUnits")) >> 20, 2147483647)
        elif kind in BUSES and "hw_disk_bus" not in found:
            found["hw_disk_bus"] = BUSES[kind]
        elif kind == ETHERNET and (card := CARDS.get(_text(item, "ResourceSubType").lower())):
            found.setdefault("hw_vif_model", card)
    for config in _all(root, "Config"):
        if _attribute(config, "key") == "firmware" and _attribute(config, "value") in ("efi", "bios"):
            found["hw_firmware_type"] = {"efi": "uefi", "bios": "bios"}[_attribute(config, "value")]
    return memory, found


def _unit(text: str) -> int:
    """Bytes of an allocation unit: `byte * 2^20`, or the words of old versions."""
    power = re.fullmatch(r"byte\s*\*\s*2\^(\d{1,2})", text.strip())
    return 1 << int(power[1]) if power else UNITS.get(text.strip().lower(), 1 << 20)


def _product(root: ElementTree.Element) -> dict[str, str]:
    """What it is, in its maker's words."""
    found: dict[str, str] = {}
    for section in _all(root, "ProductSection")[:1]:
        for name in ("Product", "Vendor", "Version"):
            if text := _text(section, name):
                found[f"ovf_{name.lower()}"] = text
    for section in _all(root, "OperatingSystemSection")[:1]:
        if text := _text(section, "Description"):
            found["ovf_operating_system"] = text
    return found


def _all(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Elements of a name, whatever their namespace."""
    return [one for one in root.iter() if one.tag.rpartition("}")[2] == name]


def _text(element: ElementTree.Element, name: str) -> str:
    return next(((one.text or "").strip()[:MOST_TEXT] for one in element if one.tag.rpartition("}")[2] == name), "")


def _attribute(element: ElementTree.Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")
