"""What the QEMU driver remembers of a guest's move, in `move.json` of the guest's directory, on either side."""

import os
import time
from pathlib import Path

import msgspec

from pileus.model.base import Model
from pileus.model.moves import MoveOptions, MovePhase, MoveProgress, MoveRound, MoveTarget

FILE = "move.json"

UNDER_WAY = (MovePhase.READY, MovePhase.DISKS, MovePhase.MEMORY, MovePhase.POST_COPY)


class MoveRecord(Model, frozen=True, kw_only=True):
    """One side of one move. `target` is None until the destination listens; `ready`: the source's QEMU has all that it needs; `begun`:
    the destination was told to run the guest, so that the source may never go on; `kept`: of a guest that is off, it has all, and the QEMU
    that took it, or sent it, may end; `memory_began_at`: QEMU was told to send the memory."""

    id: str
    incoming: bool
    live: bool  # False: the guest is off or suspended, and a QEMU without a machine carries its disks
    copies: bool  # disks are copied
    phase: MovePhase
    target: MoveTarget | None = None
    options: MoveOptions = MoveOptions()
    secured: bool = False
    ready: bool = False
    began_at: float = 0.0
    memory_began_at: float | None = None
    ended_at: float | None = None
    forced: bool = False
    begun: bool = False
    kept: bool = False
    boot: str = ""  # of the destination's kernel when it made ready: what was noted last may have been lost if that is another now
    pause_ms: int | None = None
    rounds: list[MoveRound] = []
    memory_total: int = 0
    memory_sent: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_sent: int = 0
    error: str = ""
    error_detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether the guest may not be touched: it is on its way, has been given away, or is not here yet."""
        return not self.begun and (self.phase in UNDER_WAY or self.phase is MovePhase.SWITCHED)

    @property
    def away(self) -> bool:
        """Whether the guest does not belong to this host: it is not here yet, or has been given away."""
        return self.holds and (self.incoming or self.phase in (MovePhase.SWITCHED, MovePhase.POST_COPY))

    def progress(self) -> MoveProgress:
        """For replies."""
        return MoveProgress(
            phase=self.phase,
            memory_total=self.memory_total,
            memory_sent=self.memory_sent,
            memory_remaining=self.memory_remaining,
            disk_total=self.disk_total,
            disk_sent=self.disk_sent,
            seconds=max(0.0, (self.ended_at or time.time()) - self.began_at),
            pause_ms=self.pause_ms,
            rounds=self.rounds,
            error=self.error,
            error_detail=self.error_detail,
            ran=self.begun or (self.incoming and self.boot != boot_id()),
        )


def boot_id() -> str:
    """Of the kernel that runs now: another one after each boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def load(directory: Path) -> MoveRecord | None:
    """The record; None when there is none, or none that can be read."""
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=MoveRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def save(directory: Path, record: MoveRecord, durable: bool = True) -> None:
    """Write it so that a crash leaves the old or the new one, whole. Figures alone need not survive a loss of power."""
    partial = directory / (FILE + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
        if durable:
            file.flush()
            os.fsync(descriptor)
    partial.rename(directory / FILE)


def forget(directory: Path) -> None:
    """There is no move any more."""
    (directory / FILE).unlink(missing_ok=True)
