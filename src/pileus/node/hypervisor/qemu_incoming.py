"""The destination of a move: a QEMU that waits for the guest, or that only takes its disks; then the guest, once it has been given away."""

import asyncio
import logging
import time

import msgspec

from pileus.core.qemu_argv import DiskFile
from pileus.model.errors import Conflict, NodeFailed, NotFound
from pileus.model.guests import Guest, ObservedPower, Power
from pileus.model.messages import FinishIncoming, PrepareIncoming
from pileus.model.moves import MovePhase, MoveProgress, MoveTarget
from pileus.node.hypervisor import qemu_launch, qemu_move_disks, qemu_move_keys, qemu_suspend
from pileus.node.hypervisor.qemu_guest import Host, QemuGuest
from pileus.node.hypervisor.qemu_launch import Kind
from pileus.node.hypervisor.qemu_move_record import MoveRecord, boot_id
from pileus.node.hypervisor.qmp import Qmp

log = logging.getLogger(__name__)

CAPABILITIES = ("events", "late-block-activate")
LOST_SECONDS = 30.0
"""How long a guest that runs already and lacks memory waits for a source that does not answer."""


def new_record(request: PrepareIncoming) -> MoveRecord:
    """The move as it is remembered before anything is done."""
    return MoveRecord(
        id=request.migration_id,
        incoming=True,
        live=request.guest.power in (Power.RUNNING, Power.PAUSED),
        copies=request.copy_disks,
        phase=MovePhase.READY,
        secured=request.keys is not None,
        began_at=time.time(),
        boot=boot_id(),
    )


async def prepare(guest: QemuGuest, request: PrepareIncoming, host: Host) -> MoveTarget:
    """Disks, QEMU, listeners; what an earlier try left is done anew. Holds the guest's lock."""
    move = guest.move
    assert move
    if move.target is not None and (guest.process is not None or not _needs_process(move)):
        return move.target
    await guest.quit(patience=0)
    disks = await asyncio.to_thread(_disks, guest, request, host)
    if not _needs_process(move):
        target = MoveTarget(address=request.address)
    else:
        await guest.launch(request.guest, disks, Kind.INCOMING if move.live else Kind.CARRIER)
        assert guest.qmp
        if move.live:
            qemu_launch.hide_display(guest.directory)
        target = await _listen(guest, guest.qmp, request, disks)
    await guest.note_move(target=target)
    return target


def _needs_process(move: MoveRecord) -> bool:
    return move.live or move.copies


def _disks(guest: QemuGuest, request: PrepareIncoming, host: Host) -> dict[str, DiskFile]:
    wanted, user = request.guest, guest.record.user
    if not request.copy_disks:
        missing = [disk.name for disk in wanted.disks if not disk.cdrom and not (guest.directory / "disks" / disk.name).exists()]
        if missing:
            raise NodeFailed("The server's disks are not where this host sees them.", detail=", ".join(missing))
    if request.guest.power in (Power.RUNNING, Power.PAUSED):
        if request.copy_disks:
            qemu_move_disks.files_of(guest.directory, wanted, user, host.storage)
        return qemu_launch.prepare(guest.directory, wanted, user, host.storage)
    if not request.copy_disks:
        return {}
    files = qemu_move_disks.files_of(guest.directory, wanted, user, host.storage)
    return qemu_move_disks.off_files(guest.directory, wanted, user, files)


async def _listen(guest: QemuGuest, qmp: Qmp, request: PrepareIncoming, disks: dict[str, DiskFile]) -> MoveTarget:
    if request.keys:
        await qemu_move_keys.load_keys(qmp, guest.directory, request.keys, guest.record.user, server=True)
    disk_port = memory_port = None
    exports = sorted(name for name, file in disks.items() if not file.read_only) if request.copy_disks else []
    if exports:
        disk_port = await qemu_move_disks.export(qmp, exports, request.address, request.keys is not None)
    post_copy = False
    if guest.move and guest.move.live:
        post_copy = await _offer_post_copy(qmp)
        await qmp.execute("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in CAPABILITIES])
        if request.keys:
            await qmp.execute("migrate-set-parameters", tls_creds=qemu_move_keys.OBJECT)
        address = f"[{request.address}]" if ":" in request.address else request.address
        await qmp.execute("migrate-incoming", uri=f"tcp:{address}:0")
        (listens, *_) = (await qmp.execute("query-migrate"))["socket-address"]
        memory_port = int(listens["port"])
    return MoveTarget(
        address=request.address,
        memory_port=memory_port,
        disk_port=disk_port,
        exports={name: name for name in exports},
        name=qemu_move_keys.name_of(request.keys),
        post_copy=post_copy,
    )


async def _offer_post_copy(qmp: Qmp) -> bool:
    """QEMU itself says whether the kernel lets it fetch memory that it misses."""
    try:
        await qmp.execute("migrate-set-capabilities", capabilities=[{"capability": "postcopy-ram", "state": True}])
    except NodeFailed:
        return False
    return True


async def look(guest: QemuGuest) -> MoveProgress:
    """How far it is, by what QEMU says now."""
    move = guest.move
    assert move
    if move.phase in (MovePhase.FAILED, MovePhase.FINISHED, MovePhase.CANCELLED) or not _needs_process(move) or not move.live:
        gone = move.holds and _needs_process(move) and guest.process is None and move.target is not None and not move.kept
        return _lost(move) if gone else move.progress()
    if guest.process is None or guest.qmp is None:
        return _lost(move) if not move.begun else move.progress()
    try:
        found = await guest.qmp.execute("query-migrate")
        state = (await guest.qmp.execute("query-status"))["status"]
    except NodeFailed:
        return _lost(move) if not move.begun else move.progress()
    phase = _phase(str(found.get("status", "none")), str(state))
    if move.begun and phase is not MovePhase.POST_COPY:
        phase = MovePhase.FINISHED
    if phase is not move.phase:
        move = await guest.note_move(phase=phase, ended_at=time.time() if phase is MovePhase.FINISHED else None)
    return move.progress()


def _lost(move: MoveRecord) -> MoveProgress:
    return msgspec.structs.replace(move.progress(), phase=MovePhase.FAILED, error="The QEMU that was to take the server ended.")


def has_disks(guest: QemuGuest, host: Host) -> bool:
    """Whether disks that its source sees too are noted as this host's already."""
    shared = host.storage.shared
    return bool(shared and shared.owns(guest.record.guest.id))


def _phase(status: str, state: str) -> MovePhase:
    """Where QEMU is, in our words."""
    if status in ("postcopy-active", "postcopy-paused", "postcopy-recover"):
        return MovePhase.POST_COPY if state != "inmigrate" else MovePhase.MEMORY
    if status == "completed" and state != "inmigrate":
        return MovePhase.SWITCHED
    return MovePhase.MEMORY if status == "active" else MovePhase.READY


async def finish(guest: QemuGuest, request: FinishIncoming, host: Host) -> None:
    """Run the guest here, with the power that is wanted. Holds its lock."""
    move = guest.move
    if move is None or move.id != request.migration_id or not move.incoming:
        raise NotFound("This host knows nothing of this move.")
    if move.begun:
        if guest.record.generation < request.guest.generation:  # it was begun, and this process or an earlier one did not get further
            await guest.apply_locked(request.guest)
        if move.live:
            await look(guest)  # and note it
        elif move.phase is not MovePhase.FINISHED:
            await guest.note_move(phase=MovePhase.FINISHED, ended_at=time.time())
        return
    phase = (await look(guest)).phase
    if phase is MovePhase.FAILED:
        raise NodeFailed("The server can't run here: the QEMU that took it has ended.")
    if move.live and phase not in (MovePhase.SWITCHED, MovePhase.POST_COPY):
        raise Conflict("The server has not been given away by its host yet.")
    if host.storage.shared:
        await asyncio.to_thread(host.storage.shared.claim, request.guest.id, request.guest.generation, True)
    if move.live:
        await _run(guest, request.guest)
    else:
        await _keep(guest, request.guest, host)
    await guest.apply_locked(request.guest)
    if guest.record.error:
        raise NodeFailed(guest.record.error, detail=guest.record.error_detail or "")
    if phase is MovePhase.POST_COPY:
        host.background(_fetch_rest(guest, host))
    else:
        await guest.note_move(phase=MovePhase.FINISHED, ended_at=time.time())


async def _run(guest: QemuGuest, wanted: Guest) -> None:
    """From the note on, the source must never go on: then the CPUs may run. Nothing slow stands between: a host that loses power loses its
    QEMU too, so the note need not survive that, and who owns shared disks has been noted for good before."""
    assert guest.qmp
    await qemu_move_disks.stop_exports(guest.qmp)  # while a disk is exported, the guest may not write to it
    await guest.note_move(durable=False, begun=True)
    if wanted.power is Power.RUNNING:
        await guest.qmp.execute("cont")
    await guest.note(ended="", started_at=time.time())
    await qemu_move_keys.unload_keys_if_unused(guest.qmp)


async def _keep(guest: QemuGuest, wanted: Guest, host: Host) -> None:
    """A guest that is off: its disks are whole as soon as they are let go of."""
    if guest.qmp:
        await qemu_move_disks.stop_exports(guest.qmp)
    await guest.note_move(kept=True)
    ended = ObservedPower.SUSPENDED if wanted.power is Power.SUSPENDED else ObservedPower.STOPPED
    await guest.quit(ended=ended)
    if wanted.power is Power.SUSPENDED:
        await asyncio.to_thread(qemu_suspend.take_over, guest.directory)
    await guest.note(ended=ended.value)
    await guest.note_move(begun=True)


async def _fetch_rest(guest: QemuGuest, host: Host) -> None:
    """The guest runs and still misses memory. If its source is lost, it can't go on as it was: it is ended, and its disks are whole."""
    lost_since: float | None = None
    while guest.move and guest.qmp and guest.process and guest.move.phase is not MovePhase.FINISHED:
        try:
            status = (await guest.qmp.execute("query-migrate")).get("status")
        except NodeFailed:
            return
        if status == "completed":
            await guest.note_move(phase=MovePhase.FINISHED, ended_at=time.time())
            await qemu_move_keys.unload_keys(guest.qmp)
            host.changed(guest.observed())
            return
        lost_since = (lost_since or time.monotonic()) if status == "postcopy-paused" else None
        if lost_since and time.monotonic() - lost_since > LOST_SECONDS:
            log.error("%s: its source was lost while memory was still there", guest.record.guest.id)
            async with guest.lock:
                await guest.note_move(phase=MovePhase.FINISHED, ended_at=time.time(), error="The source was lost during post-copy.")
                await guest.quit(patience=0, ended=ObservedPower.CRASHED)
            host.changed(guest.observed())
            return
        await asyncio.sleep(0.2)


def go_on(guest: QemuGuest, host: Host) -> None:
    """After a restart of this process: watch what still fetches memory."""
    if guest.move and guest.move.begun and guest.move.live and guest.move.phase is MovePhase.POST_COPY:
        host.background(_fetch_rest(guest, host))
