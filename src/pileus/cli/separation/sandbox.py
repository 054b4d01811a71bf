"""What the process that parses requests does to itself before it reads the first byte of anybody: no root, no capabilities, no programs,
a file system that shows the program and the cloud's own directories, and no more. ADR 0016.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pileus.cli.separation import kernel, syscall_filter
from pileus.cli.separation.kernel import BIND, NO_DEVICES, NO_PROGRAMS, NO_SUID, PRIVATE, READ_ONLY, RECURSIVE, REMOUNT
from pileus.model.base import Model

WRITTEN = ("backups", "images", "log", "secrets")
"""Directories of the state directory that are this process's own; it sees no others."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/nix/store")
RESOLVERS = ("/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf")
"""Where /etc/resolv.conf may lead."""
DEVICES = ("null", "zero", "random", "urandom")
PRIVATE_FILES = Path("/run/pileus")
"""Where files that root alone may read, such as a TLS key, are put for this process."""
OF_DATABASE = "give the database's role a password (PILEUS_DATABASE, or ~/.pgpass), or reach it by TCP"
TOO_BROAD = {"/", "/root", "/home", "/tmp", "/var", "/srv", "/opt", "/mnt"}


class Enclosure(Model, frozen=True, kw_only=True):
    """What is asked for. `mount_on`: an empty directory; `private`: file name -> content, for PRIVATE_FILES; `sockets`: directories of
    sockets that it may use, `stores` directories of image content elsewhere."""

    state: str
    user: int
    mount_on: str
    private: dict[str, bytes] = {}
    sockets: list[str] = []
    stores: list[str] = []


class Confined(Model, frozen=True, kw_only=True):
    """What came of it: `missing` says what this machine does not allow, and why. `error`: it could not become another user at all."""

    missing: dict[str, str] = {}
    error: str = ""
    remedy: str = ""


def enclose(wanted: Enclosure) -> Confined:
    """Do it, to this process, for ever. Only what is not the change of user itself may be missing."""
    missing: dict[str, str] = {}
    sys.path[:] = [os.path.abspath(one) for one in sys.path]
    with _noted(missing, "a file system of its own"):
        _own_file_system(wanted)
    os.chdir("/")
    if missing and wanted.private:
        return Confined(error=f"files of root's, such as a TLS key, can't be handed over: {'; '.join(missing.values())}")
    try:
        kernel.bound_capabilities(())
        os.setgroups([])
        os.setresgid(wanted.user, wanted.user, wanted.user)
        os.setresuid(wanted.user, wanted.user, wanted.user)  # from root to another: all capabilities go
    except OSError as error:
        return Confined(error=f"no process can be of user {wanted.user} here: {error.strerror}")
    kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.SET_DUMPABLE, 0)
    kernel.prctl(kernel.SET_PDEATHSIG, 9)
    if unreadable := [one for one in _program() if not os.access(one, os.R_OK | os.X_OK)]:
        remedy = f"let every user read it: chmod -R go+rX {unreadable[0]}"
        return Confined(error=f"its user can't read {unreadable[0]}, where the program is", remedy=remedy)
    with _noted(missing, "a filter of system calls"):
        if not syscall_filter.known():
            raise OSError(0, f"there is none for {os.uname().machine}")
        syscall_filter.install()
    return Confined(missing=missing)


@contextlib.contextmanager
def _noted(missing: dict[str, str], what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        missing[what] = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"


def _own_file_system(wanted: Enclosure) -> None:
    """A tree on a tmpfs of ours, in namespaces of ours; then it is the root, and nothing else can be reached."""
    kernel.libc.unshare(kernel.NEWNS | kernel.NEWIPC | kernel.NEWUTS)
    kernel.mount("none", "/", flags=RECURSIVE | PRIVATE)
    root = Path(wanted.mount_on)
    kernel.mount("tmpfs", root, "tmpfs", NO_SUID | NO_DEVICES, "size=64m,mode=755")
    kernel.mount("tmpfs", _directory(root / "tmp"), "tmpfs", NO_SUID | NO_DEVICES | NO_PROGRAMS, "size=64m,mode=1777")
    state, sockets = Path(wanted.state).resolve(), [Path(one).resolve() for one in wanted.sockets]
    for path in [*map(Path, (*SYSTEM, *RESOLVERS)), *_program()]:
        _show(root, path)
    _devices(root)
    _process_table(root)
    _files(root, wanted)
    _give(root, state)
    for one in (state / name for name in WRITTEN):
        if one.is_mount() or one.resolve() != one:  # on a disk of its own
            _give(root, one.resolve())
    stores = [Path(one).resolve() for one in wanted.stores]
    for one in stores:
        _give(root, one)
    for one in sorted(state.iterdir()):
        if one.is_dir() and not one.is_symlink() and one.name not in WRITTEN and not any(place.is_relative_to(one) for place in stores):
            _hide(root, one, [path for path in sockets if path.is_relative_to(one)])
    for place in (wanted.state, *wanted.stores):
        _linked(root, Path(place))
    for path in map(Path, wanted.sockets):
        _show(root, path)
    os.chdir(root)
    kernel.mount("none", root, flags=REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)
    kernel.pivot_root_here()


def _program() -> list[Path]:
    """Where Python and our own packages are, and what they need of them."""
    import pileus

    ours = Path(pileus.__file__).parents[1]
    prefixes = {Path(one) for one in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    others = {Path(one) for one in sys.path if one.endswith(("site-packages", "dist-packages", "lib-dynload"))}
    return sorted(one for one in {ours, *prefixes, *others} if one.is_dir() and (one == ours or str(one) not in TOO_BROAD))


def _show(root: Path, path: Path) -> None:
    """Show a directory at its own place, read-only; a link, as a link."""
    place = root / path.relative_to("/")
    if not path.exists() or place.exists():
        return
    if path.is_symlink() and path.parent == Path("/"):
        place.symlink_to(os.readlink(path))
        return
    real = path.resolve()
    if real != path:
        _show(root, real)
        _linked(root, path)
        return
    _directory(place)
    kernel.mount(path, place, flags=BIND)
    kernel.mount("none", place, flags=REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)


def _give(root: Path, path: Path) -> None:
    """Show a directory at its own place, to be written by who may; nothing in it is a program."""
    place = _directory(root / path.relative_to("/"))
    kernel.mount(path, place, flags=BIND)
    kernel.mount("none", place, flags=REMOUNT | BIND | NO_SUID | NO_DEVICES | NO_PROGRAMS)


def _hide(root: Path, path: Path, shown: list[Path]) -> None:
    """Put an empty directory in its place, with what is shown of it."""
    place = root / path.relative_to("/")
    flags = NO_SUID | NO_DEVICES | NO_PROGRAMS
    kernel.mount("tmpfs", place, "tmpfs", flags, f"size=16k,mode={'711' if shown else '000'}")
    for one in shown:
        _show(root, one)
    kernel.mount("none", place, flags=REMOUNT | READ_ONLY | flags)


def _linked(root: Path, path: Path) -> None:
    """Where a path leads through links, let it lead to the same place in the new tree."""
    place = root / path.relative_to("/")
    if path.resolve() != path and not place.exists():
        _directory(place.parent)
        place.symlink_to(path.resolve())


def _directory(place: Path) -> Path:
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    return place


def _devices(root: Path) -> None:
    folder = _directory(root / "dev")
    for name in DEVICES:
        (folder / name).touch()
        kernel.mount(f"/dev/{name}", folder / name, flags=BIND)


def _process_table(root: Path) -> None:
    """Its own alone, as it is the first of a namespace of processes; without that, none."""
    folder = _directory(root / "proc")
    if os.getpid() == 1:
        kernel.mount("proc", folder, "proc", NO_SUID | NO_DEVICES | NO_PROGRAMS)


def _files(root: Path, wanted: Enclosure) -> None:
    folder = _directory(root / PRIVATE_FILES.relative_to("/"))
    for name, content in wanted.private.items():
        _directory((folder / name).parent)
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchown(descriptor, wanted.user, wanted.user)
