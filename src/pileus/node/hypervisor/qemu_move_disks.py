"""The disks of a move: exported by NBD at the destination, mirrored to it by the source. Only what is in a guest's own layer is sent."""

import os
import socket
from pathlib import Path
from typing import Any

import msgspec

from pileus.core.qemu_argv import DiskFile
from pileus.model.errors import NodeFailed
from pileus.model.guests import Guest, Power
from pileus.model.moves import MoveTarget
from pileus.node.hypervisor import qemu_suspend
from pileus.node.hypervisor.qemu_move_keys import OBJECT
from pileus.node.hypervisor.qmp import Qmp
from pileus.node.storage.local import LocalStorage

MEMORY = qemu_suspend.FILE
"""The export that carries a suspended guest's memory."""
VARIABLES = "uefi-variables"
_ACTIVE = ("created", "running", "paused", "ready", "standby", "waiting", "pending", "aborting")


def files_of(directory: Path, guest: Guest, user: int | None, storage: LocalStorage) -> dict[str, DiskFile]:
    """The destination's blank disks, made if missing; their content comes from the source, so none is formatted."""
    files: dict[str, DiskFile] = {}
    for disk in guest.disks:
        files[disk.name] = storage.make(directory, msgspec.structs.replace(disk, filesystem=None), user)
    return files


def off_files(directory: Path, guest: Guest, user: int | None, files: dict[str, DiskFile]) -> dict[str, DiskFile]:
    """With what else a guest that is off has: its firmware's variables, and its memory if it is suspended. Blank where missing."""
    found = {name: file for name, file in files.items() if not file.read_only}
    if guest.firmware == "uefi":
        _size(directory / "disks" / VARIABLES, 0, user)
        found[VARIABLES] = DiskFile(path=f"disks/{VARIABLES}", format="raw")
    if guest.power is Power.SUSPENDED:
        _size(directory / MEMORY, saved_size(guest), user)
        found[MEMORY] = DiskFile(path=MEMORY, format="raw")
    return found


def saved_size(guest: Guest) -> int:
    """What both sides make the file of a suspended guest's memory: the source alone knows how much it holds, and QEMU reads no further."""
    return (guest.memory_mib * 9 // 8 + 512) << 20


def _size(path: Path, size: int, user: int | None) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if size and os.fstat(descriptor).st_size > size:
            raise NodeFailed(
                "The suspended server's memory is larger than its flavor allows.", detail=f"{path.name}: more than {size} bytes"
            )
        if size:
            os.ftruncate(descriptor, size)
        if user is not None:
            os.fchown(descriptor, user, user)
    finally:
        os.close(descriptor)


def listener(address: str) -> tuple[socket.socket, int]:
    """A listening socket on a free port of the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.bind((address, 0))
        one.listen(16)
    except OSError as error:
        one.close()
        raise NodeFailed("The host can't listen on its own address.", detail=f"{address}: {error}") from error
    return one, int(one.getsockname()[1])


async def export(qmp: Qmp, names: list[str], address: str, secured: bool) -> int:
    """Serve these disks for writing; returns the port. QEMU is given the socket, as it does not say which port it chose."""
    one, port = listener(address)
    with one:
        await qmp.give(one.fileno(), "move-nbd")
    more: dict[str, Any] = {"tls_creds": OBJECT} if secured else {}
    await qmp.execute("nbd-server-start", addr={"type": "fd", "data": {"str": "move-nbd"}}, **more)
    nodes = await node_names(qmp)
    for name in names:
        await qmp.execute("block-export-add", type="nbd", id=f"move-{name}", node_name=_layer(name, nodes), name=name, writable=True)
    return port


async def stop_exports(qmp: Qmp) -> None:
    """Fine when there are none."""
    if await qmp.execute("query-block-exports"):
        await qmp.execute("nbd-server-stop", 30.0)


async def mirror(qmp: Qmp, target: MoveTarget, secured: bool, bandwidth: int, blocking: bool = False) -> None:
    """Begin to copy each disk, or go on with what was begun. With `blocking` the guest's writes wait until they are there too, so that
    the copy catches up with any guest."""
    nodes, jobs = await node_names(qmp), await mirrors(qmp)
    for name, exported in target.exports.items():
        job = f"move-{name}"
        if job in jobs:
            continue
        if job not in nodes:
            tls: dict[str, Any] = {"tls_creds": OBJECT, "tls_hostname": target.name} if secured else {}
            server = {"type": "inet", "host": target.address, "port": str(target.disk_port)}
            await qmp.execute("blockdev-add", 30.0, driver="nbd", node_name=job, server=server, export=exported, **tls)
        await qmp.execute(
            "blockdev-mirror",
            job_id=job,
            device=_layer(name, nodes),
            target=job,
            sync="top",
            auto_dismiss=False,
            speed=bandwidth,
            copy_mode="write-blocking" if blocking else "background",
        )


async def lift_limit(qmp: Qmp) -> None:
    """Copy as fast as can be."""
    for name, job in (await mirrors(qmp)).items():
        if job["status"] in ("running", "ready"):
            await qmp.execute("block-job-set-speed", device=name, speed=0)


async def mirrors(qmp: Qmp) -> dict[str, dict[str, Any]]:
    """The copies that are under way or ended: job name -> what QEMU says of it."""
    return {one["id"]: one for one in await qmp.execute("query-jobs") if one["id"].startswith("move-")}


def copied(jobs: dict[str, dict[str, Any]]) -> tuple[int, int, bool]:
    """(bytes sent, bytes to send in all, whether each has caught up). NodeFailed when one ended, unless it had all, and an earlier process
    has told it to end."""
    whole = [name for name, job in jobs.items() if job["status"] == "concluded" and not job.get("error")]
    for name, job in jobs.items():
        if job["status"] not in _ACTIVE and name not in whole:
            detail = f"{name.removeprefix('move-')}: {job.get('error') or job['status']}"
            raise NodeFailed("A disk could not be copied to the other host.", detail=detail)
    sent, total = sum(one["current-progress"] for one in jobs.values()), sum(one["total-progress"] for one in jobs.values())
    return sent, total, all(one["status"] == "ready" or name in whole for name, one in jobs.items())


async def end_mirrors(qmp: Qmp, *, complete: bool) -> None:
    """End them: with all that was written, while nothing writes any more (`concluded` tells when), or at once."""
    for name, job in (await mirrors(qmp)).items():
        if job["status"] in _ACTIVE and job["status"] not in ("waiting", "pending", "aborting"):
            await qmp.execute("block-job-cancel", device=name, force=not complete)


async def concluded(qmp: Qmp, *, complete: bool) -> bool:
    """Whether all mirrors have ended; then nothing of them is left. NodeFailed when one should have been complete and is not."""
    jobs = await mirrors(qmp)
    if any(job["status"] in _ACTIVE for job in jobs.values()):
        return False
    for name, job in jobs.items():
        if complete and job.get("error"):
            raise NodeFailed("A disk could not be copied to the other host.", detail=f"{name.removeprefix('move-')}: {job['error']}")
        await qmp.execute("job-dismiss", id=name)
    for node in await node_names(qmp):
        if node.startswith("move-"):
            await qmp.execute("blockdev-del", node_name=node)
    return True


async def node_names(qmp: Qmp) -> set[str]:
    """Names of QEMU's block nodes."""
    return {str(one["node-name"]) for one in await qmp.execute("query-named-block-nodes", flat=True)}


def _layer(name: str, nodes: set[str]) -> str:
    """The format layer of a disk, below the limits that hold for the guest."""
    return f"disk-{name}-format" if f"disk-{name}-format" in nodes else f"disk-{name}"
