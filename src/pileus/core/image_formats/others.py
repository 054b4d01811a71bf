"""VDI, ISO 9660, LUKS, ploop, and the archives that containers of images are."""

import msgspec

from pileus.core.image_formats.sample import Finding, Sample

ISO_DESCRIPTOR = 32768
COMPRESSED = {
    "gzip": b"\x1f\x8b",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
    "bzip2": b"BZh",
    "lz4": b"\x04\x22\x4d\x18",
    "zip": b"PK\x03\x04",
}
PLOOP = (b"WithoutFreeSpace", b"WithouFreSpacExt")


class _Segment(msgspec.Struct):
    offset: str = "0"


class _Luks2(msgspec.Struct):
    segments: dict[str, _Segment] = {}


def vdi(sample: Sample) -> Finding | None:
    """VirtualBox's disk by its signature. Refused: undo and differencing images, and what names a parent."""
    if sample.unpack("<I", 0x40) != (0xBEDA107F,):
        return None
    if len(sample.head) < 0x1C8:
        return Finding(name="vdi", refusal="its header is cut off")
    major, kind, size = sample.number("<I", 0x44) >> 16, sample.number("<I", 0x4C), sample.number("<Q", 0x170)
    refusal = None
    if major != 1:
        refusal = f"it is of version {major}; version 1 is accepted"
    elif kind not in (1, 2) or any(sample.head[0x1A8:0x1C8]):
        refusal = "it names a parent disk"
    return Finding(name="vdi", virtual_size=size, refusal=refusal)


def iso(sample: Sample) -> Finding | None:
    """An ISO 9660 or UDF file system by its first volume descriptor."""
    if sample.head[ISO_DESCRIPTOR + 1 : ISO_DESCRIPTOR + 6] not in (b"CD001", b"BEA01"):
        return None
    return Finding(name="iso", virtual_size=sample.size)


def luks(sample: Sample) -> Finding | None:
    """A LUKS volume by its magic; its size is what follows the header."""
    if not sample.head.startswith(b"LUKS\xba\xbe"):
        return None
    version = sample.number(">H", 6)
    if version not in (1, 2):
        return Finding(name="luks", refusal=f"it is of version {version}; versions 1 and 2 are accepted")
    payload = sample.number(">I", 104) * 512 if version == 1 else _luks2_payload(sample)
    if not 0 < payload <= sample.size:
        return Finding(name="luks", refusal="its header is damaged")
    return Finding(name="luks", virtual_size=sample.size - payload)


def _luks2_payload(sample: Sample) -> int:
    length = sample.number(">Q", 8)
    text = sample.head[4096 : min(length, len(sample.head))].split(b"\0", 1)[0]
    try:
        segments = msgspec.json.decode(text, type=_Luks2).segments
        return min((int(segment.offset) for segment in segments.values()), default=0)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return 0


def ploop(sample: Sample) -> Finding | None:
    """Parallels' and Virtuozzo's disk by its magic."""
    if sample.head[:16] not in PLOOP:
        return None
    return Finding(name="ploop", virtual_size=sample.number("<Q", 36) * 512)


def tar(sample: Sample) -> str | None:
    """The name of a tar archive's first member; None when it is no tar archive."""
    if sample.head[257:262] != b"ustar":
        return None
    return sample.head[:100].split(b"\0", 1)[0].decode("utf-8", "replace")


def compression(sample: Sample) -> str | None:
    """How the bytes are compressed, or None."""
    return next((name for name, magic in COMPRESSED.items() if sample.head.startswith(magic)), None)
