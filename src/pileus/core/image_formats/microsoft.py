"""Microsoft's disks: VHD (Virtual PC, Hyper-V's first) and VHDX."""

import struct
import uuid

from pileus.core.image_formats.sample import Finding, Sample

VHD_COOKIE = b"conectix"
VHD_KINDS = {2: "fixed", 3: "dynamic"}
DIFFERENCING = 4

VHDX_SIGNATURE = b"vhdxfile"
KIB = 1024
MIB = 1 << 20
HEADERS = (64 * KIB, 128 * KIB)
REGION_TABLE = 192 * KIB
METADATA_REGION = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
VIRTUAL_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
METADATA_LENGTH = 128 * KIB  # the table takes 64 KiB, the items that matter follow
MOST_ENTRIES = 2047


def vhd(sample: Sample) -> Finding | None:
    """A VHD by the footer at its end, which a dynamic one repeats at its start."""
    footer = sample.end(512)
    at_end = footer.startswith(VHD_COOKIE)
    at_start = sample.head.startswith(VHD_COOKIE) and len(sample.head) >= 512
    if not at_end and not at_start:
        return None
    if not at_end:
        return Finding(name="vhd", refusal="its footer is missing")
    size, kind = struct.unpack_from(">Q", footer, 48)[0], struct.unpack_from(">I", footer, 60)[0]
    refusal = None
    if kind == DIFFERENCING:
        refusal = "it names a parent disk"
    elif kind not in VHD_KINDS:
        refusal = f"its type {kind} is not known"
    elif (kind == 3) != at_start or (at_start and sample.head[:64] != footer[:64]):
        refusal = "its header and its footer differ"
    return Finding(name="vhd", virtual_size=size, refusal=refusal)


def vhdx_metadata_region(head: bytes) -> tuple[int, int] | None:
    """Where a VHDX keeps its metadata (offset, bytes wanted of it), from its first MiB; None when that is not VHDX."""
    if not head.startswith(VHDX_SIGNATURE) or head[REGION_TABLE : REGION_TABLE + 4] != b"regi":
        return None
    count = struct.unpack_from("<I", head, REGION_TABLE + 8)[0]
    for index in range(min(count, MOST_ENTRIES)):
        entry = REGION_TABLE + 16 + 32 * index
        if entry + 32 > len(head):
            return None
        if head[entry : entry + 16] == METADATA_REGION:
            offset = struct.unpack_from("<Q", head, entry + 16)[0]
            return (offset, METADATA_LENGTH) if offset >= MIB else None
    return None


def vhdx(sample: Sample) -> Finding | None:
    """A VHDX by its signature. Refused: a parent, a log that is not written back, metadata that can't be read."""
    if not sample.head.startswith(VHDX_SIGNATURE):
        return None
    items = metadata(sample.region)
    if items is None or VIRTUAL_SIZE not in items or FILE_PARAMETERS not in items:
        return Finding(name="vhdx", refusal="its metadata is missing")
    size = int.from_bytes(items[VIRTUAL_SIZE][:8], "little")
    flags = int.from_bytes(items[FILE_PARAMETERS][4:8], "little")
    refusal = None
    if flags & 2 or PARENT_LOCATOR in items:
        refusal = "it names a parent disk"
    elif any(_open_log(sample.head[start : start + 80]) for start in HEADERS):
        refusal = "it was not closed cleanly: its log is not written back"
    return Finding(name="vhdx", virtual_size=size, refusal=refusal)


def _open_log(header: bytes) -> bool:
    return header.startswith(b"head") and any(header[48:64])


def metadata(region: bytes) -> dict[bytes, bytes] | None:
    """The items of the metadata table by their GUID, as far as they lie in the region."""
    if not region.startswith(b"metadata") or len(region) < 32:
        return None
    items: dict[bytes, bytes] = {}
    for index in range(min(struct.unpack_from("<H", region, 10)[0], MOST_ENTRIES)):
        start = 32 + 32 * index
        entry = region[start : start + 32]
        if len(entry) < 32:
            return None
        offset, length = struct.unpack_from("<II", entry, 16)
        items[entry[:16]] = region[offset : offset + min(length, 64)]
    return items
