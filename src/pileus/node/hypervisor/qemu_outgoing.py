"""The source of a move: disks are mirrored, memory is sent round by round, tried harder as time passes, and the guest is given away.

One task per move owns all of that; others only leave wishes in the record. It looks at QEMU before each step, so that a task of a later
process goes on where this one ended.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from pileus.core.moves import Measure, next_measure
from pileus.model.errors import NodeFailed
from pileus.model.guests import Power
from pileus.model.moves import MoveOptions, MovePhase, MoveRound, MoveTarget
from pileus.node.hypervisor import qemu_move_disks, qemu_move_keys
from pileus.node.hypervisor.qemu_guest import Host, QemuGuest
from pileus.node.hypervisor.qemu_move_record import MoveRecord
from pileus.node.hypervisor.qmp import Qmp

log = logging.getLogger(__name__)

UNLIMITED = 1 << 40
"""Bytes a second; QEMU's own default is meant for a network of 2010."""
LONGEST_PAUSE = 2_000_000
"""Milliseconds, the most that QEMU accepts: it switches at the end of the round that it is in."""
LOOK_SECONDS = 0.1
SWITCH_SECONDS = 600.0
"""How long disks may take to catch up while the guest stands still."""
SETTLE_SECONDS = 30.0
CLEAR_SECONDS = 30.0
"""How long QEMU may take to end what is cancelled."""

_OVER = ("completed", "failed", "cancelled")


class Stopped(Exception):
    """Someone wished that the move be cancelled."""


class Outgoing:
    """The work of one move at its source. `cancelled` may be set by anybody; the task ends as soon as that can be done."""

    def __init__(self, guest: QemuGuest, host: Host) -> None:
        self.guest = guest
        self.cancelled = False
        self._host = host
        self._looks = 0  # QEMU's, at what has changed
        self._sent = 0  # bytes, at the end of the last round
        self._since = 0.0

    async def run(self) -> None:
        """Until the guest has been given away, or stays."""
        guest = self.guest
        assert guest.move
        try:
            if not guest.move.kept:
                await self._send()
            await self._given_away()
        except Stopped:
            await self._stay(MovePhase.CANCELLED)
        except NodeFailed as error:
            await self._stay(MovePhase.FAILED, error)
        except Exception as error:
            log.exception("%s: its move failed", guest.record.guest.id)
            detail = f"{type(error).__name__}: {error}"
            await self._stay(MovePhase.FAILED, NodeFailed("The move failed because of an internal error.", detail=detail))

    # -- steps -----------------------------------------------------------------------------------------------------------------------

    @property
    def _qmp(self) -> Qmp:
        if self.guest.qmp is None or self.guest.process is None or self.guest.process.exited.is_set():
            raise NodeFailed("The server ended while it was moved.")
        return self.guest.qmp

    @property
    def _target(self) -> MoveTarget:
        assert self.guest.move and self.guest.move.target
        return self.guest.move.target

    @property
    def _options(self) -> MoveOptions:
        assert self.guest.move
        return self.guest.move.options

    async def _send(self) -> None:
        """All of it, until the destination has it."""
        assert self.guest.move
        if self.guest.move.copies:
            await self._copy_disks()
        if self.guest.move.live:
            await self._send_memory()
        else:
            await self._let_go_of_disks()

    async def _copy_disks(self) -> None:
        """Until each mirror has caught up; from then on they follow what the guest writes."""
        if self._target.disk_port is None or (self.guest.move and self.guest.move.memory_began_at is not None):
            return
        move = self.guest.move
        assert move
        await qemu_move_disks.mirror(self._qmp, self._target, move.secured, self._options.bandwidth)
        first, limited, blocking = 0, bool(self._options.bandwidth), False
        while True:
            self._heed()
            sent, total, ready = qemu_move_disks.copied(await qemu_move_disks.mirrors(self._qmp))
            move = await self.guest.note_move(durable=False, disk_sent=sent, disk_total=total)
            if ready:
                return
            first = first or total
            late = move.forced or time.time() - move.began_at > self._options.deadline
            if limited and ((first and sent >= first) or late):
                limited = False  # what is left is what the guest writes meanwhile: a limit would let it run away
                await qemu_move_disks.lift_limit(self._qmp)
            if late and move.live and not blocking:
                blocking = True
                await self._copy_again()
            await self._stir()

    async def _copy_again(self) -> None:
        """The guest writes faster than its disks are copied: once more, and now its writes wait for the copy."""
        await qemu_move_disks.end_mirrors(self._qmp, complete=False)
        await _until(lambda: qemu_move_disks.concluded(self._qmp, complete=False))
        move = self.guest.move
        await qemu_move_disks.mirror(self._qmp, self._target, bool(move and move.secured), 0, blocking=True)

    async def _send_memory(self) -> None:
        move = self.guest.move
        assert move
        if move.memory_began_at is None or await self._was_not_told(move):
            await self._begin_memory()
        while True:
            found = await self._qmp.execute("query-migrate")
            status = str(found.get("status"))
            if status == "completed":
                self._take_figures(found, pause_ms=int(found.get("downtime", 0)), memory_remaining=0)
                return
            if status not in ("pre-switchover", "device"):
                self._take_figures(found)
                await self.guest.note_move(durable=False)
            if status in ("failed", "cancelled"):
                raise NodeFailed("The server's memory could not be sent to the other host.", detail=str(found.get("error-desc") or status))
            if status == "pre-switchover":
                self._heed()
                await self._switch_disks()
                continue
            if status == "active":
                self._heed()
                await self._escalate(found)
            if status == "postcopy-active" and self.guest.move and self.guest.move.phase is not MovePhase.POST_COPY:
                await self.guest.note_move(phase=MovePhase.POST_COPY)
                self._host.changed(self.guest.observed())
            await self._stir()

    async def _was_not_told(self, move: MoveRecord) -> bool:
        """Whether a process that was about to tell QEMU to send the memory did not live to do it: what QEMU says is of an earlier move."""
        status = str((await self._qmp.execute("query-migrate")).get("status", "none"))
        if status == "none":
            return True
        return move.phase is not MovePhase.POST_COPY and status in _OVER and await _settled(self._qmp) != "postmigrate"

    async def _begin_memory(self) -> None:
        options, target, move = self._options, self._target, self.guest.move
        assert move
        await self.guest.note_move(phase=MovePhase.MEMORY, memory_began_at=time.time())
        wanted = {
            "events": True,
            "return-path": True,
            "pause-before-switchover": True,
            "late-block-activate": True,
            "auto-converge": options.auto_converge,
            "postcopy-ram": options.post_copy and target.post_copy,
        }
        listed = [{"capability": name, "state": state} for name, state in wanted.items()]
        await self._qmp.execute("migrate-set-capabilities", capabilities=listed)
        await self._qmp.execute(
            "migrate-set-parameters",
            **{
                "max-bandwidth": options.bandwidth or UNLIMITED,
                "downtime-limit": min(options.pause_ms, LONGEST_PAUSE),
                "throttle-trigger-threshold": 100,  # QEMU throttles only a guest that changes more than is sent, until we say otherwise
                "tls-creds": qemu_move_keys.OBJECT if move.secured else "",
                "tls-hostname": target.name if move.secured else "",
            },
        )
        address = f"[{target.address}]" if ":" in target.address else target.address
        await self._qmp.execute("migrate", uri=f"tcp:{address}:{target.memory_port}")

    async def _switch_disks(self) -> None:
        """The guest stands still: what it wrote last goes over, then the rest of its memory."""
        deadline = time.monotonic() + SWITCH_SECONDS
        await qemu_move_disks.end_mirrors(self._qmp, complete=True)
        while not await qemu_move_disks.concluded(self._qmp, complete=True):
            if time.monotonic() > deadline:
                raise NodeFailed("The disks did not catch up while the server stood still.")
            await self._stir(0.005)
        try:
            await self._qmp.execute("migrate-continue", state="pre-switchover")
        except NodeFailed as error:  # told already: QEMU calls it "pre-switchover" until its own thread has woken
            if "not in expected state" not in str(error.data.get("detail", "")):
                raise

    async def _let_go_of_disks(self) -> None:
        """Of a guest that is off: nothing writes, so what the mirrors have is all."""
        if not self._target.disk_port:
            return
        await qemu_move_disks.end_mirrors(self._qmp, complete=True)
        while not await qemu_move_disks.concluded(self._qmp, complete=True):
            await self._stir(0.02)

    async def _escalate(self, found: Mapping[str, Any]) -> None:
        move = self.guest.move
        assert move
        if not found.get("ram"):
            return  # QEMU has only just begun
        seconds = time.time() - (move.memory_began_at or time.time())
        post_copy = self._target.post_copy
        measure = next_measure(move.rounds, move.options, seconds=seconds, post_copy=post_copy, forced=move.forced)
        if measure is Measure.AUTO_CONVERGE:
            await self._qmp.execute("migrate-set-parameters", **{"throttle-trigger-threshold": 20})
        elif measure is Measure.POST_COPY:
            await self._qmp.execute("migrate-start-postcopy")
        elif measure is Measure.PAUSE:
            await self._qmp.execute("migrate-set-parameters", **{"downtime-limit": LONGEST_PAUSE, "max-bandwidth": UNLIMITED})

    # -- how it ends -------------------------------------------------------------------------------------------------------------------

    async def _given_away(self) -> None:
        guest = self.guest
        assert guest.move
        if guest.move.live:
            state = await _settled(self._qmp)
            if state != "postmigrate":  # figures of an earlier move
                await self._stay(MovePhase.FAILED, NodeFailed("The server was not given away.", detail=f"QEMU is {state}"))
                return
        else:
            await guest.note_move(kept=True)  # who finds no QEMU any more knows that it was not lost
            await guest.quit_carrier()
        # Not durable, as the guest stands still: a host that loses power loses its QEMU too, and runs nothing that it is not told to run.
        await guest.note_move(durable=False, phase=MovePhase.SWITCHED, ended_at=time.time(), disk_sent=guest.move.disk_total)
        self._host.changed(guest.observed())

    async def _stay(self, phase: MovePhase, error: NodeFailed | None = None) -> None:
        """The guest goes on here: leave nothing of the move in its QEMU. In post-copy there is no way back."""
        guest = self.guest
        assert guest.move
        try:
            phase = await self._clear(phase)
        except NodeFailed as problem:
            log.warning("%s: after its move: %s %s", guest.record.guest.id, problem.message, problem.data.get("detail", ""))
        if not guest.move.live:
            await guest.quit_carrier()
        if guest.move.phase is MovePhase.POST_COPY and phase is not MovePhase.CANCELLED:
            phase = MovePhase.SWITCHED  # the destination may run: this host never does by itself
        said, detail = (error.message, str(error.data.get("detail", ""))) if error else ("", "")
        await guest.note_move(phase=phase, ended_at=time.time(), error=said, error_detail=detail)
        self._host.changed(guest.observed())

    async def _clear(self, phase: MovePhase) -> MovePhase:
        qmp = self._qmp
        if self.guest.move and self.guest.move.live:
            status = str((await qmp.execute("query-migrate")).get("status", "none"))
            if status not in (*_OVER, "none"):
                await qmp.execute("migrate_cancel")
                await _until(lambda: _migration_over(qmp))
                status = str((await qmp.execute("query-migrate")).get("status"))
            if status == "completed" and await _settled(qmp) == "postmigrate":
                return MovePhase.SWITCHED  # it was too late
        await qemu_move_disks.end_mirrors(qmp, complete=False)
        await _until(lambda: qemu_move_disks.concluded(qmp, complete=False))
        await qemu_move_keys.unload_keys(qmp)
        wanted = self.guest.record.guest.power
        if self.guest.move and self.guest.move.live and wanted is Power.RUNNING and await _settled(qmp) == "paused":
            await qmp.execute("cont")  # stopped for the switch that did not come about
        return phase

    # -- what is seen -------------------------------------------------------------------------------------------------------------------

    def _heed(self) -> None:
        if self.cancelled:
            raise Stopped

    async def _stir(self, seconds: float = LOOK_SECONDS) -> None:
        """Until QEMU says that something happened, or for so long."""
        try:
            await asyncio.wait_for(self.guest.stirred.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self.guest.stirred.clear()

    def _take_figures(self, found: Mapping[str, Any], **more: int) -> None:
        """Keep them in mind; they are written when time is not so short."""
        ram, move = found.get("ram"), self.guest.move
        if not ram or move is None:
            return
        rounds, looks = list(move.rounds), int(ram["dirty-sync-count"])
        sent, now = int(ram["transferred"]), time.monotonic()
        if looks > self._looks:  # at what has changed: a round has ended; two, where this process looked too late
            if self._since:
                number = rounds[-1].number + 1 if rounds else 1
                rounds.append(_round(number, now - self._since, sent - self._sent, ram, found))
            self._looks, self._sent, self._since = looks, sent, now
        figures = {"memory_total": int(ram["total"]), "memory_sent": sent, "memory_remaining": int(ram["remaining"]), **more}
        self.guest.move = msgspec.structs.replace(move, rounds=rounds[-1000:], **figures)


async def _migration_over(qmp: Qmp) -> bool:
    return (await qmp.execute("query-migrate")).get("status") in _OVER


async def _settled(qmp: Qmp) -> str:
    """The guest's state in QEMU's words, once a switch is over: the move is "completed" a moment before the guest is "postmigrate"."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        state = str((await qmp.execute("query-status"))["status"])
        if state != "finish-migrate" or time.monotonic() > deadline:
            return state
        await asyncio.sleep(0.002)


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait for QEMU to end something, for a while."""
    deadline = time.monotonic() + CLEAR_SECONDS
    while time.monotonic() < deadline:
        if await done():
            return
        await asyncio.sleep(0.02)


def _round(number: int, seconds: float, sent: int, ram: Mapping[str, Any], found: Mapping[str, Any]) -> MoveRound:
    """One line of the table, as QEMU counts: its rate of changed pages is that of the last second."""
    bandwidth = int(float(ram.get("mbps", 0)) * 1e6 / 8)
    remaining = int(ram["remaining"])
    return MoveRound(
        number=number,
        seconds=seconds,
        sent=sent,
        remaining=remaining,
        dirty_rate=int(ram.get("dirty-pages-rate", 0)) * int(ram.get("page-size", 4096)),
        bandwidth=bandwidth,
        throttle=int(found.get("cpu-throttle-percentage", 0)),
        predicted_pause_ms=round(remaining * 1000 / bandwidth) if bandwidth else int(found.get("expected-downtime", 0)),
    )
