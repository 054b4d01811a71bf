"""Copies a guest's root disk as it is at one moment, running or not, to a qcow2 file that stands alone."""

import asyncio
import contextlib
import logging
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from uuid import uuid4

from pileus.core.disk_headers import empty_qcow2, read_qcow2_header
from pileus.model.errors import NodeFailed
from pileus.model.messages import SnapshotDone
from pileus.node.hypervisor.qemu_guest import QemuGuest

log = logging.getLogger(__name__)

SECONDS = 3600.0
SWEEP_SECONDS = 20.0
ROOT = "root"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
COPY, JOB = ".snapshot-", "snapshot-"
"""How a copy under way is called: its file among the guest's disks; its job and node in QEMU."""


async def snapshot(guest: QemuGuest, destination: Path) -> SnapshotDone:
    """See HypervisorDriver. A destination that exists is complete, as it gets its name last."""
    if not os.path.lexists(destination):
        partial = guest.directory / "disks" / f"{COPY}{uuid4().hex}"
        try:
            async with guest.lock:  # it neither stops nor starts meanwhile
                if guest.process is not None and guest.qmp is not None:
                    await _copy_running(guest, partial)
                else:
                    await _copy_stopped(guest, partial)
            await _run("qemu-img", "check", "-q", "-f", "qcow2", str(partial))
            await asyncio.to_thread(_publish, partial, destination)
        finally:
            partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(destination, _READ), "rb") as file:
            header, about = read_qcow2_header(file.read(104)), os.fstat(file.fileno())
    except OSError as error:
        raise NodeFailed("The snapshot's file can't be read.", detail=str(error)) from error
    if header is None or not stat.S_ISREG(about.st_mode):
        raise NodeFailed("The snapshot's file is not a qcow2 image.", detail=str(destination))
    return SnapshotDone(path=str(destination), size=about.st_size, virtual_size=header.virtual_size)


async def sweep(guest: QemuGuest) -> None:
    """Nothing is left of copies that an earlier process had begun: neither in QEMU nor among the disks."""
    left = await asyncio.to_thread(lambda: list((guest.directory / "disks").glob(f"{COPY}*")))
    if not left:
        return
    async with guest.lock:
        if guest.process is not None and guest.qmp is not None:
            try:
                await _end_jobs(guest)
            except NodeFailed as error:  # they are removed with the guest, or at the next start
                log.warning("%s: a copy of its disk goes on: %s", guest.record.guest.id, error.message)
                return
        for path in left:
            await asyncio.to_thread(path.unlink, missing_ok=True)


async def _end_jobs(guest: QemuGuest) -> None:
    assert guest.qmp
    execute, deadline = guest.qmp.execute, time.monotonic() + SWEEP_SECONDS
    while jobs := [one for one in await execute("query-jobs") if one["id"].startswith(JOB)]:
        if time.monotonic() > deadline:
            raise NodeFailed("The copy of the disk does not end.")
        for job in jobs:
            if job["status"] == "concluded":
                await execute("job-dismiss", id=job["id"])
            elif job["status"] != "aborting":
                await execute("job-cancel", id=job["id"])
        await asyncio.sleep(0.01)
    for node in await execute("query-named-block-nodes", flat=True):
        if node["node-name"].startswith(JOB):
            await execute("blockdev-del", node_name=node["node-name"])


async def _copy_stopped(guest: QemuGuest, partial: Path) -> None:
    root = guest.directory / "disks" / ROOT
    if not root.exists():
        raise NodeFailed("The server has no disk of its own to copy.")
    kind = next("qcow2" if disk.image else "raw" for disk in guest.record.guest.disks if disk.name == ROOT)
    await _run("qemu-img", "convert", "-f", kind, "-O", "qcow2", str(root), str(partial))


async def _copy_running(guest: QemuGuest, partial: Path) -> None:
    """QEMU copies what the disk holds now while the guest writes on: `backup` saves each block before it is overwritten."""
    assert guest.qmp
    execute, job = guest.qmp.execute, f"{JOB}{uuid4().hex[:8]}"
    size = await _size(guest)
    await asyncio.to_thread(_make_target, partial, size, guest.record.user)
    file = {"driver": "file", "filename": f"disks/{partial.name}", "discard": "unmap"}
    await execute("blockdev-add", driver="qcow2", node_name=job, file=file, discard="unmap")
    try:
        await execute("blockdev-backup", job_id=job, device=f"disk-{ROOT}", target=job, sync="full", auto_dismiss=False)
        await _finish(guest, job)
    finally:
        await execute("blockdev-del", node_name=job)


async def _size(guest: QemuGuest) -> int:
    assert guest.qmp
    for node in await guest.qmp.execute("query-named-block-nodes", flat=True):
        if node["node-name"] == f"disk-{ROOT}":
            return int(node["image"]["virtual-size"])
    raise NodeFailed("The server has no disk of its own to copy.")


async def _finish(guest: QemuGuest, job: str) -> None:
    assert guest.qmp
    deadline, pause = time.monotonic() + SECONDS, 0.02
    while True:
        found = next((one for one in await guest.qmp.execute("query-jobs") if one["id"] == job), None)
        if found is None:
            raise NodeFailed("The copy of the disk was lost.", detail=job)
        if found["status"] == "concluded":
            await guest.qmp.execute("job-dismiss", id=job)
            if found.get("error"):
                raise NodeFailed("The disk could not be copied.", detail=str(found["error"]))
            return
        if time.monotonic() > deadline:
            await guest.qmp.execute("job-cancel", id=job)
            raise NodeFailed("The disk could not be copied in time.", detail=job)
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.5)


def _make_target(path: Path, size: int, user: int | None) -> None:
    path.write_bytes(empty_qcow2(size))
    path.chmod(0o600)
    if user is not None:
        os.chown(path, user, user)


def _publish(partial: Path, destination: Path) -> None:
    """Give the file to whoever owns the destination's directory, under its final name, durable.

    That may be another user than us, and may change names there meanwhile: all goes by descriptors, and no link is followed.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(destination.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    arriving = f".{destination.name}.{uuid4().hex}"
    try:
        with os.fdopen(os.open(partial, _READ), "rb") as source:
            try:
                os.rename(partial, arriving, dst_dir_fd=folder)
                arrived = os.dup(source.fileno())
            except OSError:  # another file system
                arrived = os.open(arriving, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
                with os.fdopen(os.dup(arrived), "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        try:
            owner = os.fstat(folder)
            os.fchown(arrived, owner.st_uid, owner.st_gid)
            os.fsync(arrived)
        finally:
            os.close(arrived)
        os.rename(arriving, destination.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(arriving, dir_fd=folder)
        os.close(folder)


async def _run(*argv: str) -> None:
    def call() -> None:
        try:
            subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            detail = (getattr(error, "stderr", None) or str(error)).strip()
            raise NodeFailed(f"{argv[0]} {argv[1]} failed on the snapshot.", detail=detail) from error

    await asyncio.to_thread(call)
