"""Chooses the guest's kernel modules, and writes the indexes that busybox's modprobe reads (a kernel package has none yet)."""

from __future__ import annotations

import fnmatch
import lzma
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pileus.guest import elf
from pileus.guest.packages import BuildError

# What finds the root disk, and what a first look at the machine may meet: buses, disks, NICs, console, random numbers, the power button.
FOR_BOOT = """
virtio_pci virtio_mmio virtio_blk virtio_net virtio_scsi virtio_console virtio_balloon virtio-rng button evdev
ext4 sd_mod sr_mod nvme ahci ata_piix ata_generic vmw_pvscsi mptspi xen-blkfront hv_storvsc
e1000 e1000e 8139cp vmxnet3 xen-netfront hv_netvsc
"""
# What a running guest may want besides: file systems, virtual networks, firewalls, devices plugged in later.
FOR_USE = """
vfat isofs nls_cp437 nls_iso8859-1 nls_ascii nls_utf8 xfs squashfs overlay fuse loop nbd virtiofs 9p 9pnet_virtio dm-mod
8021q bridge bonding dummy veth tun vxlan wireguard macvlan ipvlan vrf
nf_tables nft_* nf_conntrack nf_nat br_netfilter ip6t_* ipt_* xt_* ip_tables ip6_tables iptable_* sch_*
i6300esb pvpanic* qemu_fw_cfg virtio_input virtio_mem vsock vmw_vsock_virtio_transport usb-storage usbhid xhci*
"""


class Module(msgspec.Struct, frozen=True):
    """A kernel module: its path below /lib/modules/RELEASE, its content (unpacked), what it needs and what it serves."""

    name: str
    path: str
    data: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def plain(name: str) -> str:
    """A module's name as the kernel compares it: `-` and `_` are one."""
    return name.replace("-", "_")


def find(directory: Path) -> dict[str, Path]:
    """All modules below /lib/modules/RELEASE by plain name."""
    return {plain(path.name.split(".ko")[0]): path for path in sorted(directory.rglob("*.ko*")) if path.is_file()}


def _content(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        zstd = shutil.which("zstd")
        if zstd is None:
            raise BuildError("zstd is needed to unpack this distribution's kernel modules: apt-get install zstd")
        return subprocess.run([zstd, "-dc", str(path)], check=True, capture_output=True, timeout=60).stdout
    return path.read_bytes()


def load(directory: Path, path: Path) -> Module:
    """Read one module file."""
    data = _content(path)
    facts = elf.module_info(data)
    depends = [plain(name) for key, value in facts if key == "depends" for name in value.split(",") if name]
    aliases = [value for key, value in facts if key == "alias"]
    name = path.name.split(".ko")[0]
    return Module(name, f"{path.parent.relative_to(directory)}/{name}.ko", data, tuple(depends), tuple(aliases))


def select(directory: Path, wanted: str) -> list[Module]:
    """The modules that match `wanted` (names or patterns between blanks) and all they need; what the kernel has built in is no file."""
    available = find(directory)
    patterns = [plain(pattern) for pattern in wanted.split()]
    queue = [name for name in available if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    chosen: dict[str, Module] = {}
    while queue:
        name = queue.pop()
        if name in chosen or name not in available:
            continue
        chosen[name] = load(directory, available[name])
        queue.extend(chosen[name].depends)
    return [chosen[name] for name in sorted(chosen)]


def _needs(module: Module, by_name: Mapping[str, Module]) -> list[str]:
    """Paths of all that `module` needs, in modules.dep's order: the last is loaded first."""
    order: list[str] = []

    def visit(name: str) -> None:
        found = by_name.get(name)
        if found is None:
            return
        for other in found.depends:
            visit(other)
        if found.path not in order:
            order.append(found.path)

    visit(plain(module.name))
    return [path for path in reversed(order) if path != module.path]


def dependency_index(modules: Sequence[Module]) -> str:
    """The text of modules.dep."""
    by_name = {plain(module.name): module for module in modules}
    return "".join(f"{module.path}: {' '.join(_needs(module, by_name))}".rstrip() + "\n" for module in modules)


def alias_index(modules: Sequence[Module]) -> str:
    """The text of modules.alias: which module serves which device."""
    return "".join(f"alias {alias} {plain(module.name)}\n" for module in modules for alias in module.aliases)
