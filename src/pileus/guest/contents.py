"""What the guest is made of: which packages and why, and which of their files; the root tree and the initramfs as trees."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pileus.guest import elf, modules
from pileus.guest.packages import BuildError, Packages, Unpacked, matches, run
from pileus.guest.tree import Tree

FILES = Path(__file__).parent / "files"
USER = "pileus"
USER_ID = 1000
KERNELS = ("linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64", "linux-image-generic")


class Wanted(msgspec.Struct, frozen=True):
    """A package, what it is for in the guest, and its files that go in (usr-merged, without leading slash)."""

    package: str
    why: str
    files: tuple[str, ...]


WANTED: tuple[Wanted, ...] = (
    Wanted("busybox", "the guest's init and base tools", ("usr/bin/busybox",)),
    Wanted("coreutils", "tools that busybox lacks", ("usr/bin/nohup", "usr/bin/comm", "usr/bin/install", "usr/bin/split")),
    Wanted("dropbear-bin", "the ssh server", ("usr/bin/dropbear", "usr/bin/dbclient", "usr/bin/dropbearkey")),
    Wanted("openssh-sftp-server", "scp and sftp into the guest", ("usr/lib/openssh/sftp-server",)),
    Wanted("openssh-client", "scp out of the guest", ("usr/bin/scp",)),
    Wanted("sudo", "root for the guest's user", ("usr/bin/sudo", "usr/libexec/sudo/sudoers.so", "usr/libexec/sudo/libsudo_util.so.0")),
    Wanted("libpam-modules", "sudo", ("usr/lib/x86_64-linux-gnu/security/pam_permit.so",)),
    Wanted("bash", "scripts that ask for bash", ("usr/bin/bash",)),
    Wanted("e2fsprogs", "ext4 file systems and their growth", ("usr/bin/mke2fs", "usr/bin/resize2fs", "usr/bin/e2fsck", "etc/mke2fs.conf")),
    Wanted("util-linux", "lsblk and blkid", ("usr/bin/lsblk", "usr/bin/blkid")),
    Wanted("iputils-ping", "ping as any user", ("usr/bin/ping",)),
    Wanted("netcat-openbsd", "nc with UDP and more than one connection", ("usr/bin/nc.openbsd",)),
)
LINKS: dict[str, str] = {
    "bin": "usr/bin", "sbin": "usr/bin", "usr/sbin": "bin", "lib": "usr/lib", "lib64": "usr/lib64",
    "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "usr/bin/init": "busybox", "usr/bin/sh": "bash", "usr/bin/ssh": "dbclient", "usr/bin/ping4": "ping", "usr/bin/ping6": "ping",
    "usr/bin/mkfs.ext2": "mke2fs", "usr/bin/mkfs.ext3": "mke2fs", "usr/bin/mkfs.ext4": "mke2fs", "usr/bin/fsck.ext4": "e2fsck",
    "usr/lib/sftp-server": "openssh/sftp-server",
    "etc/mtab": "/proc/self/mounts", "etc/resolv.conf": "/run/resolv.conf", "var/run": "/run", "var/lock": "/run/lock",
}  # fmt: skip
DIRECTORIES: dict[str, int] = {
    "boot": 0o755, "dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "mnt": 0o755, "media": 0o755, "opt": 0o755, "srv": 0o755,
    "root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777, "var/log": 0o755, "var/lib/pileus": 0o700, "etc/dropbear": 0o700, "home": 0o755,
}  # fmt: skip
# The static busybox prefers its own applets to programs in PATH. That makes our scripts quick, so they name it as their shell; it
# would hide programs from users, so their `sh` is bash, and their tools are those of the other busybox.
STATIC = "busybox-static"
# Applets that would hide a better program, or mislead: the guest has no package database.
NOT_LINKED = "busybox dpkg dpkg-deb rpm rpm2cpio mke2fs nc ping ping6 mdev linuxrc init blkid sh"


def merged(path: str) -> str:
    """A package's path in the guest, where /bin, /sbin and /lib are links below /usr and all programs lie in one directory."""
    usr = f"usr/{path}" if path.split("/")[0] in {"bin", "sbin", "lib", "lib64"} else path
    return usr.replace("usr/sbin/", "usr/bin/", 1) if usr.startswith("usr/sbin/") else usr


def _index(package: Unpacked) -> dict[str, Path]:
    """A package's files by their place in the guest. An absolute link would lead out of the package, to a file of the host."""
    files = (path for path in package.directory.rglob("*") if not (path.is_symlink() and path.readlink().is_absolute()) and path.is_file())
    return {merged(str(path.relative_to(package.directory))): path for path in files}


def _copy(tree: Tree, path: str, source: Path) -> None:
    permissions = stat.S_IMODE(source.stat().st_mode) if not source.is_symlink() else 0o755
    tree.file(path, source.read_bytes(), permissions)


def _alternatives(path: str) -> tuple[str, ...]:
    """sudo's plug-ins lie in libexec in newer releases and in lib in older ones; the C library's directory is the machine's."""
    return (path, path.replace("usr/libexec/", "usr/lib/"))


def add_programs(tree: Tree, packages: Packages) -> None:
    """Put every wanted file and the libraries that it needs into the tree."""
    packages.fetch_all({wanted.package: wanted.why for wanted in WANTED})
    for wanted in WANTED:
        index = _index(packages.unpacked[wanted.package])
        for path in wanted.files:
            found = next((name for name in _alternatives(path) if name in index), None)
            if found is None:
                raise BuildError(f"package {wanted.package} has no {path}; it is needed for {wanted.why}")
            _copy(tree, found, index[found])
    _add_libraries(tree, packages)


def _missing(tree: Tree) -> dict[str, str]:
    """Libraries that no file in the tree provides, each with one that needs it."""
    present = {path.rsplit("/", 1)[-1] for path, entry in tree if stat.S_ISREG(entry.mode)}
    missing: dict[str, str] = {}
    for path, entry in tree:
        if entry.data[:4] == b"\x7fELF":
            missing.update({name: path for name in elf.needed(entry.data) if name not in present})
    return missing


def _add_libraries(tree: Tree, packages: Packages) -> None:
    candidates = sorted(packages.libraries_of([wanted.package for wanted in WANTED]), key=len)
    indexes = {name: _index(package) for name, package in packages.unpacked.items()}
    while missing := _missing(tree):
        if _take_libraries(tree, missing, indexes):
            continue
        left = [name for name in candidates if name not in indexes]
        reasons: dict[str, str] = {}
        for library, user in missing.items():
            reasons.update({name: f"{user} in the guest" for name in left if matches(library, name)})
        reasons = reasons or dict.fromkeys(left, "libraries in the guest")
        if not reasons:
            library, user = next(iter(missing.items()))
            raise BuildError(f"no package provides {library}, which the guest's {user} needs")
        packages.fetch_all(reasons)
        indexes.update({name: _index(packages.unpacked[name]) for name in reasons})


def _take_libraries(tree: Tree, missing: dict[str, str], indexes: dict[str, dict[str, Path]]) -> bool:
    """Copy what the packages at hand provide of the missing libraries; says whether there was any."""
    found = [
        (path, source)
        for name in sorted(indexes)
        for path, source in indexes[name].items()
        if path.rsplit("/", 1)[-1] in missing and path.startswith("usr/lib/") and path not in tree
    ]
    for path, source in found:
        _copy(tree, path, source)
    return bool(found)


def program(packages: Packages, package: str, name: str, why: str) -> Path:
    """Where a package's program lies on this host, in /bin or /usr/bin as its release has it."""
    directory = packages.fetch(package, why).directory
    return next(path for path in (directory / "bin" / name, directory / "usr/bin" / name) if path.is_file())


def add_applets(tree: Tree, packages: Packages) -> None:
    """Put in the static busybox, and link the applets of both where no real program of that name is."""
    static = program(packages, STATIC, "busybox", "the guest's scripts and initramfs")
    tree.file(f"usr/bin/{STATIC}", static.read_bytes(), 0o755)
    for target, source in (("busybox", program(packages, "busybox", "busybox", "the guest's base tools")), (STATIC, static)):
        for name in run([str(source), "--list"]).split():
            if name not in NOT_LINKED.split() and f"usr/bin/{name}" not in tree:
                tree.link(f"usr/bin/{name}", target)


def add_own_files(tree: Tree) -> None:
    """Put in the files of `files/root`, which lie there as they shall lie in the guest. A script is what starts with `#!`."""
    for source in sorted((FILES / "root").rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            data = source.read_bytes()
            tree.file(str(source.relative_to(FILES / "root")), data, 0o755 if data.startswith(b"#!") else 0o644)


def _kernel_parts(packages: Packages) -> Iterator[Unpacked]:
    """The kernel package that the distribution's meta package stands for, and its modules where they are apart."""
    meta = packages.first(KERNELS, "the guest's kernel")
    graph = packages.depends([meta])
    image = next(name for name in graph[meta] if name.startswith("linux-image-"))
    yield packages.fetch(image, "the guest's kernel")
    for name in graph.get(image, []):
        if name.startswith("linux-modules-"):
            yield packages.fetch(name, "the guest kernel's modules")


class Kernel(msgspec.Struct, frozen=True):
    """The kernel: its release, its file, the directories of its modules and the time of its making in seconds since 1970."""

    release: str
    image: Path
    modules: Path
    seconds: int


def kernel(packages: Packages) -> Kernel:
    """Fetch the kernel and say where its parts lie."""
    parts = list(_kernel_parts(packages))
    image = next(path for part in parts for path in sorted(part.directory.glob("boot/vmlinuz-*")))
    release = image.name.removeprefix("vmlinuz-")
    places = [part.directory / prefix / "modules" / release for part in parts for prefix in ("lib", "usr/lib")]
    directory = next((place for place in places if (place / "kernel").is_dir()), None)
    if directory is None:
        raise BuildError(f"no package holds the modules of kernel {release}")
    return Kernel(release, image, directory, int(image.stat().st_mtime))


def add_modules(tree: Tree, source: Kernel, wanted: str) -> None:
    """Put the wanted kernel modules with their indexes into the tree."""
    chosen = modules.select(source.modules, wanted)
    base = f"usr/lib/modules/{source.release}"
    for module in chosen:
        tree.file(f"{base}/{module.path}", module.data)
    tree.file(f"{base}/modules.dep", modules.dependency_index(chosen).encode())
    tree.file(f"{base}/modules.alias", modules.alias_index(chosen).encode())
    for name in ("modules.builtin", "modules.order"):
        if (source.modules / name).is_file():
            tree.file(f"{base}/{name}", (source.modules / name).read_bytes())


def root_tree(packages: Packages, source: Kernel) -> Tree:
    """The guest's root file system."""
    tree = Tree()
    for path, permissions in DIRECTORIES.items():
        tree.directory(path, permissions)
    tree.directory(f"home/{USER}", 0o755, owner=USER_ID)
    for path, target in LINKS.items():
        tree.link(path, target)
    add_programs(tree, packages)
    add_modules(tree, source, modules.FOR_BOOT + modules.FOR_USE)
    add_own_files(tree)
    add_applets(tree, packages)
    tree.file("usr/bin/sudo", tree.entries["usr/bin/sudo"].data, 0o4755)
    tree.file("etc/shadow", tree.entries["etc/shadow"].data, 0o600)
    tree.file("etc/sudoers", tree.entries["etc/sudoers"].data, 0o440)
    used = "".join(f"{unpacked.name} {unpacked.version}\n" for unpacked in sorted(packages.unpacked.values(), key=lambda one: one.name))
    tree.file("usr/share/pileus/packages", used.encode())
    return tree


def initramfs_tree(packages: Packages, source: Kernel) -> Tree:
    """The first root in memory: finds the real one, and answers the probe."""
    tree = Tree()
    for path in ("dev", "proc", "sys", "root"):
        tree.directory(path)
    for path, target in (("bin", "usr/bin"), ("sbin", "usr/bin"), ("lib", "usr/lib")):
        tree.link(path, target)
    busybox = program(packages, STATIC, "busybox", "the guest's scripts and initramfs")
    tree.file("usr/bin/busybox", busybox.read_bytes(), 0o755)
    tree.link("usr/bin/sh", "busybox")
    tree.link("usr/bin/modprobe", "busybox")
    tree.file("init", (FILES / "initramfs" / "init").read_bytes(), 0o755)
    add_modules(tree, source, modules.FOR_BOOT)
    return tree
