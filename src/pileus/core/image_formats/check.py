"""Whether an image is what it claims to be; raises Invalid with the reason when not."""

from pileus.core.image_formats import microsoft, others, qcow2, vmdk
from pileus.core.image_formats.sample import Finding, Sample
from pileus.model.errors import Invalid

PARSERS = (
    qcow2.qcow2,
    qcow2.ancestors,
    vmdk.vmdk,
    microsoft.vhdx,
    microsoft.vhd,
    others.vdi,
    others.luks,
    others.ploop,
    others.iso,
)
LARGEST = 1 << 60
KERNELS = ("aki", "ari", "ami")
# A disk of this format may hold that one at its start without harm: a hybrid ISO is a disk too, and a fixed VHD is a disk with a footer.
MAY_HOLD = {"raw": {"iso"}, "ami": {"iso"}, "vhd": {"iso"}}


def find(sample: Sample) -> list[Finding]:
    """Every format that the bytes look like; none for a raw disk."""
    return [found for parser in PARSERS if (found := parser(sample))]


def check(sample: Sample, disk_format: str, container_format: str) -> int | None:
    """The virtual size in bytes, None where that is not known. Invalid, with the reason, when the content is not what it is said to be."""
    if container_format == "bare" or container_format in KERNELS:
        return _disk(sample, disk_format)
    if container_format in ("ova", "docker"):
        _archive(sample, container_format)
    elif container_format == "compressed" and others.compression(sample) is None:
        raise Invalid("Image content is not what container_format says: it is not compressed by gzip, xz, zstd, bzip2, lz4 or zip.")
    elif container_format == "ovf":
        return _disk(sample, disk_format)
    return None


def _disk(sample: Sample, disk_format: str) -> int | None:
    found = find(sample)
    raw = disk_format == "raw" or disk_format in KERNELS
    if not raw and not any(one.name == disk_format for one in found):
        seen = " and ".join(one.name for one in found) or "a raw disk"
        raise Invalid(f"Image content does not match disk_format {disk_format}: it looks like {seen}.", found=seen)
    for one in found:
        if one.name != disk_format and one.name not in MAY_HOLD.get(disk_format, set()):
            raise Invalid(f"Image content does not match disk_format {disk_format}: it looks like {one.name}.", found=one.name)
    if raw:
        return sample.size if disk_format in ("raw", "ami") else None
    chosen = next(one for one in found if one.name == disk_format)
    refusal = chosen.refusal or ("its header is damaged" if (chosen.virtual_size or 0) > LARGEST else None)
    if refusal:
        raise Invalid(f"Image of format {disk_format} is refused: {refusal}.", found=disk_format)
    return chosen.virtual_size


def _archive(sample: Sample, container_format: str) -> None:
    first = others.tar(sample)
    if container_format == "docker" and (first is not None or others.compression(sample) in ("gzip", "zstd", "xz")):
        return
    if first is None:
        raise Invalid(f"Image content is not what container_format {container_format} says: it is no tar archive.")
    if not first.lower().endswith(".ovf"):
        raise Invalid("Image content is not what container_format ova says: the archive's first file is not an OVF description.")
