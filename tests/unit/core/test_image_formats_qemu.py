"""The inspector against images that qemu-img makes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pileus.core.image_formats import Inspector, check
from pileus.model.errors import Invalid

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img (Debian package qemu-utils) is missing")

MADE = [
    ("raw", [], "raw"),
    ("qcow2", [], "qcow2"),
    ("qcow2", ["-o", "compat=0.10"], "qcow2"),
    ("qcow2", ["-o", "extended_l2=on,compression_type=zstd"], "qcow2"),
    ("vmdk", [], "vmdk"),
    ("vmdk", ["-o", "subformat=streamOptimized"], "vmdk"),
    ("vdi", [], "vdi"),
    ("vpc", ["-o", "force_size=on"], "vhd"),
    ("vpc", ["-o", "subformat=fixed,force_size=on"], "vhd"),
    ("vhdx", [], "vhdx"),
    ("parallels", [], "ploop"),
]


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True, timeout=60)


def inspect(path: Path, disk_format: str) -> int | None:
    inspector = Inspector()
    with path.open("rb") as file:
        while data := file.read(1 << 16):
            inspector.feed(data)
    return check(inspector.sample(), disk_format, "bare")


@pytest.mark.parametrize(("kind", "options", "disk_format"), MADE)
def test_every_format_is_recognized_empty_and_full(tmp_path: Path, kind: str, options: list[str], disk_format: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 4096 * 3)
    qemu_img("create", "-q", "-f", kind, *options, tmp_path / "empty", "3M")
    qemu_img("convert", "-q", "-f", "raw", "-O", kind, *options, source, tmp_path / "full")
    assert inspect(tmp_path / "empty", disk_format) == 3 << 20
    assert inspect(tmp_path / "full", disk_format) == 3 << 20


def test_what_names_another_file_is_refused(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "base", "1M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", tmp_path / "base", "-F", "qcow2", tmp_path / "overlay")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", tmp_path / "outside", "1M")
    qemu_img("create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", tmp_path / "split.vmdk", "1M")
    qemu_img("create", "-q", "-f", "vmdk", tmp_path / "base.vmdk", "1M")
    qemu_img("create", "-q", "-f", "vmdk", "-b", tmp_path / "base.vmdk", "-F", "vmdk", tmp_path / "child.vmdk")
    for name, disk_format, words in [
        ("overlay", "qcow2", "backing file"),
        ("outside", "qcow2", "data file"),
        ("split.vmdk", "vmdk", "names other files"),
        ("child.vmdk", "vmdk", "parent disk"),
    ]:
        with pytest.raises(Invalid, match=words):
            inspect(tmp_path / name, disk_format)
