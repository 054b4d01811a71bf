"""QEMU's formats: qcow2 (versions 2 and 3), and the older qcow and QED, which are recognized in order to be refused."""

from pileus.core.image_formats.sample import Finding, Sample

MAGIC = b"QFI\xfb"
CORRUPT = 1 << 1
DATA_FILE = 1 << 2
KNOWN_FEATURES = 0b11111  # dirty, corrupt, data file, compression type, extended L2 entries


def qcow2(sample: Sample) -> Finding | None:
    """qcow2 by its magic. Refused: another version, a backing or data file, encryption, features that we don't know."""
    if not sample.head.startswith(MAGIC):
        return None
    version = sample.number(">I", 4)
    if version not in (2, 3):
        return Finding(name="qcow2", refusal=f"it is qcow version {version}; versions 2 and 3 are accepted")
    header = sample.unpack(">QIIQI", 8)
    if header is None or len(sample.head) < (72 if version == 2 else 104):
        return Finding(name="qcow2", refusal="its header is cut off")
    backing_offset, _, cluster_bits, size, encryption = header
    refusal = _features(sample) if version == 3 else None
    if backing_offset:
        refusal = "it names a backing file"
    elif encryption:
        refusal = "it is encrypted"
    elif not 9 <= cluster_bits <= 21:
        refusal = "its header is damaged"
    return Finding(name="qcow2", virtual_size=size, refusal=refusal)


def _features(sample: Sample) -> str | None:
    features = sample.number(">Q", 72)
    if features & DATA_FILE:
        return "it names a data file"
    if features & CORRUPT:
        return "it is marked as corrupt"
    if unknown := features & ~KNOWN_FEATURES:
        return f"it needs incompatible features that are not known here ({unknown:#x})"
    return None


def ancestors(sample: Sample) -> Finding | None:
    """QED, which may name a backing file as qcow2 may."""
    return Finding(name="qed", refusal="QED images are not accepted") if sample.head.startswith(b"QED\0") else None
