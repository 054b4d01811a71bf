"""A set of disk images for Tempest's tests of formats, made by qemu-img: sound ones, and ones that a cloud must not open.

`boots-`: servers here are made of these as they are; `converted-`: an import turns them into qcow2, no server is made of them before;
`bad-`: they name files of the host, or are damaged.
"""

import subprocess
from pathlib import Path
from typing import Any

import yaml

TIMEOUT = 60.0
SECTOR = 512
SIZE = "10M"
SOUND = {
    "boots-qcow2": ("qcow2", "qcow2", ""),
    "boots-qcow2-old": ("qcow2", "qcow2", "compat=0.10"),
    "boots-raw": ("raw", "raw", ""),
    "converted-vmdk-sparse": ("vmdk", "vmdk", "subformat=monolithicSparse"),
    "converted-vmdk-stream": ("vmdk", "vmdk", "subformat=streamOptimized"),
    "converted-vdi": ("vdi", "vdi", ""),
    "converted-vhd": ("vhd", "vpc", ""),
    "converted-vhdx": ("vhdx", "vhdx", ""),
}
"""Name -> (the image service's word for the format, qemu-img's, options)."""


def make(folder: Path) -> Path:
    """Write all of them and their manifest; returns its path."""
    for name, (kind, tool, options) in SOUND.items():
        _create(folder / f"{name}.{kind}", tool, options)
    for name, write in BAD.items():
        write(folder / name)
    entries: list[dict[str, Any]] = [_entry(f"{name}.{kind}", usable=True) for name, (kind, _, _) in SOUND.items()]
    entries += [_entry(name, usable=False) for name in BAD]
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump({"images": entries}))
    return path


def _entry(filename: str, usable: bool) -> dict[str, Any]:
    name, _, kind = filename.rpartition(".")
    return {"name": name, "format": kind, "filename": filename, "usable": usable, "insecure": not usable}


def _create(path: Path, kind: str, options: str = "", *more: str) -> None:
    said = ["-o", options] if options else []
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, *said, *more, str(path), SIZE], check=True, timeout=TIMEOUT)


def _backed(path: Path) -> None:
    _create(path, "qcow2", "", "-u", "-F", "raw", "-b", "/etc/hosts")


def _data_file(path: Path) -> None:
    beside = path.with_name("data")
    _create(path, "qcow2", f"data_file={beside},data_file_raw=on")
    beside.unlink()


def _unknown_feature(path: Path) -> None:
    _create(path, "qcow2")
    _overwrite(path, 72, bytes([0x80]))  # the highest of the features that a reader must know


def _descriptor(path: Path) -> None:
    _create(path, "vmdk", "subformat=monolithicFlat")
    path.with_name(f"{path.stem}-flat.vmdk").unlink()


def _leaking_descriptor(path: Path) -> None:
    _descriptor(path)
    path.write_bytes(path.read_bytes().replace(f"{path.stem}-flat.vmdk".encode(), b"/etc/hosts"))


def _other_extent(path: Path) -> None:
    """A sparse VMDK whose descriptor, inside it, names another file."""
    _create(path, "vmdk", "subformat=monolithicSparse")
    whole = path.read_bytes()
    descriptor = whole[SECTOR : 2 * SECTOR]
    changed = descriptor.replace(path.name.encode(), b"/etc/hosts")
    _overwrite(path, SECTOR, changed.rstrip(b"\0").ljust(len(descriptor), b"\0"))


def _two_faces(path: Path) -> None:
    """An ISO 9660 with the head of a qcow2 in the part that belongs to no file system."""
    other = path.with_suffix(".tmp")
    _create(other, "qcow2")
    path.write_bytes(other.read_bytes()[:32768] + b"\1CD001\1".ljust(2048, b"\0") + b"\xffCD001\1".ljust(2048, b"\0") + bytes(1 << 20))
    other.unlink()


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


BAD = {
    "bad-backing-file.qcow2": _backed,
    "bad-data-file.qcow2": _data_file,
    "bad-feature.qcow2": _unknown_feature,
    "bad-descriptor.vmdk": _descriptor,
    "bad-leaking-descriptor.vmdk": _leaking_descriptor,
    "bad-other-extent.vmdk": _other_extent,
    "bad-two-faces.iso": _two_faces,
}
