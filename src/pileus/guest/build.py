"""Builds the guest image, or finds the one that was built before from the same packages by the same code."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pileus.guest import contents, disk, packages, tree
from pileus.guest.packages import BuildError

HOST_PACKAGES: dict[str, str] = {
    "apt": "fetches the guest's packages",
    "dpkg": "unpacks the guest's packages",
    "e2fsprogs": "makes the guest's root file system (mkfs.ext4, debugfs)",
    "mtools": "fills the guest's boot partition without mounting it",
    "syslinux": "boots the guest's disk",
    "qemu-utils": "writes the disk as qcow2 (qemu-img)",
    "zstd": "unpacks the kernel modules of distributions that compress them",
}
TOOLS: dict[str, str] = {
    "apt-get": "apt", "dpkg-deb": "dpkg", "mkfs.ext4": "e2fsprogs", "debugfs": "e2fsprogs",
    "mformat": "mtools", "mcopy": "mtools", "syslinux": "syslinux", "qemu-img": "qemu-utils",
}  # fmt: skip
KEPT = 3  # builds that stay in the cache, newest first
UNUSED = 7 * 86400.0  # seconds; a younger one stays too, for another checkout's cloud may boot its kernel


class BuiltImage(msgspec.Struct, frozen=True):
    """A finished image. `kernel` and `initrd` are for booting without a disk; `version` is kernel release and builder's revision."""

    disk: Path
    kernel: Path
    initrd: Path
    version: str
    packages: list[str]
    sha256: str


def default_cache() -> Path:
    """Where images are kept: the system's cache for root, the user's own for others."""
    if os.geteuid() == 0:
        return Path("/var/cache/pileus")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pileus"


def revision() -> str:
    """A digest of this package's own code and files: what else than the packages decides an image's bytes."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted(here.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(here)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:10]


def missing_tools() -> dict[str, str]:
    """The host's packages that are not there, each with what it is for."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = {package for tool, package in TOOLS.items() if shutil.which(tool, path=search) is None}
    return {package: why for package, why in HOST_PACKAGES.items() if package in absent}


def cached(cache: Path) -> BuiltImage | None:
    """The newest image that this code has built and that is whole, without asking the network."""
    manifests = sorted((cache / "guest").glob(f"{revision()}-*/manifest.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for manifest in manifests:
        image = _read(manifest)
        if image is not None:
            return image
    return None


def _read(manifest: Path) -> BuiltImage | None:
    try:
        found = msgspec.json.decode(manifest.read_bytes(), type=BuiltImage, dec_hook=lambda kind, value: kind(value))
    except (OSError, msgspec.DecodeError):
        return None
    here = manifest.parent
    image = msgspec.structs.replace(found, disk=here / "disk.qcow2", kernel=here / "vmlinuz", initrd=here / "initrd")
    return image if all(path.is_file() for path in (image.disk, image.kernel, image.initrd)) else None


def build(cache: Path, progress: Callable[[str], None], *, refresh: bool = False) -> BuiltImage:
    """Return the guest image, building it if the cache has none; `refresh` asks the mirror for newer packages. Raises BuildError."""
    with _locked(cache):
        image = None if refresh else cached(cache)
        if image is not None:
            progress(f"guest image: {image.version} is in {image.disk.parent}")
            return image
        absent = missing_tools()
        if absent:
            reasons = "; ".join(f"{package} {why}" for package, why in absent.items())
            raise BuildError(f"these packages are missing on this host: {reasons}. apt-get install {' '.join(absent)}")
        if platform.machine() != "x86_64":
            raise BuildError(f"the guest image is built on x86_64 hosts only, not on {platform.machine()}")
        with tempfile.TemporaryDirectory(prefix="build-", dir=cache / "guest") as work:
            image = _build(cache / "guest", Path(work), progress, refresh)
        _forget_old(cache / "guest")
        return image


def _build(store: Path, work: Path, progress: Callable[[str], None], refresh: bool) -> BuiltImage:
    fetched = packages.Packages(work, progress)
    fetched.prepare(contents.STATIC, refresh=refresh)
    kernel = contents.kernel(fetched)
    root = contents.root_tree(fetched, kernel)
    names = sorted(f"{one.name}={one.version}" for one in fetched.unpacked.values())
    key = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    final = store / f"{revision()}-{key}"
    before = _read(final / "manifest.json")
    if before is not None:
        progress(f"guest image: {before.version} is built from the newest packages already")
        return before
    progress("guest image: initramfs")
    archive = tree.cpio(contents.initramfs_tree(fetched, kernel), kernel.seconds)
    output = work / "output"
    output.mkdir()
    (output / "vmlinuz").write_bytes(kernel.image.read_bytes())
    (output / "initrd").write_bytes(gzip.compress(archive, compresslevel=6, mtime=0))
    progress("guest image: disk")
    boot = {name: (output / name).read_bytes() for name in ("vmlinuz", "initrd")}
    boot["syslinux.cfg"] = disk.syslinux_configuration(disk.COMMAND_LINE).encode()
    made = disk.assemble(output, boot, root, kernel.seconds)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    image = BuiltImage(final / "disk.qcow2", final / "vmlinuz", final / "initrd", f"{kernel.release}+{revision()}", names, digest)
    (output / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(image, enc_hook=str)))
    shutil.rmtree(final, ignore_errors=True)
    output.rename(final)
    progress(f"guest image: {image.version}, {image.disk.stat().st_size / 1e6:.1f} MB")
    return image


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One build at a time in a cache; whoever waited finds the first one's result."""
    (cache / "guest").mkdir(parents=True, exist_ok=True)
    with (cache / "guest" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_old(store: Path) -> None:
    """Remove builds beyond the kept ones, and what a killed build left behind (we hold the lock, so nobody is building)."""
    for left in store.glob("build-*"):
        shutil.rmtree(left, ignore_errors=True)
    builds = sorted(store.glob("*-*/manifest.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for manifest in builds[KEPT:]:
        if time.time() - manifest.stat().st_mtime > UNUSED:
            shutil.rmtree(manifest.parent, ignore_errors=True)
