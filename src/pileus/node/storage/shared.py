"""Whose the disks are that several hosts see: each guest's directory says so, and only that host writes or deletes there."""

import os
import shutil
from pathlib import Path

import msgspec

from pileus.core.disk_headers import read_backing_name
from pileus.model.base import Model
from pileus.model.errors import Conflict

BASE = "base"
FILE = "owner"
PARTIAL = ".partial"


class Owner(Model, frozen=True, kw_only=True):
    """A host's name, and the generation of the guest that was applied there last."""

    host: str
    generation: int = 0


class SharedDisks:
    """A directory that hosts share, with `<guest>/` for each guest's disks. All verbs block."""

    def __init__(self, root: Path, host: str) -> None:
        self.root = root
        self.host = host

    def prepare(self) -> None:
        """Make it. Guests' users pass through to their own directory."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)

    def lay(self, guest_id: str, user: int | None) -> Path:
        """The directory of a guest's disks, made with this host as its owner where there is none."""
        directory = self.root / guest_id
        if not directory.exists():
            partial = self.root / f".{guest_id}.{self.host}{PARTIAL}"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            partial.chmod(0o750)
            if user is not None:
                os.chown(partial, 0, user)
            self._write(partial, Owner(host=self.host))
            try:
                partial.rename(directory)
            except OSError:  # another host was faster
                shutil.rmtree(partial, ignore_errors=True)
        return directory

    def user_of(self, guest_id: str) -> int | None:
        """The user id that the disks belong to; None when there are none."""
        try:
            return (self.root / guest_id).stat().st_gid or None
        except OSError:
            return None

    def owner(self, guest_id: str) -> Owner | None:
        """None when there are no disks, or nobody's."""
        try:
            return msgspec.json.decode((self.root / guest_id / FILE).read_bytes(), type=Owner)
        except (OSError, msgspec.MsgspecError):
            return None

    def owns(self, guest_id: str) -> bool:
        """Whether this host may write and delete them."""
        owner = self.owner(guest_id)
        return owner is not None and owner.host == self.host

    def claim(self, guest_id: str, generation: int, arrived: bool = False) -> None:
        """From now on they are this host's: it has them already, the guest has arrived by a move, or the guest that is wanted here is
        newer than the one that the owner was told of (it was lost). Conflict otherwise."""
        directory = self.root / guest_id
        owner = self.owner(guest_id)
        if owner and owner.host != self.host and not arrived and generation <= owner.generation:
            raise Conflict(f"The server's disks belong to the host {owner.host}.")
        wanted = Owner(host=self.host, generation=max(generation, owner.generation if owner else 0))
        if directory.exists() and wanted != owner:
            self._write(directory, wanted)

    def remove(self, guest_id: str) -> None:
        """Delete a guest's disks, if they are this host's."""
        if self.owns(guest_id):
            doomed = self.root / f".{guest_id}.doomed{PARTIAL}"
            shutil.rmtree(doomed, ignore_errors=True)
            (self.root / guest_id).rename(doomed)
            shutil.rmtree(doomed)

    def bases(self) -> set[str]:
        """The names of the base images that any guest's disk starts from."""
        found: set[str] = set()
        for path in self.root.glob("*/*"):
            if path.parent.name != BASE:
                try:
                    with path.open("rb") as file:
                        name = read_backing_name(file.read(4096))
                except OSError:
                    continue
                found.add(Path(name).name)
        return found

    def _write(self, directory: Path, owner: Owner) -> None:
        partial = directory / f"{FILE}.{self.host}{PARTIAL}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(owner))
            file.flush()
            os.fsync(descriptor)
        partial.rename(directory / FILE)
