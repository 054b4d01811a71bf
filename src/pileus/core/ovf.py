"""What the OVF description of an OVA says: which files are disks, and what the machine that it was taken from had (DMTF DSP0243)."""

import re
import xml.etree.ElementTree as ElementTree

from pileus.model.base import Model
from pileus.model.errors import Invalid

LONGEST = 1 << 20
DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
PROCESSOR, MEMORY, ETHERNET, DISK = "3", "4", "10", "17"
MOST_DISKS = 32
BUSES = {"5": "ide", "6": "scsi", "20": "sata"}
"""Disk controllers, by their number in CIM_ResourceAllocationSettingData."""
CARDS = {"e1000": "e1000", "e1000e": "e1000e", "pcnet32": "pcnet", "vmxnet3": "vmxnet3", "virtionet": "virtio", "virtio": "virtio"}
UNITS = {"byte": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20, "gigabytes": 1 << 30}
MOST_TEXT = 255


class OvfDisk(Model, frozen=True, kw_only=True):
    """A disk: the file's name in the archive, and whether that is gzipped there."""

    name: str
    gzipped: bool = False


class Ovf(Model, frozen=True, kw_only=True):
    """`disks`: the one that the machine started from first. `memory_mib`: 0 where nothing is said. `properties` of the image."""

    disks: list[OvfDisk]
    memory_mib: int = 0
    properties: dict[str, str] = {}

    def chosen(self, name: str | None) -> OvfDisk:
        """The disk of that name; the first where none is named. Invalid when there is none."""
        found = next((one for one in self.disks if name in (None, one.name)), None)
        if found is None:
            there = ", ".join(one.name for one in self.disks)
            raise Invalid(f"The OVA's description names no disk {(name or '')[:100]!r}; there are {there}.", field="ovf_disk")
        return found


def parse(data: bytes) -> Ovf:
    """The description. Invalid when it is none, or names no disk."""
    try:
        text = data.decode("utf-8")
        if len(data) > LONGEST or DECLARATION.search(text):
            raise Invalid("The OVA's description is refused: it is too long, or declares types of its own.")
        root = ElementTree.fromstring(text)  # noqa: S314 without declarations there are no entities
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise Invalid(f"The OVA's description can't be read: {error}.") from error
    memory, properties = _hardware(root)
    return Ovf(disks=_disks(root), memory_mib=memory, properties={**_product(root), **properties})


def _disks(root: ElementTree.Element) -> list[OvfDisk]:
    """Disks that have a file, in the order in which the machine had them: by their controllers, then by their places on those."""
    files = {_attribute(one, "id"): one for one in _all(root, "File")}
    named = {_attribute(one, "diskId"): files.get(_attribute(one, "fileRef")) for one in _all(root, "Disk") if _attribute(one, "fileRef")}
    if not named or len(named) > MOST_DISKS or None in named.values():
        raise Invalid(
            f"The OVA's description names {len(named)} disks with a file; one is needed, and {MOST_DISKS} at the most are looked at."
        )
    items = _all(root, "Item") + _all(root, "StorageItem")
    controllers = {_text(one, "InstanceID"): number for number, one in reversed(list(enumerate(items)))}
    places: dict[str, tuple[int, int]] = {}
    for item in items:
        if _text(item, "ResourceType") == DISK:
            parent, place = _text(item, "Parent"), _text(item, "AddressOnParent")
            places[_text(item, "HostResource").rpartition("/")[2]] = (
                controllers.get(parent, len(items)),
                int(place) if place.isdecimal() and len(place) < 9 else 0,
            )
    found: list[OvfDisk] = []
    for key in sorted(named, key=lambda one: places.get(one, (len(items) + 1, 0))):
        file = named[key]
        assert file is not None  # looked at above
        compression = _attribute(file, "compression")
        if compression not in ("", "identity", "gzip") or _attribute(file, "chunkSize"):
            raise Invalid("The OVA's disk is in several parts, or compressed by something else than gzip; export it again without that.")
        if not _attribute(file, "href"):
            raise Invalid("The OVA's description names a disk without a file.")
        found.append(OvfDisk(name=_attribute(file, "href"), gzipped=compression == "gzip"))
    return found


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
