"""What the QEMU driver remembers of a guest, in `guest.json` of the guest's directory: what is wanted, and what has been done of it."""

import os
import shutil
from pathlib import Path

import msgspec

from pileus.model.base import Model
from pileus.model.guests import Guest, ObservedPower
from pileus.node.hypervisor import qemu_move_record
from pileus.node.hypervisor.qemu_move_record import MoveRecord
from pileus.node.storage.local import LocalStorage

FILE = "guest.json"
PARTIAL = ".partial"


class Record(Model, frozen=True, kw_only=True):
    """`guest` is what was applied last; generation and counters are those that were reached in full, noted after the effect.

    `ended` is empty while the guest runs (or is thought to), else why it does not: stopped, crashed.
    """

    guest: Guest
    user: int | None = None
    generation: int = 0
    reboots_soft: int = 0
    reboots_hard: int = 0
    builds: int = 0
    ended: str = ObservedPower.STOPPED.value
    started_at: float | None = None
    accelerator: str = ""
    accelerator_reason: str = ""
    machine: str = ""  # with its version: what is suspended or moved needs the same
    cpu_model: str = ""
    error: str | None = None
    error_detail: str | None = None


def load(directory: Path) -> Record | None:
    """The record; None when it is missing or can't be read."""
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def save(directory: Path, record: Record) -> None:
    """Write it so that a crash leaves the old or the new one, whole. It holds users' data, so none but root may read it."""
    partial = directory / (FILE + PARTIAL)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
        file.flush()
        os.fsync(descriptor)
    partial.rename(directory / FILE)


def sweep(directory: Path) -> None:
    """Remove what a process that was killed has written halfway."""
    for name in (FILE, qemu_move_record.FILE):
        (directory / (name + PARTIAL)).unlink(missing_ok=True)


def make_directory(directory: Path, record: Record, storage: LocalStorage, move: MoveRecord | None = None) -> None:
    """The guest's directory, never seen without its record. QEMU's user may search it and owns only what it must write."""
    partial = directory.with_name(f".{directory.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    partial.chmod(0o750)
    if record.user is not None:
        os.chown(partial, 0, record.user)
    storage.lay(partial / "disks", record.guest.id, record.user)
    save(partial, record)
    if move:
        qemu_move_record.save(partial, move)
    partial.rename(directory)
