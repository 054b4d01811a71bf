"""Moves of simulated guests between hosts of one process: the same phases, in the time that their sizes take."""

import asyncio
from collections.abc import Callable

import msgspec

from pileus.core.moves import expected_rounds, forecast
from pileus.model.base import Model
from pileus.model.errors import Conflict, NodeFailed, NotFound
from pileus.model.guests import Guest, ObservedGuest, ObservedPower, Power
from pileus.model.messages import FinishIncoming, PrepareIncoming, StartOutgoing
from pileus.model.moves import MoveForecast, MoveOptions, MovePhase, MoveProgress, MoveRound, MoveTarget

DIRTY_RATE = "simulated:dirty_rate"
"""Extra spec: bytes a second that such a guest changes."""
BANDWIDTH = 10_000_000_000
"""Bytes a second, where the options set no limit."""
IN_USE = 10
"""A tenth of a disk's size is what has been written to it."""

_GOES_ON = (MovePhase.DISKS, MovePhase.MEMORY, MovePhase.POST_COPY)
_AWAY = (MovePhase.POST_COPY, MovePhase.SWITCHED)


class Move(Model, frozen=True, kw_only=True):
    """One side of a move, as a simulated host remembers it."""

    id: str
    incoming: bool
    phase: MovePhase
    live: bool
    target: MoveTarget = MoveTarget(address="")
    options: MoveOptions = MoveOptions()
    began: float = 0.0
    pause_ms: int | None = None
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether the guest may not be touched: it is on its way, has been given away, or is not here yet."""
        return self.phase in (*_GOES_ON, MovePhase.SWITCHED, MovePhase.READY)


class State(Model, frozen=True, kw_only=True):
    """One simulated guest."""

    guest: Guest
    observed: ObservedGuest
    move: Move | None = None


_WIRES: dict[str, Callable[[MovePhase], None]] = {}
"""What connects the two sides, as a network would: the destination of each move under way in this process hears there how far it is."""


class SimulatedMoves:
    """See MoveDriver. `states` are the driver's; `keep` stores one, `forget` deletes one, `report` says that one changed by itself."""

    def __init__(
        self,
        states: dict[str, State],
        keep: Callable[[State], None],
        forget: Callable[[str], None],
        report: Callable[[ObservedGuest], None],
        clock: Callable[[], float],
    ) -> None:
        self._states = states
        self._keep = keep
        self._forget = forget
        self._report = report
        self._clock = clock

    def adopt(self) -> None:
        """Go on with the moves that an earlier process began."""
        for state in list(self._states.values()):
            if state.move and state.move.incoming and state.move.holds:
                self._listen(state.guest.id, state.move.id)
            elif state.move and state.move.phase in _GOES_ON:
                self._wake(state)

    def settle(self) -> None:
        """Let time do what it has done since anybody looked."""
        for guest_id in [guest_id for guest_id, state in self._states.items() if state.move and state.move.phase in _GOES_ON]:
            self._settle(guest_id)

    async def forecast(self, guest_id: str, options: MoveOptions) -> MoveForecast:
        """From its size and its extra spec."""
        guest = self._state(guest_id).guest
        return forecast(guest.memory_mib << 20, _dirty_rate(guest), options.bandwidth or BANDWIDTH, options.pause_ms, options.deadline)

    async def prepare_incoming(self, request: PrepareIncoming) -> MoveTarget:
        """A record that waits."""
        guest = request.guest
        before = self._states.get(guest.id)
        if before and before.move and before.move.id == request.migration_id and before.move.incoming:
            return before.move.target
        if before:
            raise Conflict("The server is on this host already.")
        live = guest.power in (Power.RUNNING, Power.PAUSED)
        target = MoveTarget(
            address=request.address,
            memory_port=49152 if live else None,
            disk_port=10809 if request.copy_disks else None,
            exports={disk.name: disk.name for disk in guest.disks if not disk.cdrom} if request.copy_disks else {},
            name=guest.id,
            post_copy=True,
        )
        power = ObservedPower.PAUSED if live else ObservedPower(guest.power.value)
        move = Move(id=request.migration_id, incoming=True, phase=MovePhase.READY, live=live, target=target, began=self._clock())
        observed = ObservedGuest(
            id=guest.id, power=power, hypervisor="simulated", migration=move.id, machine=request.machine or "simulated"
        )
        self._keep(State(guest=guest, observed=observed, move=move))
        self._listen(guest.id, move.id)
        return target

    async def start_outgoing(self, request: StartOutgoing) -> MoveProgress:
        """From now on the clock decides how far it is."""
        state = self._state(request.guest_id)
        move = state.move
        if move is None or move.id != request.migration_id:
            if move and move.holds:
                raise Conflict("The server is being moved already.")
            live = state.observed.power in (ObservedPower.RUNNING, ObservedPower.PAUSED)
            phase = MovePhase.DISKS if request.target.disk_port else MovePhase.MEMORY
            move = Move(
                id=request.migration_id,
                incoming=False,
                phase=phase,
                live=live,
                target=request.target,
                options=request.options,
                began=self._clock(),
            )
            state = msgspec.structs.replace(state, move=move)
            self._keep(state)
            self._wake(state)
        return await self.progress(request.migration_id, request.guest_id)

    async def progress(self, migration_id: str, guest_id: str) -> MoveProgress:
        """By the clock."""
        self._settle(guest_id)
        state = self._states.get(guest_id)
        if state is None or state.move is None or state.move.id != migration_id:
            return MoveProgress(phase=MovePhase.UNKNOWN)
        return self._progress(state, state.move)

    async def force(self, migration_id: str, guest_id: str) -> MoveProgress:
        """At once."""
        found = await self.progress(migration_id, guest_id)
        if found.phase in (MovePhase.DISKS, MovePhase.MEMORY):
            self._switch(guest_id, MovePhase.SWITCHED)
        return await self.progress(migration_id, guest_id)

    async def cancel(self, migration_id: str, guest_id: str) -> MoveProgress:
        """Source: as if nothing had been. Destination: nothing is left."""
        found = await self.progress(migration_id, guest_id)
        state = self._states.get(guest_id)
        if found.phase in (MovePhase.UNKNOWN, MovePhase.FINISHED) or state is None or state.move is None:
            return found
        if state.move.incoming:
            self._forget(guest_id)
            return MoveProgress(phase=MovePhase.CANCELLED)
        if found.phase in (MovePhase.DISKS, MovePhase.MEMORY):
            self._end(state, state.move, MovePhase.CANCELLED)
        return await self.progress(migration_id, guest_id)

    async def finish_incoming(self, request: FinishIncoming) -> ObservedGuest:
        """It runs here, unless it did not run there."""
        state = self._state(request.guest.id)
        move = state.move
        if move is None or move.id != request.migration_id or not move.incoming:
            raise NotFound("This host knows nothing of this move.")
        if move.phase is MovePhase.FINISHED:
            return state.observed
        if move.phase not in _AWAY:
            raise Conflict("The server has not been given away by its host yet.")
        guest = request.guest
        observed = msgspec.structs.replace(
            state.observed,
            power=ObservedPower(guest.power.value),
            generation=guest.generation,
            reboots_soft=guest.reboots_soft,
            reboots_hard=guest.reboots_hard,
            builds=guest.builds,
            migration="",
            accelerator="none",
            accelerator_reason="simulated",
            started_at=self._clock() if move.live else None,
        )
        _WIRES.pop(move.id, None)
        self._keep(State(guest=guest, observed=observed, move=msgspec.structs.replace(move, phase=MovePhase.FINISHED)))
        return observed

    async def resume_outgoing(self, migration_id: str, guest_id: str) -> ObservedGuest:
        """As it was."""
        state = self._state(guest_id)
        move = state.move
        if move is None or move.id != migration_id or move.incoming:
            raise NotFound("This host knows nothing of this move.")
        if move.phase is MovePhase.POST_COPY:
            reason = "The other host was lost in post-copy, with a part of the server's memory, so that it was ended. Its disks are whole."
            state = self._end(state, move, MovePhase.FAILED, reason)
            ended = msgspec.structs.replace(state.observed, power=ObservedPower.CRASHED, started_at=None)
            self._keep(msgspec.structs.replace(state, observed=ended))
            self._report(ended)
            raise NodeFailed(reason)
        if move.phase is MovePhase.SWITCHED:
            state = self._end(state, move, MovePhase.FAILED, "The other host was lost before it ran the server.")
        return state.observed

    def let_go(self, guest_id: str) -> None:
        """The guest is removed: nobody listens any more."""
        state = self._states.get(guest_id)
        if state and state.move and state.move.incoming:
            _WIRES.pop(state.move.id, None)

    # -- inner -----------------------------------------------------------------------------------------------------------------------

    def _state(self, guest_id: str) -> State:
        state = self._states.get(guest_id)
        if state is None:
            raise NotFound(f"There is no guest {guest_id} on this host.")
        return state

    def _listen(self, guest_id: str, migration_id: str) -> None:
        def heard(phase: MovePhase) -> None:
            state = self._states.get(guest_id)
            if state and state.move and state.move.id == migration_id and state.move.holds:
                self._keep(msgspec.structs.replace(state, move=msgspec.structs.replace(state.move, phase=phase)))
                self._report(state.observed)

        _WIRES[migration_id] = heard

    def _wake(self, state: State) -> None:
        assert state.move
        disks, rounds = _plan(state.guest, state.move)
        delay = disks + sum(one.seconds for one in rounds) - (self._clock() - state.move.began)
        asyncio.get_running_loop().call_later(max(0.0, delay) + 0.001, lambda: self._settle(state.guest.id))

    def _settle(self, guest_id: str) -> None:
        state = self._states.get(guest_id)
        move = state.move if state else None
        if state is None or move is None or move.incoming or move.phase not in _GOES_ON:
            return
        if move.live and state.observed.power not in (ObservedPower.RUNNING, ObservedPower.PAUSED):
            self._end(state, move, MovePhase.FAILED, "The server ended while it was moved.")
            return
        disks, rounds = _plan(state.guest, move)
        elapsed = self._clock() - move.began
        memory = sum(one.seconds for one in rounds)
        if elapsed >= disks + memory:
            late = bool(rounds) and rounds[-1].predicted_pause_ms > move.options.pause_ms and move.options.post_copy
            left = rounds[-1].remaining / rounds[-1].bandwidth if late else 0.0
            self._switch(guest_id, MovePhase.SWITCHED if elapsed >= disks + memory + left else MovePhase.POST_COPY)
        elif elapsed >= disks and move.phase is MovePhase.DISKS:
            self._keep(msgspec.structs.replace(state, move=msgspec.structs.replace(move, phase=MovePhase.MEMORY)))

    def _switch(self, guest_id: str, phase: MovePhase) -> None:
        state = self._states[guest_id]
        assert state.move
        if state.move.phase is phase:
            return
        wire = _WIRES.get(state.move.id)
        if wire is None and state.move.phase is not MovePhase.POST_COPY:
            self._end(state, state.move, MovePhase.FAILED, "The other host does not answer.")
            return
        rounds = _plan(state.guest, state.move)[1]
        pause = state.move.pause_ms if state.move.pause_ms is not None else rounds[-1].predicted_pause_ms if rounds else 0
        if phase is MovePhase.POST_COPY:
            pause = min(pause, state.move.options.pause_ms)
        power = ObservedPower.PAUSED if state.move.live else state.observed.power
        observed = msgspec.structs.replace(state.observed, power=power, migration=state.move.id)
        state = State(guest=state.guest, observed=observed, move=msgspec.structs.replace(state.move, phase=phase, pause_ms=pause))
        if wire:
            wire(phase)  # first: who is killed in between says it again, while nobody asks one who has switched
        self._keep(state)
        self._report(observed)
        if phase is MovePhase.POST_COPY:
            asyncio.get_running_loop().call_later(rounds[-1].remaining / rounds[-1].bandwidth, lambda: self._settle(guest_id))

    def _end(self, state: State, move: Move, phase: MovePhase, error: str = "") -> State:
        """The guest stays here."""
        power = state.observed.power
        if state.observed.migration and move.live:
            power = ObservedPower(state.guest.power.value)
        observed = msgspec.structs.replace(state.observed, migration="", power=power)
        state = State(guest=state.guest, observed=observed, move=msgspec.structs.replace(move, phase=phase, error=error))
        self._keep(state)
        return state

    def _progress(self, state: State, move: Move) -> MoveProgress:
        elapsed = self._clock() - move.began
        if move.incoming:
            return MoveProgress(phase=move.phase, seconds=elapsed, error=move.error, ran=move.phase is MovePhase.FINISHED)
        disks, rounds = _plan(state.guest, move)
        memory = sum(one.seconds for one in rounds)
        done = [one for index, one in enumerate(rounds) if disks + sum(each.seconds for each in rounds[: index + 1]) <= elapsed]
        total = state.guest.memory_mib << 20 if rounds else 0
        disk_total = _written(state.guest) if move.target.disk_port else 0
        over = move.phase is MovePhase.SWITCHED
        return MoveProgress(
            phase=move.phase,
            memory_total=total,
            memory_sent=sum(one.sent for one in done),
            memory_remaining=0 if over or not rounds else done[-1].remaining if done else total,
            disk_total=disk_total,
            disk_sent=disk_total if over or not disks else int(disk_total * min(1.0, elapsed / disks)),
            seconds=min(elapsed, disks + memory) if over else elapsed,
            pause_ms=move.pause_ms,
            rounds=done,
            error=move.error,
        )


def _written(guest: Guest) -> int:
    return sum(disk.size for disk in guest.disks if not disk.cdrom) // IN_USE


def _dirty_rate(guest: Guest) -> int:
    given = guest.extra.get(DIRTY_RATE, "")
    return int(given) if given.isdigit() else (guest.memory_mib << 20) // 100


def _plan(guest: Guest, move: Move) -> tuple[float, list[MoveRound]]:
    """Seconds for the disks, and the memory's rounds until they converge or the deadline."""
    bandwidth = move.options.bandwidth or BANDWIDTH
    disks = _written(guest) / bandwidth if move.target.disk_port else 0.0
    if not move.live:
        return disks, []
    memory, dirty = guest.memory_mib << 20, _dirty_rate(guest)
    rounds = expected_rounds(memory, dirty, bandwidth, move.options.pause_ms)
    spent = sum(one.seconds for one in rounds)
    if rounds[-1].predicted_pause_ms > move.options.pause_ms and rounds[-1].seconds > 0:  # the same again and again, until the deadline
        while spent + rounds[-1].seconds < move.options.deadline and len(rounds) < 1000:
            rounds.append(msgspec.structs.replace(rounds[-1], number=len(rounds) + 1, sent=rounds[-1].remaining))
            spent += rounds[-1].seconds
    return disks, rounds


def refuse_when_held(move: Move | None) -> None:
    """A guest that is being moved can't be snapshotted."""
    if move and move.holds and (move.incoming or move.phase in _AWAY):
        raise NodeFailed("The server is being moved to another host.")
