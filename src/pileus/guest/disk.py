"""Makes the bootable disk: boot record, FAT boot partition with syslinux, ext4 root partition, as a compressed qcow2 file."""

from __future__ import annotations

import shutil
import stat
import struct
import uuid
from pathlib import Path

from pileus.guest.packages import BuildError, run
from pileus.guest.tree import Tree

MIB = 1 << 20
SECTOR = 512
FIRST = MIB // SECTOR  # partitions start on whole MiB
FREE = 48 * MIB  # room in the root file system of a disk that was not made larger
NAMESPACE = uuid.UUID("6f6c1a0e-6f6c-5f0e-9d3a-70696c657573")  # fixed, so that the same input gives the same identifiers
ROOT_LABEL = "pileus-root"
BOOT_RECORDS = (Path("/usr/lib/SYSLINUX/mbr.bin"), Path("/usr/lib/syslinux/mbr/mbr.bin"), Path("/usr/lib/syslinux/mbr.bin"))
# cryptomgr.notests: the kernel's tests of its own ciphers take 0.3 of the 2 seconds that it needs under emulation.
COMMAND_LINE = f"root=LABEL={ROOT_LABEL} console=tty0 console=ttyS0 panic=1 loglevel=4 no_timer_check cryptomgr.notests"

# In place of the host's /etc/mke2fs.conf, whose features differ between releases and may be unknown to an older kernel.
FILE_SYSTEM = """[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
[fs_types]
ext4 = {
  features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
  inode_ratio = 16384
}
"""


def _round_up(size: int, step: int) -> int:
    return (size + step - 1) // step * step


def syslinux_configuration(command_line: str) -> str:
    """Boots at once: no menu, no prompt, no delay."""
    return f"DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nNOESCAPE 1\nLABEL linux\n  LINUX /vmlinuz\n  INITRD /initrd\n  APPEND {command_line}\n"


def boot_partition(path: Path, files: dict[str, bytes], seconds: int) -> int:
    """Write a FAT file system with the files and the boot loader; returns its size in bytes. Times are `seconds` since 1970."""
    environment = {"SOURCE_DATE_EPOCH": str(seconds), "MTOOLS_SKIP_CHECK": "1"}
    size = _round_up(sum(len(data) for data in files.values()) + 2 * MIB, MIB)
    path.unlink(missing_ok=True)
    geometry = ["-h", "16", "-s", "63", "-T", str(size // SECTOR), "-H", str(FIRST)]
    run(["mformat", "-i", str(path), "-C", *geometry, "-N", f"{seconds & 0xFFFFFFFF:08x}", "-v", "PILEUS-BOOT", "::"], env=environment)
    staging = path.with_suffix(".files")
    staging.mkdir()
    for name, data in sorted(files.items()):
        (staging / name).write_bytes(data)
        run(["mcopy", "-i", str(path), str(staging / name), f"::/{name}"], env=environment)
    shutil.rmtree(staging)
    run(["syslinux", "--install", str(path)], env=environment)
    return size


def _attributes(tree: Tree, seconds: int) -> str:
    """Commands for debugfs that give each entry its owner, mode and time: the builder is not root and its clock goes on."""
    lines: list[str] = []
    for path, entry in [("", None), *tree, ("lost+found", None)]:
        fields: dict[str, str] = dict.fromkeys(("atime", "ctime", "mtime", "crtime"), f"@{seconds}")
        if entry is not None:
            fields.update(uid=str(entry.uid), gid=str(entry.gid), mode=f"0{entry.mode:o}")
        for name, value in fields.items():
            lines.append(f"set_inode_field /{path} {name} {value}")
        for name in ("atime_extra", "ctime_extra", "mtime_extra", "crtime_extra", "generation"):
            lines.append(f"set_inode_field /{path} {name} 0")
    return "\n".join(lines) + "\n"


def root_partition(path: Path, tree: Tree, seconds: int) -> int:
    """Write the tree as an ext4 file system; returns its size in bytes."""
    staging = path.with_suffix(".tree")
    tree.write(staging)
    size = _round_up(tree.size() + len(tree.entries) * 512 + FREE, 4 * MIB)
    identity = str(uuid.uuid5(NAMESPACE, f"root {seconds}"))
    configuration = path.with_suffix(".conf")
    configuration.write_text(FILE_SYSTEM)
    environment = {"E2FSPROGS_FAKE_TIME": str(seconds), "SOURCE_DATE_EPOCH": str(seconds), "MKE2FS_CONFIG": str(configuration)}
    path.unlink(missing_ok=True)
    settings = f"hash_seed={identity},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    options = ["-q", "-F", "-b", "4096", "-I", "256", "-m", "1", "-J", "size=4", "-L", ROOT_LABEL, "-U", identity, "-E", settings]
    run(["mkfs.ext4", *options, "-d", str(staging), str(path), f"{size // 1024}k"], env=environment)
    shutil.rmtree(staging)
    configuration.unlink()
    run(["debugfs", "-w", "-f", "-", str(path)], text=_attributes(tree, seconds), env=environment)
    return size


def boot_record(code: bytes, signature: int, partitions: list[tuple[int, int, int]]) -> bytes:
    """A master boot record. Each partition is (type, first sector, sectors); the first is the one to boot."""
    table = b""
    for number, (kind, first, count) in enumerate(partitions):
        # Cylinders have no meaning any more; 0xFE 0xFF 0xFF is the customary "see the sector numbers".
        table += struct.pack("<B3sB3sII", 0x80 if number == 0 else 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", first, count)
    return code[:440].ljust(440, b"\0") + struct.pack("<IH", signature, 0) + table.ljust(64, b"\0") + b"\x55\xaa"


def assemble(directory: Path, boot: dict[str, bytes], root: Tree, seconds: int) -> Path:
    """Make `directory`/disk.qcow2 and return its path."""
    code = next((path.read_bytes() for path in BOOT_RECORDS if path.is_file()), None)
    if code is None:
        raise BuildError("mbr.bin is missing; it comes with package syslinux (or syslinux-common)")
    boot_size = boot_partition(directory / "boot.fat", boot, seconds)
    root_size = root_partition(directory / "root.ext4", root, seconds)
    second = FIRST + boot_size // SECTOR
    record = boot_record(code, seconds & 0xFFFFFFFF, [(0x0C, FIRST, boot_size // SECTOR), (0x83, second, root_size // SECTOR)])
    raw = directory / "disk.raw"
    with raw.open("wb") as disk:
        disk.write(record)
        disk.truncate(second * SECTOR + root_size)
        for name, sector in (("boot.fat", FIRST), ("root.ext4", second)):
            disk.seek(sector * SECTOR)
            with (directory / name).open("rb") as part:
                shutil.copyfileobj(part, disk, MIB)
            (directory / name).unlink()
    qcow2 = directory / "disk.qcow2"
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compat=1.1,compression_type=zlib", str(raw), str(qcow2)])
    raw.unlink()
    qcow2.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH)
    return qcow2
