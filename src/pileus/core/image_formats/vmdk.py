"""VMware's disks: one self-contained sparse file is accepted, a descriptor that names files never is."""

import re
import struct

from pileus.core.image_formats.sample import Finding, Sample

MAGIC = b"KDMV"
SECTOR = 512
AT_END = 0xFFFFFFFFFFFFFFFF
LONGEST_DESCRIPTOR = 1 << 19
ACCEPTED = ("monolithicsparse", "streamoptimized")
EXTENT = re.compile(rb"^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)(?:\s+\"([^\"]*)\")?", re.IGNORECASE)
SETTING = re.compile(rb"^\s*([A-Za-z.]+)\s*=\s*\"?([^\"\r\n]*)\"?", re.IGNORECASE)


def vmdk(sample: Sample) -> Finding | None:
    """A VMDK by its magic, or a descriptor by its first line that says something."""
    if sample.head.startswith(b"COWD"):
        return Finding(name="vmdk", refusal="it is a sparse extent of an ESX host, which needs a descriptor")
    if not sample.head.startswith(MAGIC):
        if _is_descriptor(sample.head[:4096]):
            return Finding(name="vmdk", refusal="it is a descriptor, which names other files")
        return None
    header = sample.unpack("<IIQQQQ", 4)
    if header is None or len(sample.head) < SECTOR:
        return Finding(name="vmdk", refusal="its header is cut off")
    version, _, capacity, _, where, length = header
    virtual_size = capacity * SECTOR
    refusal = _header(version, capacity, where, length) or _footer(sample) or _descriptor(sample, where * SECTOR, length * SECTOR)
    return Finding(name="vmdk", virtual_size=virtual_size, refusal=refusal)


def _is_descriptor(head: bytes) -> bool:
    if head[:21].lower() == b"# disk descriptorfile":
        return True
    for line in head.split(b"\n"):
        text = line.strip()
        if text and not text.startswith(b"#"):
            return re.match(rb"version\s*=\s*\d", text, re.IGNORECASE) is not None
    return False


def _header(version: int, capacity: int, where: int, length: int) -> str | None:
    if version not in (1, 2, 3):
        return f"it is of version {version}; 1 to 3 are accepted"
    if capacity == 0:
        return "its header gives no size"  # QEMU would open the files of its descriptor instead
    if where != 1 or not 0 < length * SECTOR <= LONGEST_DESCRIPTOR:
        return "its descriptor is not behind its header"
    return None


def _footer(sample: Sample) -> str | None:
    """A stream-optimized disk repeats its header at the end, and readers trust that one: it must say the same."""
    if sample.number("<Q", 56) != AT_END:
        return None
    footer = sample.end(3 * SECTOR)[SECTOR : 2 * SECTOR]
    if len(footer) < SECTOR or not footer.startswith(MAGIC):
        return "its footer is missing"
    directory = struct.unpack_from("<Q", footer, 56)[0]
    same = footer[:48] == sample.head[:48] and footer[64:SECTOR] == sample.head[64:SECTOR]
    return None if same and directory != AT_END else "its footer differs from its header"


def _descriptor(sample: Sample, where: int, length: int) -> str | None:
    text = sample.head[where : where + length].split(b"\0", 1)[0]
    extents: list[tuple[bytes, bytes]] = []
    settings: dict[str, str] = {}
    for line in text.splitlines():
        if found := EXTENT.match(line):
            extents.append((found[1].upper(), found[2] or b""))
        elif found := SETTING.match(line):
            settings[found[1].decode("ascii").lower()] = found[2].decode("utf-8", "replace").strip()
    kind = settings.get("createtype", "")
    if kind.lower() not in ACCEPTED:
        return f"its createType is {kind[:40]!r}; monolithicSparse and streamOptimized are accepted"
    if settings.get("parentcid", "ffffffff").lower() != "ffffffff" or settings.get("parentfilenamehint"):
        return "it names a parent disk"
    if len(extents) != 1 or extents[0][0] != b"SPARSE":
        return "its descriptor names other files"
    if b"/" in extents[0][1] or b"\\" in extents[0][1]:
        return "its descriptor names a file by its path"
    return None
