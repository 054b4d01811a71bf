"""Suspends a guest to a file, its memory and devices, and lets QEMU start from it again."""

import asyncio
import os
import shutil
import time
from pathlib import Path

from pileus.model.errors import NodeFailed
from pileus.node.hypervisor.qemu_process import Process, said
from pileus.node.hypervisor.qmp import Qmp

FILE = "memory.state"
SECONDS = 600.0
ABANDON_SECONDS = 10.0
_OVER = ("none", "completed", "failed", "cancelled")
_OF_MOVES = ("return-path", "pause-before-switchover", "auto-converge", "postcopy-ram", "late-block-activate")
"""What an earlier move may have left switched on; a file answers nothing and waits for nobody."""
_UNLIMITED = 1 << 40  # bytes a second; QEMU's own default is meant for a network


def open_saved(directory: Path) -> int | None:
    """A descriptor of the saved state, or None when there is none."""
    try:
        return os.open(directory / FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def forget(directory: Path) -> None:
    """Delete the saved state: once the guest goes on, its disks no longer belong to it."""
    (directory / FILE).unlink(missing_ok=True)
    (directory / (FILE + ".partial")).unlink(missing_ok=True)


def hand_over(directory: Path) -> None:
    """Put a copy of the saved state beside the guest's disks, where another host that sees them finds it."""
    partial = directory / "disks" / (FILE + ".partial")
    with (directory / FILE).open("rb") as reader, partial.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
    partial.rename(directory / "disks" / FILE)


def take_over(directory: Path) -> None:
    """Make what came from another host ours: it lies beside the disks, or was copied to its place by a QEMU that owns it."""
    if (beside := directory / "disks" / FILE).exists():
        partial = directory / (FILE + ".partial")
        shutil.copyfile(beside, partial)
        partial.chmod(0o600)
        partial.rename(directory / FILE)
        beside.unlink()
    if os.geteuid() == 0:
        os.chown(directory / FILE, 0, 0)


async def abandon(qmp: Qmp) -> None:
    """End what an earlier process had begun to save and will never name: it would stop the guest once it is whole."""
    deadline = time.monotonic() + ABANDON_SECONDS
    while (await qmp.execute("query-migrate")).get("status", "none") not in _OVER:
        if time.monotonic() > deadline:
            raise NodeFailed("The server's memory is being saved for an earlier request, and that does not end.")
        await qmp.execute("migrate_cancel")
        await asyncio.sleep(0.01)


async def save(qmp: Qmp, directory: Path) -> None:
    """Stop the guest and write its state; it is named last, so what has the name is whole. On failure the guest goes on."""
    partial = directory / (FILE + ".partial")
    descriptor = await asyncio.to_thread(os.open, partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if (await qmp.execute("query-status"))["status"] == "postmigrate":  # saved by a process that did not live to name it
            await qmp.execute("cont")
        await qmp.execute("stop")
        try:
            await qmp.give(descriptor, "state")
            await qmp.execute("migrate-set-capabilities", capabilities=[{"capability": name, "state": False} for name in _OF_MOVES])
            await qmp.execute("migrate-set-parameters", **{"max-bandwidth": _UNLIMITED, "tls-creds": "", "tls-hostname": ""})
            await qmp.execute("migrate", uri="fd:state")
            await _written(qmp)
            await asyncio.to_thread(os.fsync, descriptor)
            partial.rename(directory / FILE)
        except NodeFailed:
            partial.unlink(missing_ok=True)
            await qmp.execute("cont")
            raise
    finally:
        os.close(descriptor)


async def loaded(qmp: Qmp, process: Process, directory: Path) -> None:
    """Wait until QEMU has read the state that it was started from."""
    deadline = time.monotonic() + SECONDS
    while (await qmp.execute("query-status"))["status"] == "inmigrate":
        if process.exited.is_set() or time.monotonic() > deadline:
            raise NodeFailed("The suspended server could not be resumed.", detail=said(directory))
        await asyncio.sleep(0.01)


async def _written(qmp: Qmp) -> None:
    deadline = time.monotonic() + SECONDS
    while (status := (found := await qmp.execute("query-migrate")).get("status")) != "completed":
        if status in ("failed", "cancelled") or time.monotonic() > deadline:
            detail = str(found.get("error-desc") or status)
            raise NodeFailed("The server's memory could not be saved.", detail=detail)
        await asyncio.sleep(0.02)
