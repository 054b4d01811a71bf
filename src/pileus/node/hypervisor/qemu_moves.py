"""Moves of QEMU's guests: the verbs of MoveDriver, and the work that goes on behind them, also after a restart of this process."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from pileus.core.moves import forecast
from pileus.ending import end
from pileus.model.errors import Conflict, NodeFailed, NotFound
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.messages import FinishIncoming, PrepareIncoming, StartOutgoing
from pileus.model.moves import MoveForecast, MoveOptions, MovePhase, MoveProgress, MoveTarget
from pileus.node.hypervisor import qemu_incoming, qemu_move_disks, qemu_move_keys, qemu_move_record, qemu_suspend
from pileus.node.hypervisor.qemu_guest import Host, QemuGuest
from pileus.node.hypervisor.qemu_launch import Kind
from pileus.node.hypervisor.qemu_move_record import MoveRecord
from pileus.node.hypervisor.qemu_outgoing import Outgoing

log = logging.getLogger(__name__)

BANDWIDTH = 1_250_000_000
"""Bytes a second that are assumed, 10 Gbit/s, where the options set no limit and none has been measured."""
CANCEL_SECONDS = 60.0

AdoptIncoming = Callable[[PrepareIncoming, MoveRecord], Awaitable[QemuGuest]]
_BEFORE = (MovePhase.DISKS, MovePhase.MEMORY)


class QemuMoves:
    """See MoveDriver. `guests` are the driver's; `new` makes one that comes from elsewhere, `remove` deletes one."""

    def __init__(self, host: Host, guests: dict[str, QemuGuest], new: AdoptIncoming, remove: Callable[[str], Awaitable[None]]) -> None:
        self._host = host
        self._guests = guests
        self._new = new
        self._remove = remove
        self._work: dict[str, tuple[Outgoing, asyncio.Task[None]]] = {}

    async def adopt(self) -> None:
        """Go on with what an earlier process began."""
        for guest in list(self._guests.values()):
            move = guest.move
            if move is None:
                continue
            if move.incoming:
                qemu_incoming.go_on(guest, self._host)
            elif move.phase in (*_BEFORE, MovePhase.POST_COPY):
                if move.ready:
                    self._begin(guest)
                else:
                    await self._forget(guest)

    async def close(self) -> None:
        """Let go; QEMU goes on."""
        await end([task for _, task in self._work.values()])
        self._work = {}

    async def drop(self, guest_id: str) -> None:
        """The guest is removed."""
        _, task = self._work.pop(guest_id, (None, None))
        await end([task])

    # -- verbs -----------------------------------------------------------------------------------------------------------------------

    async def forecast(self, guest_id: str, options: MoveOptions) -> MoveForecast:
        """QEMU measures for a second which pages change."""
        guest = self._guest(guest_id)
        if guest.qmp is None or guest.power is not ObservedPower.RUNNING:
            raise NodeFailed("The server does not run, so there is nothing to forecast.")
        await guest.qmp.execute("calc-dirty-rate", **{"calc-time": 1})
        deadline = time.monotonic() + 10.0
        while (found := await guest.qmp.execute("query-dirty-rate"))["status"] != "measured":
            if time.monotonic() > deadline:
                raise NodeFailed("The server's dirty rate could not be measured.", detail=str(found))
            await asyncio.sleep(0.05)
        memory = await self._memory_in_use(guest)
        rate = int(found.get("dirty-rate", 0)) << 20
        return forecast(memory, rate, options.bandwidth or _measured(guest) or BANDWIDTH, options.pause_ms, options.deadline)

    async def prepare_incoming(self, request: PrepareIncoming) -> MoveTarget:
        """See qemu_incoming."""
        guest = self._guests.get(request.guest.id)
        if guest is not None and (guest.move is None or not guest.move.incoming or guest.move.id != request.migration_id):
            raise Conflict("The server is on this host already.")
        if guest is None:
            guest = await self._new(request, qemu_incoming.new_record(request))
        try:
            async with guest.lock:
                return await qemu_incoming.prepare(guest, request, self._host)
        except (NodeFailed, OSError):
            await self._remove(request.guest.id)
            raise

    async def start_outgoing(self, request: StartOutgoing) -> MoveProgress:
        """See qemu_outgoing."""
        guest = self._guest(request.guest_id)
        async with guest.lock:
            move = guest.move
            if move is not None and not move.incoming and move.id == request.migration_id:
                return move.progress()
            if move is not None and move.holds:
                raise Conflict("The server is being moved already.")
            live = guest.power in (ObservedPower.RUNNING, ObservedPower.PAUSED)
            if live != (request.target.memory_port is not None):
                raise Conflict("The server was switched on or off since its move was prepared.")
            if live and not guest.record.cpu_model:
                raise Conflict(
                    "The server runs since an earlier version of pileus, which did not start it so that it can be moved: reboot it."
                )
            copies = bool(request.target.exports)
            guest.move = MoveRecord(
                id=request.migration_id,
                incoming=False,
                live=live,
                copies=copies,
                phase=MovePhase.DISKS if copies or not live else MovePhase.MEMORY,
                target=request.target,
                options=request.options,
                secured=request.keys is not None,
                began_at=time.time(),
            )
            try:
                await self._ready(guest, request)
            except (NodeFailed, OSError):
                await self._forget(guest)
                raise
            move = await guest.note_move(ready=True)
            self._begin(guest)
            return move.progress()

    async def progress(self, migration_id: str, guest_id: str) -> MoveProgress:
        """What the record says, and at the destination what QEMU says."""
        guest = self._guests.get(guest_id)
        if guest is None or guest.move is None or guest.move.id != migration_id:
            return MoveProgress(phase=MovePhase.UNKNOWN)
        if not guest.move.incoming:
            return guest.move.progress()
        found = await qemu_incoming.look(guest)
        taken = found.ran or await asyncio.to_thread(qemu_incoming.has_disks, guest, self._host)
        return msgspec.structs.replace(found, ran=taken)

    async def force(self, migration_id: str, guest_id: str) -> MoveProgress:
        """The task sees it."""
        guest = self._outgoing(migration_id, guest_id)
        if guest.move and guest.move.phase in _BEFORE and not guest.move.forced:
            await guest.note_move(forced=True)
            guest.stirred.set()
        return await self.progress(migration_id, guest_id)

    async def cancel(self, migration_id: str, guest_id: str) -> MoveProgress:
        """At the source the task ends it, so that nothing is cancelled that has been given away meanwhile."""
        found = await self.progress(migration_id, guest_id)
        guest = self._guests.get(guest_id)
        if found.phase in (MovePhase.UNKNOWN, MovePhase.FINISHED) or guest is None or guest.move is None:
            return found
        if guest.move.incoming:
            if guest.move.begun:
                return found
            await self._remove(guest_id)
            return MoveProgress(phase=MovePhase.CANCELLED)
        work, task = self._work.get(guest_id, (None, None))
        if work and task and not task.done() and found.phase is not MovePhase.POST_COPY:  # from which there is no way back
            work.cancelled = True
            guest.stirred.set()
            await asyncio.wait([task], timeout=CANCEL_SECONDS)
        return await self.progress(migration_id, guest_id)

    async def finish_incoming(self, request: FinishIncoming) -> ObservedGuest:
        """See qemu_incoming."""
        guest = self._guest(request.guest.id)
        async with guest.lock:
            await qemu_incoming.finish(guest, request, self._host)
            return guest.observed()

    async def resume_outgoing(self, migration_id: str, guest_id: str) -> ObservedGuest:
        """Set the CPUs going again. If its QEMU has ended meanwhile, the guest has crashed; its disks are whole."""
        guest = self._outgoing(migration_id, guest_id)
        async with guest.lock:
            move = guest.move
            if move is not None and move.phase is MovePhase.POST_COPY:
                await self._end_half_sent(guest)
            if move is None or move.phase is not MovePhase.SWITCHED:
                return guest.observed()
            shared = self._host.storage.shared
            if shared and (owner := shared.owner(guest_id)) and owner.host != shared.host:
                raise Conflict(f"The server's disks belong to the host {owner.host}.")
            reason = "The other host was lost before it ran the server."
            try:
                if guest.process is not None:
                    await guest.connect_again()
                    await guest.apply_locked(guest.record.guest)
                    if guest.qmp:
                        await qemu_move_keys.unload_keys(guest.qmp)
            finally:  # not before: who is killed in between is told again, and sets it going then
                await guest.note_move(phase=MovePhase.FAILED, error=reason, ended_at=time.time())
            return guest.observed()

    # -- inner -----------------------------------------------------------------------------------------------------------------------

    def _guest(self, guest_id: str) -> QemuGuest:
        guest = self._guests.get(guest_id)
        if guest is None:
            raise NotFound(f"There is no guest {guest_id} on this host.")
        return guest

    def _outgoing(self, migration_id: str, guest_id: str) -> QemuGuest:
        guest = self._guest(guest_id)
        if guest.move is None or guest.move.incoming or guest.move.id != migration_id:
            raise NotFound("This host knows nothing of this move.")
        return guest

    def _begin(self, guest: QemuGuest) -> None:
        work = Outgoing(guest, self._host)
        task = asyncio.create_task(work.run())
        task.add_done_callback(_say)
        self._work[guest.record.guest.id] = (work, task)

    async def _end_half_sent(self, guest: QemuGuest) -> None:
        """QEMU takes nobody back from post-copy, though the guest has not run elsewhere: it is ended, and may be started anew."""
        _, task = self._work.pop(guest.record.guest.id, (None, None))
        await end([task])
        await guest.quit(patience=0, ended=ObservedPower.CRASHED)
        reason = "The other host was lost in post-copy, with a part of the server's memory, so that it was ended. Its disks are whole."
        await guest.note_move(phase=MovePhase.FAILED, error=reason, ended_at=time.time())
        self._host.changed(guest.observed())
        raise NodeFailed(reason)

    async def _forget(self, guest: QemuGuest) -> None:
        """A move that was not begun in full: as if it had never been asked for."""
        await guest.quit_carrier()
        guest.move = None
        await asyncio.to_thread(qemu_move_record.forget, guest.directory)

    async def _ready(self, guest: QemuGuest, request: StartOutgoing) -> None:
        """What the task needs and can't get later: a QEMU that carries a stopped guest's disks, and the keys."""
        move = guest.move
        assert move
        await asyncio.to_thread(qemu_move_record.save, guest.directory, move)
        if not move.live and not move.copies:
            if guest.power is ObservedPower.SUSPENDED:
                await asyncio.to_thread(qemu_suspend.hand_over, guest.directory)
            return
        if not move.live:
            wanted, user = guest.record.guest, guest.record.user
            files = await asyncio.to_thread(qemu_move_disks.files_of, guest.directory, wanted, user, self._host.storage)
            files = await asyncio.to_thread(qemu_move_disks.off_files, guest.directory, wanted, user, files)
            await guest.launch(wanted, files, Kind.CARRIER)
        elif guest.qmp is None:
            await guest.connect_again()
        assert guest.qmp
        if request.keys:
            await qemu_move_keys.load_keys(guest.qmp, guest.directory, request.keys, guest.record.user, server=False)

    async def _memory_in_use(self, guest: QemuGuest) -> int:
        """What QEMU holds for the guest: pages that were never touched are sent as nothing."""
        from pileus.node.hypervisor.qemu_figures import resident_mib

        assert guest.process
        return min(resident_mib(guest.process.pid), guest.record.guest.memory_mib) << 20


def _measured(guest: QemuGuest) -> int:
    """Bandwidth of this guest's last move."""
    return max((one.bandwidth for one in guest.move.rounds), default=0) if guest.move else 0


def _say(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a move ended with an error", exc_info=error)
