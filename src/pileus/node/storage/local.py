"""Disks of guests as files of this host: base images named by their content's hash, and overlays, blank, swap and ext4 disks."""

import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from pileus.core.disk_headers import empty_qcow2, read_qcow2_header, swap_header
from pileus.core.qemu_argv import DiskFile
from pileus.model.errors import Invalid, NodeFailed
from pileus.model.guests import DiskImage, GuestDisk
from pileus.node.storage.shared import BASE, SharedDisks

FICLONE = 0x40049409
_PARTIAL = ".partial"
FRESH = 3600.0
"""Seconds for which a base image that hosts share is left alone, as one of them may be about to use it."""


class LocalStorage:
    """Files under `node`: `base/<sha256>` and each guest's `disks/`. All verbs block; call them in a thread. All may be repeated.

    With `shared`, base images and disks lie there instead, and a guest's `disks` is a link: other hosts see them too. Users of guests must
    be able to pass through the directories between `node` and it.
    """

    def __init__(self, node: Path, shared: SharedDisks | None = None) -> None:
        self.shared = shared
        self.base = (shared.root if shared else node) / BASE
        self._placing = threading.Lock()

    def lay(self, disks: Path, guest_id: str, user: int | None) -> None:
        """Make the directory of a guest's disks. Its user may search it."""
        if self.shared:
            there = self.shared.lay(guest_id, user).resolve()
            disks.symlink_to(os.path.relpath(there, disks.parent.resolve()))  # so that only what is between the two must be passable
            return
        disks.mkdir()
        disks.chmod(0o750)
        if user is not None:
            os.chown(disks, 0, user)

    def prepare(self) -> None:
        """Make the directory of base images, and clear away what an interrupted copy left."""
        if self.shared:
            self.shared.prepare()
        self.base.mkdir(parents=True, exist_ok=True)
        self.base.chmod(0o711)  # guests' users open images by name, and can't list them
        for path in self.base.glob("*" + _PARTIAL):
            if not self.shared or _older(path, FRESH):
                path.unlink(missing_ok=True)

    def place(self, image: DiskImage) -> Path:
        """The image as a base file, made by the cheapest means. NodeFailed when it is missing or refers to other files."""
        target = self.base / image.sha256
        with self._placing:
            if not target.exists():
                with _opened(image) as source:
                    self._place(source, target, check=lambda path: _refuse_references(path, image))
            if self.shared:
                os.utime(target)  # another host that tidies up sees that it is about to be used
        return target

    def place_file(self, source: Path) -> Path:
        """A kernel or initrd where guests' users can read it. Named by what tells one version of the file from another."""
        try:
            about = source.stat()
        except OSError as error:
            raise NodeFailed(f"The file {source.name} that the guest boots from can't be read.", detail=str(error)) from error
        target = self.base / f"file-{about.st_dev:x}-{about.st_ino:x}-{about.st_mtime_ns:x}-{about.st_size:x}"
        if not target.exists():
            with source.open("rb") as file:
                self._place(file.fileno(), target, link=False)  # it may be written over in place, so a link would change under the guest
        return target

    def _place(self, source: int, target: Path, link: bool = True, check: Callable[[Path], None] = lambda path: None) -> None:
        """What is checked is the file that is used, which nobody else can write any more."""
        partial = target.with_name(f"{target.name}.{uuid4().hex}{_PARTIAL}")
        try:
            if not (link and _ours(source) and _linked(source, partial)):
                _copy(source, partial)
            partial.chmod(0o444)
            check(partial)
            partial.rename(target)
        except OSError as error:
            raise NodeFailed("The image could not be copied to the host.", detail=str(error)) from error
        finally:
            partial.unlink(missing_ok=True)

    def make(self, guest: Path, disk: GuestDisk, owner: int | None) -> DiskFile:
        """The disk's file, made if it is not there yet; the path in the answer is relative to the guest's directory."""
        if disk.image and (disk.cdrom or disk.image.format == "iso"):
            base = self.place(disk.image)
            return DiskFile(path=os.path.relpath(base, guest), format="raw", read_only=True)
        path = guest / "disks" / disk.name
        found = DiskFile(path=f"disks/{disk.name}", format="qcow2" if disk.image else "raw")
        if path.exists():
            if disk.filesystem is None:
                _grow(path, disk.size, found.format)
            return found
        partial = path.with_name(f".{disk.name}{_PARTIAL}")
        partial.unlink(missing_ok=True)
        if disk.image:
            content = self._overlay(path, disk, disk.image)
            _write(partial, content)
        else:
            _blank(partial, disk)
        partial.chmod(0o600)
        if owner is not None:
            os.chown(partial, owner, owner)
        partial.rename(path)
        return found

    def remove(self, guest: Path, name: str) -> None:
        """Delete one disk's file, so that `make` makes it anew."""
        (guest / "disks" / name).unlink(missing_ok=True)

    def _overlay(self, path: Path, disk: GuestDisk, image: DiskImage) -> bytes:
        base = self.place(image)
        needed = _virtual_size(base, image)
        size = disk.size or needed
        if size < needed:
            raise NodeFailed(f"The disk {disk.name} has {_gib(size)} but the image needs {_gib(needed)}.")
        # Without links: QEMU finds the base from where the disk really is.
        # A relative name: the state directory can be moved, and QEMU needs no right to search the directories above it.
        return empty_qcow2(size, os.path.relpath(base.resolve(), path.parent.resolve()), image.format)

    def collect(self, used: Callable[[], set[str]]) -> list[str]:
        """Delete the base images that no guest uses any more; returns the names deleted.

        `used` gives the SHA-256 names in use. It is asked while no image can be placed: a guest says what it uses before it
        places that, so nothing is deleted under a guest that is being made.
        """
        gone: list[str] = []
        with self._placing:
            keep = used() | (self.shared.bases() if self.shared else set())
            for path in self.base.iterdir():
                if self.shared and not _older(path, FRESH):
                    continue
                if path.name not in keep and not path.name.endswith(_PARTIAL) and not path.name.startswith("file-"):
                    path.unlink(missing_ok=True)
                    gone.append(path.name)
        return gone


def _older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except OSError:
        return False


@contextlib.contextmanager
def _opened(image: DiskImage) -> Iterator[int]:
    """The image's file, opened once: whoever may change names in its directory can't give us another for it, nor a link."""
    reason = "The image's file can't be read on the host."
    try:
        descriptor = os.open(image.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NodeFailed(reason, detail=str(error)) from error
    try:
        about = os.fstat(descriptor)
        private = about.st_uid == 0 and os.geteuid() == 0 and not about.st_mode & 0o004
        if not stat.S_ISREG(about.st_mode) or private:  # a second name of a file of root's that others may not read
            raise NodeFailed(reason, detail=f"{image.path} is not a file of image content.")
        yield descriptor
    finally:
        os.close(descriptor)


def _ours(source: int) -> bool:
    """Whether only we can write the file from now on. Another user's becomes ours, unless somebody has it open for writing."""
    me = os.geteuid()
    if os.fstat(source).st_uid == me:
        return True
    try:
        os.fchown(source, me, os.getegid())
        os.fchmod(source, 0o444)
        fcntl.fcntl(source, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # refused while anybody may write
        fcntl.fcntl(source, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def _refuse_references(path: Path, image: DiskImage) -> None:
    """A file that is cut off is no image, and one that names a file of its own could make QEMU hand a guest any file of the host.

    The API refuses both; so does the host.
    """
    with path.open("rb") as file:
        header = read_qcow2_header(file.read(104))
        size = os.fstat(file.fileno()).st_size
    if image.size and size != image.size:
        raise NodeFailed(f"The image's file is damaged: it has {size} bytes, not {image.size}. Upload the image again.")
    if (image.format == "qcow2") != (header is not None):
        raise NodeFailed(f"The image's content is not {image.format}.", detail=image.path)
    if header and (header.backing_file or header.data_file):
        raise NodeFailed("The image refers to another file and is not safe to use.", detail=image.path)


def _virtual_size(base: Path, image: DiskImage) -> int:
    """What the file itself says where it can say it, else what we were told."""
    if image.format == "raw":
        return base.stat().st_size
    with base.open("rb") as file:
        header = read_qcow2_header(file.read(104))
    return header.virtual_size if header else image.virtual_size


def _linked(source: int, target: Path) -> bool:
    try:  # by the descriptor: a name may stand for another file by now
        os.link(f"/proc/self/fd/{source}", target, src_dir_fd=source, follow_symlinks=True)
    except OSError:  # another file system, or one without links
        return False
    return True


def _copy(source: int, target: Path) -> None:
    """By sharing extents where the file system can, byte by byte elsewhere; durable before it is named."""
    with os.fdopen(os.dup(source), "rb") as reader, target.open("xb") as writer:
        reader.seek(0)
        try:
            fcntl.ioctl(writer.fileno(), FICLONE, source)
        except OSError:
            shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _write(path: Path, content: bytes, size: int = 0) -> None:
    with path.open("xb") as file:
        file.write(content)
        if size:
            file.truncate(size)
        file.flush()
        os.fsync(file.fileno())


def _blank(path: Path, disk: GuestDisk) -> None:
    if disk.filesystem not in (None, "swap", "ext4"):
        raise Invalid(f"The disk {disk.name} can't be formatted as {disk.filesystem!r}; swap and ext4 are known.")
    _write(path, swap_header(disk.size, uuid4().bytes, disk.label or "") if disk.filesystem == "swap" else b"", disk.size)
    if disk.filesystem == "ext4":
        argv = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-L", (disk.label or "")[:16], str(path)]
        try:
            subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            detail = getattr(error, "stderr", None) or str(error)
            raise NodeFailed(f"The disk {disk.name} could not be formatted as ext4.", detail=detail) from error


def _grow(path: Path, size: int, kind: str) -> None:
    """Make a disk as large as it is to be by now (a resize), with no guest on it; never smaller."""
    if kind == "raw":
        if path.stat().st_size < size:
            os.truncate(path, size)
        return
    with path.open("rb") as file:
        header = read_qcow2_header(file.read(104))
    if header is None or header.virtual_size >= size:
        return
    argv = ["qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(size)]
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise NodeFailed(f"The disk {path.name} could not be made larger.", detail=detail) from error


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.3g} GiB"
