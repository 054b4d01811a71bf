"""One guest under QEMU: brought to its desired state step by step, each checked before it is done."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pileus.core.qemu_argv import DiskFile, cpu_model_of, machine_of, translation_buffer_mib
from pileus.model.errors import NodeFailed, PileusError
from pileus.model.guests import Guest, ObservedGuest, ObservedPower, Power
from pileus.node.hypervisor import qemu_launch, qemu_move_record, qemu_process, qemu_record, qemu_suspend
from pileus.node.hypervisor.accelerators import Accelerator
from pileus.node.hypervisor.confinement import Confinement
from pileus.node.hypervisor.driver import OpenTap
from pileus.node.hypervisor.qemu_launch import Kind
from pileus.node.hypervisor.qemu_move_record import MoveRecord
from pileus.node.hypervisor.qemu_process import Process
from pileus.node.hypervisor.qemu_record import Record
from pileus.node.hypervisor.qmp import Qmp
from pileus.node.hypervisor.shutdown_timer import ShutdownTimer
from pileus.node.storage.local import LocalStorage

log = logging.getLogger(__name__)

START_SECONDS = 60.0
"""How long QEMU may take until it answers; some 30 ms on an idle host."""
LOCK_SECONDS = 1.5
"""How long a killed QEMU may hold its lock while the kernel takes it apart."""
GRACE = "os_shutdown_timeout"
"""Nova's image property: seconds that a guest gets to shut down."""

_STATUS = {"running": ObservedPower.RUNNING, "internal-error": ObservedPower.CRASHED, "guest-panicked": ObservedPower.CRASHED}


@dataclass
class Host:
    """What all guests of a driver share."""

    guests: Path
    storage: LocalStorage
    confinement: Confinement
    open_tap: OpenTap
    accelerator: Callable[[], Awaitable[Accelerator]]
    changed: Callable[[ObservedGuest], None]
    background: Callable[[Coroutine[Any, Any, None]], None]
    grace: float = 60.0


class QemuGuest:
    """A guest's record, process and QMP session. All that changes it holds `lock`. `stirred`: something of a move happened in QEMU."""

    def __init__(self, host: Host, record: Record, move: MoveRecord | None = None) -> None:
        self.lock = asyncio.Lock()
        self.record = record
        self.move = move
        self.stirred = asyncio.Event()
        self._writing = asyncio.Lock()
        self.qmp: Qmp | None = None
        self.process: Process | None = None
        self._host = host
        self._status = ""
        self._down = False  # the guest has shut down and its QEMU waits to be ended
        self._asked = False  # we asked it to shut down
        self._time_to_go = ShutdownTimer(
            lambda: host.background(self._press(self.process)), lambda: host.background(self._after_shutdown(self.process))
        )

    @property
    def directory(self) -> Path:
        """Where all of the guest lies."""
        return self._host.guests / self.record.guest.id

    @property
    def power(self) -> ObservedPower:
        """What is seen, not what is wanted."""
        if self.process is None or self._down or self.carries:
            given_away = self.move is not None and self.move.away
            return ObservedPower(self.record.ended) if self.record.ended and not (given_away and self._crashed) else ObservedPower.STOPPED
        return _STATUS.get(self._status, ObservedPower.PAUSED if self._status else ObservedPower.RUNNING)

    @property
    def carries(self) -> bool:
        """Whether its QEMU only carries the disks of a guest that is off to or from another host."""
        return self.move is not None and self.move.holds and not self.move.live

    @property
    def _crashed(self) -> bool:
        return self.record.ended == ObservedPower.CRASHED.value

    def observed(self) -> ObservedGuest:
        """For reports."""
        record, runs = self.record, self.process is not None and not self.carries
        return ObservedGuest(
            id=record.guest.id,
            power=self.power,
            generation=record.generation,
            reboots_soft=record.reboots_soft,
            reboots_hard=record.reboots_hard,
            builds=record.builds,
            pid=self.process.pid if self.process and runs else None,
            hypervisor="qemu",
            accelerator=record.accelerator,
            accelerator_reason=record.accelerator_reason,
            machine=record.machine,
            cpu_model=record.cpu_model,
            migration=self.move.id if self.move and self.move.away else "",
            started_at=record.started_at if runs else None,
            error=record.error,
            error_detail=record.error_detail,
        )

    # -- verbs -----------------------------------------------------------------------------------------------------------------------

    async def apply(self, guest: Guest, network: "asyncio.Future[Any] | None" = None) -> ObservedGuest:
        """Bring it to this state, or ask it to go there; an error is noted in the answer, and the next apply tries again.

        A guest that is being moved is left as it is.
        """
        async with self.lock:
            if self.move is None or not self.move.holds:
                await self.apply_locked(guest, network)
            return self.observed()

    async def apply_locked(self, guest: Guest, network: "asyncio.Future[Any] | None" = None) -> None:
        """The same, for who holds the lock."""
        try:
            if self._host.storage.shared:
                await asyncio.to_thread(self._host.storage.shared.claim, guest.id, guest.generation)
            await self.note(guest=guest)
            fresh = self.process is None and guest.power in (Power.RUNNING, Power.PAUSED) and self.power is not ObservedPower.SUSPENDED
            if network and not fresh:
                await network
            reached = await self._converge(guest, network)
            await self.note(error=None, error_detail=None, **({"generation": guest.generation} if reached else {}))
        except PileusError as error:
            await self.note(error=error.message, error_detail=str(error.data.get("detail", "")) or None)
        except OSError as error:
            await self.note(error="The host could not prepare the guest.", error_detail=str(error))

    async def adopt(self) -> None:
        """Take over a QEMU that an earlier process started, or note that it is gone."""
        async with self.lock:
            lock = await self._lock_or_adopt()
            if lock is not None:
                qemu_launch.close_all([lock])
                if not self.record.ended:
                    await self.note(ended=ObservedPower.CRASHED.value)

    async def end(self) -> None:
        """End its QEMU, whatever it does; for removal. A snapshot under way is given up."""
        if self.lock.locked() and self.process:
            self.process.signal(signal.SIGKILL)
        async with self.lock:
            if self.process is None and self.directory.exists():
                lock = await self._lock_or_adopt()  # it may run though we failed to adopt it
                if lock is not None:
                    qemu_launch.close_all([lock])
            await self.quit(patience=2.0)

    async def release(self) -> None:
        """Let go of it; it goes on."""
        self._time_to_go.forget()
        if self.process:
            self.process.release()
        if self.qmp:
            await self.qmp.close()
        self.process = self.qmp = None

    # -- steps -----------------------------------------------------------------------------------------------------------------------

    async def _converge(self, guest: Guest, network: "asyncio.Future[Any] | None") -> bool:
        """Do what differs. False when a part of it waits for the guest's own shutdown."""
        if self._down:
            await self._went_down()
        rebuild = guest.builds > self.record.builds
        hard = guest.reboots_hard > self.record.reboots_hard
        if rebuild or (hard and guest.power is not Power.STOPPED):
            await self.quit()
            qemu_suspend.forget(self.directory)
        if rebuild:
            await asyncio.to_thread(self._host.storage.remove, self.directory, "root")
        if guest.power is Power.STOPPED:
            return await self._stopped(guest)
        if guest.power is Power.SUSPENDED:
            return await self._suspended(guest)
        if self.process is None:
            await self._start(guest, network)
        elif guest.reboots_soft > self.record.reboots_soft and self.power is ObservedPower.RUNNING:
            return await self._ask_to_shut_down(guest)
        elif self._asked:
            self._time_to_go.forget()  # it is wanted again: if it goes down after all, it is started again
        await self._paused(guest.power is Power.PAUSED)
        await self.note(reboots_soft=guest.reboots_soft, reboots_hard=guest.reboots_hard, builds=guest.builds)
        return True

    async def _stopped(self, guest: Guest) -> bool:
        if self.process is not None:
            if self.power is ObservedPower.RUNNING and self._seconds_of_grace(guest) > 0:
                return await self._ask_to_shut_down(guest)
            await self.quit()
        if guest.builds > self.record.builds or not (self.directory / "disks" / "root").exists():
            await self._prepare(guest)
        qemu_suspend.forget(self.directory)
        counters = {"reboots_soft": guest.reboots_soft, "reboots_hard": guest.reboots_hard, "builds": guest.builds}
        await self.note(ended=ObservedPower.STOPPED.value, **counters)
        return True

    async def _suspended(self, guest: Guest) -> bool:
        if self.process is not None:
            if self.qmp is None:
                await self._connect(START_SECONDS)
            assert self.qmp
            await qemu_suspend.save(self.qmp, self.directory)
            await self.note(ended=ObservedPower.SUSPENDED.value)  # first: who finds neither this process nor QEMU knows what is saved
            await self.quit(ended=ObservedPower.SUSPENDED)
        elif self.power is not ObservedPower.SUSPENDED:
            raise NodeFailed("A server that does not run can't be suspended.")
        await self.note(reboots_soft=guest.reboots_soft, reboots_hard=guest.reboots_hard, builds=guest.builds)
        return True

    async def _ask_to_shut_down(self, guest: Guest) -> bool:
        """Press the power button; after the grace time the guest is ended. Either way what is desired then is applied again."""
        if self.qmp is None:
            await self._connect(START_SECONDS)
        if not self._asked and self.qmp:
            self._asked = True
            await self.qmp.execute("system_powerdown")
        self._time_to_go.begin(self._seconds_of_grace(guest))
        return False

    async def _press(self, process: Process | None) -> None:
        """The power button, once more: it may have been booting."""
        async with self.lock:
            if process is not None and process is self.process and self.qmp and self._asked and not self._down:
                with contextlib.suppress(NodeFailed):  # it is going down at this moment
                    await self.qmp.execute("system_powerdown")

    def _seconds_of_grace(self, guest: Guest) -> float:
        given = guest.extra.get(GRACE, "")
        return float(given) if given.isdigit() else self._host.grace

    async def _paused(self, wanted: bool) -> None:
        if wanted != (self.power is ObservedPower.PAUSED) and self.process is not None:
            if self.qmp is None:
                await self._connect(START_SECONDS)
            assert self.qmp
            await self.qmp.execute("stop" if wanted else "cont")
            self._status = "paused" if wanted else "running"

    async def _prepare(self, guest: Guest) -> dict[str, qemu_launch.DiskFile]:
        return await asyncio.to_thread(qemu_launch.prepare, self.directory, guest, self.record.user, self._host.storage)

    async def _start(self, guest: Guest, network: "asyncio.Future[Any] | None") -> None:
        """Start QEMU with its CPUs stopped, beside its network; `_paused` sets them going. Where that network fails, QEMU ends."""
        disks = await self._prepare(guest)
        saved = qemu_suspend.open_saved(self.directory) if self.power is ObservedPower.SUSPENDED else None
        try:
            await self.note(started_at=None)
            if not await self.launch(guest, disks, saved=saved):
                if network:
                    await network
                return
            assert self.process
            if self.qmp and saved is not None:
                await qemu_suspend.loaded(self.qmp, self.process, self.directory)
                self._status = "paused"
        except NodeFailed as error:
            await self.quit(patience=0, ended=ObservedPower(self.record.ended or ObservedPower.STOPPED))
            raise NodeFailed("The guest's QEMU did not start.", detail=str(error.data.get("detail") or error.message)) from error
        finally:
            if saved is not None:
                qemu_launch.close_all([saved])
        qemu_launch.hide_display(self.directory)
        if network:
            try:
                await network
            except BaseException:
                await self.quit(patience=0)
                raise
        await self.note(ended="", started_at=self.record.started_at or time.time())
        qemu_suspend.forget(self.directory)

    async def launch(self, guest: Guest, disks: dict[str, DiskFile], kind: Kind = Kind.GUEST, saved: int | None = None) -> bool:
        """Start a QEMU and connect to it; False when one that runs already was adopted. What gets its memory from another QEMU has that
        one's machine and CPU."""
        accelerator = await self._host.accelerator()
        refused = self._host.confinement.limit(guest, translation_buffer_mib(guest.memory_mib) if accelerator.name == "tcg" else 0)
        if refused:
            log.warning("%s: not limited: %s", guest.id, "; ".join(refused))
        lock = await self._lock_or_adopt()
        if lock is None:
            return False
        same = saved is not None or kind is Kind.INCOMING
        start = qemu_launch.Start(
            guest=guest,
            directory=self.directory,
            user=self.record.user,
            accelerator=accelerator.name,
            saved=saved,
            kind=kind,
            machine=self.record.machine if same else "",
            cpu_model=self.record.cpu_model if same else "",
            even_memory=saved is not None and not self.record.cpu_model,
        )
        try:
            taps = {} if kind is Kind.CARRIER else qemu_launch.open_taps(guest, self._host.open_tap)
            child = await asyncio.to_thread(qemu_launch.launch, start, disks, taps, lock, self._host)
        finally:
            qemu_launch.close_all([lock])
        self.process = Process(child.pid, child, self._exited)
        try:  # the kernel takes its time to move a process into control groups, as QEMU does to start
            await asyncio.gather(asyncio.to_thread(self._host.confinement.enter, guest.id, child.pid), self._connect(START_SECONDS))
            if kind is not Kind.CARRIER:
                await self._note_machine(start)
        except NodeFailed as error:
            said = qemu_process.said(self.directory) or str(error.data.get("detail"))
            await self.quit(patience=0, ended=ObservedPower(self.record.ended or ObservedPower.STOPPED))
            raise NodeFailed("The guest's QEMU did not start.", detail=said) from error
        return True

    async def _note_machine(self, start: qemu_launch.Start) -> None:
        """What the guest sees, by its full name: "pc-q35-7.2" where "q35" was asked for."""
        assert self.qmp
        machine = str(await self.qmp.execute("qom-get", path="/machine", property="type"))
        accelerator = await self._host.accelerator()
        begun: dict[str, Any] = {"ended": "", "started_at": time.time()} if start.kind is Kind.GUEST and start.saved is None else {}
        await self.note(
            **begun,
            machine=machine.removesuffix("-machine") or machine_of(start.guest),
            cpu_model=start.cpu_model or cpu_model_of(start.guest, start.accelerator),
            accelerator=accelerator.name,
            accelerator_reason=accelerator.reason,
        )

    async def _lock_or_adopt(self) -> int | None:
        """The guest's lock, or None when a QEMU that runs already holds it and was adopted."""
        deadline = time.monotonic() + LOCK_SECONDS
        while (lock := await asyncio.to_thread(qemu_process.take_lock, self.directory)) is None:
            pid = await asyncio.to_thread(qemu_process.find_pid, self.directory, self.record.guest.id)
            if pid is not None:
                await self._adopt_running(pid)
                return None
            if time.monotonic() > deadline:
                raise NodeFailed("The guest's directory is locked by a process that is not its QEMU.", detail=str(self.directory))
            await asyncio.sleep(0.02)
        return lock

    async def _adopt_running(self, pid: int) -> None:
        self.process = Process(pid, None, self._exited)
        self._status = ""
        if self.move is None or not self.move.holds or not (self.move.incoming or self.carries):
            await self.note(ended="", started_at=self.record.started_at or time.time())
        try:
            await self._connect(5.0)
            if self.qmp and (self.move is None or not self.move.holds):
                await qemu_suspend.abandon(self.qmp)
                if self._status != "inmigrate":  # it runs, so what was saved once does not fit its disks any more
                    await asyncio.to_thread(qemu_suspend.forget, self.directory)
        except NodeFailed as error:  # it runs all the same; the next command tries again
            await self.note(error=error.message, error_detail=str(error.data.get("detail", "")))

    async def _connect(self, seconds: float) -> None:
        qmp = Qmp(self.record.guest.id, self._event)
        await qmp.connect(self.directory / "qmp.sock", seconds)
        self.qmp = qmp
        self._status = (await qmp.execute("query-status"))["status"]
        if self._status == "shutdown":
            self._down = True
            self._host.background(self._after_shutdown(self.process))

    async def quit(self, patience: float = 5.0, ended: ObservedPower = ObservedPower.STOPPED) -> None:
        """End QEMU: politely, so that it writes its disks out, then by force."""
        process = self.process
        if process is None:
            return
        self.process = None  # its exit is no news now
        self._time_to_go.forget()
        if self.qmp and patience:
            try:
                await self.qmp.execute("quit", patience)
            except NodeFailed:
                patience = 0.0
        if not self.qmp or not await process.wait(patience):
            await process.kill()
        await self._gone()
        await self.note(ended=ended.value)

    async def _gone(self) -> None:
        """Nothing of the process is left: forget its session."""
        qmp, self.qmp = self.qmp, None
        self._status, self._down, self._asked = "", False, False
        self._time_to_go.forget()
        if qmp:
            await qmp.close()

    # -- what happens by itself --------------------------------------------------------------------------------------------------------

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        """A QMP event. Those that our own commands cause are no news."""
        if name == "SHUTDOWN" and data.get("guest"):
            self._down = True
            self._host.background(self._after_shutdown(self.process))
        elif name in ("MIGRATION", "MIGRATION_PASS", "JOB_STATUS_CHANGE"):
            self.stirred.set()
        elif name in ("STOP", "RESUME") and not self._down:
            self._status = "paused" if name == "STOP" else "running"
            if not self.lock.locked() and not (self.move and self.move.holds):
                self._host.changed(self.observed())

    def _exited(self, process: Process) -> None:
        if process is self.process:
            self._host.background(self._after_exit(process))

    async def _after_exit(self, process: Process) -> None:
        """QEMU ended though nobody here ended it."""
        async with self.lock:
            if process is not self.process:
                return
            asked = self._asked
            expected = self.carries or (self.move is not None and self.move.incoming and self.move.holds)
            if not expected:  # first: who looks while the rest goes on sees why it ended
                await self.note(ended=(ObservedPower.STOPPED if asked else ObservedPower.CRASHED).value)
            self.process = None
            await self._gone()
            self.stirred.set()
            if expected:
                self._host.changed(self.observed())
                return
            if asked:
                await self.apply_locked(self.record.guest)
            self._host.changed(self.observed())

    async def _after_shutdown(self, process: Process | None) -> None:
        """The guest has shut down, or has used up the time for it: end its QEMU; then, if we had asked, do what that was for."""
        async with self.lock:
            if process is None or process is not self.process:
                return
            asked = self._asked
            await self._went_down()
            if asked:
                await self.apply_locked(self.record.guest)
            self._host.changed(self.observed())

    async def _went_down(self) -> None:
        await self.quit()
        await self.note(ended=ObservedPower.STOPPED.value)

    async def connect_again(self) -> None:
        """Ask QEMU how it is; a session that was lost is made anew."""
        if self.qmp is None:
            await self._connect(START_SECONDS)
        else:
            self._status = (await self.qmp.execute("query-status"))["status"]

    async def quit_carrier(self) -> None:
        """End the QEMU that only carries the disks of a guest that is off."""
        if self.carries:
            await self.quit(ended=ObservedPower(self.record.ended or ObservedPower.STOPPED))

    async def note_move(self, durable: bool = True, **changes: Any) -> MoveRecord:
        """Change the record of the move that is under way."""
        assert self.move
        self.move = msgspec.structs.replace(self.move, **changes)
        async with self._writing:  # whoever writes last writes what is newest
            await asyncio.to_thread(qemu_move_record.save, self.directory, self.move, durable)
        return self.move

    async def note(self, **changes: Any) -> None:
        """Change the record."""
        record = msgspec.structs.replace(self.record, **changes)
        if record != self.record:
            self.record = record
            await asyncio.to_thread(qemu_record.save, self.directory, record)
