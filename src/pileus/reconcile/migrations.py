"""Migrations: a server goes from one host to another, step by step; each step looks at both sides and does one idempotent thing.

Until the transaction that makes the destination the server's host, the source owns the guest, and everything can be undone; from then on
the destination does. Neither side runs what it does not own, so whatever is killed, one copy remains: the one that the records name.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from pileus import clock
from pileus.bus.local import Bus
from pileus.config import Config
from pileus.core import request_ids
from pileus.core.migrations import GIVEN_AWAY, QUICK, UNDOABLE, look_again
from pileus.model.errors import Conflict, Invalid, NodeFailed, NotFound, Unavailable
from pileus.model.guests import ObservedPower, Power
from pileus.model.messages import (
    ApplyGuest,
    FinishIncoming,
    ForceMove,
    GuestReply,
    IncomingReady,
    PrepareIncoming,
    RemoveGuest,
    ResumeOutgoing,
    StartOutgoing,
)
from pileus.model.migrations import Migration, MigrationKind, MigrationStatus, MigrationStep
from pileus.model.moves import MovePhase, MoveProgress
from pileus.model.servers import Server
from pileus.reconcile import migration_outcomes, migration_place
from pileus.reconcile.liveness import Liveness
from pileus.reconcile.migration_hosts import APPLY_TIMEOUT, SWITCH_TIMEOUT, BothHosts, Wake
from pileus.reconcile.migration_place import is_live, keeps_memory
from pileus.reconcile.move_keys import make_keys
from pileus.reconcile.scope import EVERYTHING
from pileus.reconcile.server_inputs import guest_on
from pileus.store import migration_records as records
from pileus.store import servers
from pileus.store.database import Database
from pileus.store.hosts import HOSTS, every_head
from pileus.store.sealing import seal_of

Action = Callable[[Migration, Server], Awaitable[float | None]]
EARLIER = 30.0  # seconds that a move waits for what the server's last one left to be removed; then it goes elsewhere
GIVE_UP = 120.0  # seconds after which a destination that does not answer is given up
LAST_PART = 30.0  # seconds that the last of a guest may take to its destination before the source has it back
NOTE_EVERY = 0.5  # seconds between two records of the progress
AFTER_SWITCH = (MigrationStep.FINISH, MigrationStep.RESUME, MigrationStep.REVERT)
"""Steps of which the server waits, and that are not undone."""


class Migrations:
    """One migration a step."""

    name = "migrations"
    scope = EVERYTHING

    def __init__(self, db: Database, bus: Bus, config: Config, wake: Wake) -> None:
        self.db = db
        self.bus = bus
        self.config = config
        self.wake = wake
        self.liveness = Liveness(bus, config.node_silence)
        self.hosts = BothHosts(db, bus, config, wake)
        self._noted: dict[str, tuple[float, MovePhase, int]] = {}
        self._carried: dict[str, dict[str, list[str]]] = {}  # connections of guests that are between their hosts
        self.actions: dict[MigrationStep, Action] = {
            MigrationStep.PLACE: self._place,
            MigrationStep.STOP: self._stop,
            MigrationStep.PREPARE: self._prepare,
            MigrationStep.SEND: self._send,
            MigrationStep.FINISH: self._finish,
            MigrationStep.CLEAN: self._clean,
            MigrationStep.VERIFY: self._verify,
            MigrationStep.REVERT: self._revert,
            MigrationStep.RESUME: self._resume,
            MigrationStep.UNDO: self._undo,
        }

    async def scan(self) -> list[str]:
        """Moves that are not over."""
        return await records.unsettled(self.db)

    async def step(self, id: str) -> float | None:
        """Do the next thing for a move. What fails before the switch ends it, with the reason in its record and in the server's history."""
        migration = await records.MIGRATIONS.get(self.db, id)
        if migration is None or migration.step == MigrationStep.DONE or migration.kind == MigrationKind.EVACUATION:
            self._noted.pop(id, None)
            self._carried.pop(id, None)
            return None
        request_ids.CURRENT.set(migration.request_id)
        if not await self.scope.owns(migration.source):
            return None
        server = await servers.SERVERS.get(self.db, migration.server_id)
        if server is None:
            await self.db.write(lambda tx: records.save(tx, migration, step=MigrationStep.DONE, keys=None))
            return None
        try:
            under_way = migration.step == MigrationStep.SEND and migration.started_at is not None  # its source is asked first
            if migration.step in UNDOABLE and not under_way and (reason := unwanted(migration, server)):
                return await self._give_up(migration, MigrationStatus.CANCELLED, reason)
            return await self.actions[migration.step](migration, server)
        except Unavailable as error:
            late = migration.step == MigrationStep.PREPARE and clock.now() > migration.updated_at + GIVE_UP
            if late:
                return await self._give_up(migration, MigrationStatus.ERROR, error.message)
            if await self._ended_without_host(migration, server):
                return 0.0
            raise
        except (NodeFailed, Invalid, NotFound) as error:
            if migration.step not in UNDOABLE:
                raise
            return await self._give_up(migration, MigrationStatus.ERROR, error.message)

    async def _give_up(self, migration: Migration, status: MigrationStatus, reason: str) -> float:
        """Record that it is to be undone; from now on the destination never begins."""
        await self.db.write(lambda tx: records.save(tx, migration, step=MigrationStep.UNDO, status=status, error=reason))
        return 0.0

    async def _ended_without_host(self, migration: Migration, server: Server) -> bool:
        """Where a host counts as down, end what need not wait for it. False: it is waited for.

        The destination never begins what has not been recorded as its own. So whatever a source that is down does or did (it runs the
        guest, or has sent all of it and waits), its copy is the one; what has arrived elsewhere by then goes.
        """
        lost = await self._lost()
        step = migration.step
        if step in (MigrationStep.STOP, MigrationStep.SEND) and migration.sender in lost:
            reason = unwanted(migration, server)
            status = MigrationStatus.CANCELLED if reason else MigrationStatus.ERROR
            await self._give_up(migration, status, f"{reason} {down(migration.sender)}".strip())
        elif step == MigrationStep.RESUME and is_live(migration) and migration.source in lost:
            await self.db.write(lambda tx: migration_outcomes.left_at_source(tx, migration))
        elif server.deleted_at is not None and step in AFTER_SWITCH and lost & {server.host, migration.source}:
            await self.db.write(lambda tx: migration_outcomes.abandoned(tx, migration))
        else:
            return False
        self.wake("servers", server.id)
        return True

    async def _lost(self) -> set[str]:
        return self.liveness.lost(await every_head(self.db), clock.now())

    # -- up to the switch ------------------------------------------------------------------------------------------------------------

    async def _place(self, migration: Migration, server: Server) -> float | None:
        earlier = [one for one in await records.alive_of(self.db, server.id) if one.id != migration.id]
        if earlier and clock.now() < migration.created_at + EARLIER:
            return QUICK
        found = await migration_place.choice(self.db, self.config, migration, server)
        await self.db.write(lambda tx: migration_place.claim(tx, migration, found))
        return 0.0

    async def _stop(self, migration: Migration, server: Server) -> float | None:
        """Shut the guest down where it is, cleanly."""
        guest, domains = await guest_on(self.db, self.config, server, migration.sender, self.hosts.readings.begin())
        off = msgspec.structs.replace(guest, power=Power.STOPPED)
        reply = await self.hosts.reply(
            migration.sender, ApplyGuest(guest=off, domains=domains, seen=server.observed), GuestReply, APPLY_TIMEOUT
        )
        if reply.guest.error is not None:
            return await self._give_up(migration, MigrationStatus.ERROR, reply.guest.error)
        if reply.guest.power in (ObservedPower.RUNNING, ObservedPower.PAUSED):
            return QUICK
        await self.db.write(lambda tx: migration_outcomes.stopped(tx, migration, reply.guest))
        await self.hosts.wake_routing(server.id, migration.sender)
        return 0.0

    async def _prepare(self, migration: Migration, server: Server) -> float | None:
        """Ports, keys, and a destination that waits."""
        destination = migration.receiver
        assert server.observed is not None  # it has run
        if migration.keys is None:
            text = msgspec.json.encode(make_keys(migration.id, clock.now())).decode()
            keys = seal_of(self.config.directory).close(text)
            migration = await self.db.write(lambda tx: migration_outcomes.prepared(tx, migration, keys))
        await self.hosts.wake_routing(server.id)
        both = self.hosts.keys(migration)
        guest, domains = await self.hosts.guest(migration, server, destination)
        host = await HOSTS.first(self.db, "name = ?", destination)
        address = host.report.address if host and host.report else ""
        request = PrepareIncoming(
            migration_id=migration.move_id,
            guest=guest,
            domains=domains,
            copy_disks=migration.copy_disks,
            address=address,
            keys=both.destination,
            machine=server.observed.machine if keeps_memory(migration, server) else "",
            cpu_model=server.observed.cpu_model if keeps_memory(migration, server) else "",
        )
        measuring = asyncio.ensure_future(self.hosts.forecast(migration))  # meanwhile, as it takes a second
        try:
            reply = await self.hosts.reply(destination, request, IncomingReady, APPLY_TIMEOUT)
            forecast = await measuring
        finally:
            measuring.cancel()
        await self.hosts.wake_routing(server.id, destination)
        target = msgspec.structs.replace(reply.target, name=both.name)
        changes = {"target": target, "forecast": forecast, "step": MigrationStep.SEND, "status": MigrationStatus.RUNNING}
        await self.db.write(lambda tx: records.save(tx, migration, **changes))
        return 0.0

    async def _send(self, migration: Migration, server: Server) -> float | None:
        """Begin to send, then look how far it is, until the source has given the guest away."""
        if migration.started_at is None:
            migration, progress = await self._begin(migration)
        elif reason := unwanted(migration, server):
            progress = await self.hosts.cancel(migration.sender, migration)
            if progress.phase not in GIVEN_AWAY:
                return await self._give_up(migration, MigrationStatus.CANCELLED, reason)
        elif migration.force_complete:
            progress = await self.hosts.move(migration.sender, ForceMove(migration_id=migration.move_id, guest_id=server.id))
            migration = await self.db.write(lambda tx: records.save(tx, migration, force_complete=False))
        else:
            progress = await self._look(migration)
        if progress.phase in GIVEN_AWAY:
            return await self._switch(migration, progress)
        await self._note(migration, progress)
        if progress.phase in (MovePhase.FAILED, MovePhase.CANCELLED, MovePhase.UNKNOWN):
            reason = progress.error or f"The source says that the move is {progress.phase}."
            return await self._give_up(migration, MigrationStatus.ERROR, reason)
        return look_again(progress)

    async def _begin(self, migration: Migration) -> tuple[Migration, MoveProgress]:
        assert migration.target is not None  # the step before
        request = StartOutgoing(
            migration_id=migration.move_id,
            guest_id=migration.server_id,
            target=migration.target,
            options=migration.options,
            keys=self.hosts.keys(migration).source,
        )
        started = await self.db.write(lambda tx: records.save(tx, migration, started_at=clock.now()))
        try:
            return started, await self.hosts.move(migration.sender, request, APPLY_TIMEOUT)
        except NodeFailed as error:
            return started, MoveProgress(phase=MovePhase.FAILED, error=error.message)

    async def _look(self, migration: Migration) -> MoveProgress:
        """What the source says. When it is silent: whether the destination has got everything."""
        try:
            progress = await self.hosts.look(migration.sender, migration)
        except Unavailable:
            there = await self.hosts.look(migration.receiver, migration)
            if there.phase != MovePhase.SWITCHED:
                raise
            return there
        if progress.phase != MovePhase.UNKNOWN:
            return progress
        return (await self._begin(migration))[1]  # killed before it was told to begin

    async def _switch(self, migration: Migration, progress: MoveProgress) -> float | None:
        """All is there. The destination gets the guest by one transaction, if it is alive to take it; else the source goes on."""
        try:
            there, connections = await asyncio.gather(
                self.hosts.look(migration.receiver, migration, SWITCH_TIMEOUT),
                self.hosts.connections(migration),  # at once: the guest waits for us
            )
        except Unavailable as error:
            return await self._give_up(migration, MigrationStatus.ERROR, f"The destination is gone: {error.message}")
        if there.phase in (MovePhase.UNKNOWN, MovePhase.FAILED, MovePhase.CANCELLED):
            reason = there.error or "it knows nothing of the guest any more"
            return await self._give_up(migration, MigrationStatus.ERROR, f"The destination has lost the guest: {reason}")
        committed, server = await self.db.write(lambda tx: migration_outcomes.commit(tx, migration, progress))
        self._carried[migration.id] = connections
        return await self._finish(committed, server)

    # -- the destination has it ------------------------------------------------------------------------------------------------------

    async def _finish(self, migration: Migration, server: Server) -> float | None:
        """Run it at the destination, while its traffic is turned there."""
        await self.hosts.wake_routing(server.id)
        guest, _ = await self.hosts.guest(migration, server, migration.receiver)
        carried = self._carried.get(migration.id, {})
        request = FinishIncoming(migration_id=migration.move_id, guest=guest, connections=carried)
        try:
            reply = await self.hosts.reply(migration.receiver, request, GuestReply, APPLY_TIMEOUT)
        except NodeFailed as error:
            late = clock.now() > migration.updated_at + LAST_PART
            if error.data.get("kind") == Conflict.__name__ and not late:  # the last of it is on its way
                return QUICK
            reason = error.message
            if not await self._go_back(migration, reason):
                await self.db.write(lambda tx: migration_outcomes.lost(tx, migration, reason))
            return 0.0
        last = await self.hosts.last(migration)
        await self.db.write(lambda tx: migration_outcomes.arrived(tx, migration, reply.guest, last))
        self.wake("servers", server.id)
        await self.hosts.wake_routing(server.id, migration.sender)
        return 0.0

    async def _go_back(self, migration: Migration, reason: str) -> bool:
        """Give a guest that runs on neither side back to its source, which has all of it; False where that can't be.

        The destination must be unable to begin first: it says that it never did, and then has nothing left that it could. Only then do
        the records name the source, and only then is the source told. Asked again in between, the destination knows nothing of the guest.
        """
        if not is_live(migration) or migration.back:
            return False
        source, there = await asyncio.gather(self.hosts.look(migration.sender, migration), self.hosts.look(migration.receiver, migration))
        if source.phase != MovePhase.SWITCHED or there.ran:
            return False
        ended = await self.hosts.cancel(migration.receiver, migration, APPLY_TIMEOUT)
        if ended.ran or ended.phase not in (MovePhase.CANCELLED, MovePhase.UNKNOWN):
            return False
        text = f"The destination never got all of the guest. {reason}"
        await self.db.write(lambda tx: migration_outcomes.given_back(tx, migration, text))
        await self.hosts.wake_routing(migration.server_id, migration.receiver)
        return True

    async def _clean(self, migration: Migration, server: Server) -> float | None:
        """Nothing is left at the source; that is tried until the source is back."""
        if server.host != migration.sender or server.removed_at is not None:
            progress = await self.hosts.look(migration.sender, migration)
            if progress.phase == MovePhase.POST_COPY:  # the destination still fetches from it
                return QUICK
            await self.bus.request(migration.sender, RemoveGuest(guest_id=server.id))
            if progress.phase != MovePhase.UNKNOWN and is_live(migration):
                await self._note(migration, progress, always=True)
        await self.db.write(lambda tx: migration_outcomes.cleaned(tx, migration))
        await self.hosts.wake_routing(server.id, migration.sender)
        return None

    # -- cold: to be confirmed -------------------------------------------------------------------------------------------------------

    async def _verify(self, migration: Migration, server: Server) -> float | None:
        """Wait for a word about it; when there is a window, and it is over, the word is that it stays."""
        after = await self.db.write(lambda tx: migration_outcomes.verify(tx, migration, self.config.resize_confirm_window, clock.now()))
        if after.step != MigrationStep.VERIFY:
            self.wake("servers", server.id)
            return 0.0
        if after.due_at is None:
            return None
        if clock.now() >= after.due_at:
            self.wake("servers", server.id)
            return 0.0 if server.resize is not None and server.resize.moved else None
        return after.due_at - clock.now()

    async def _revert(self, migration: Migration, server: Server) -> float | None:
        """Away from where it is first, then the records give it back to the source: it is never on both. Disks that both see are not
        removed with it: there it is sent back as it came."""
        assert server.host is not None  # it was placed
        if not migration.copy_disks:
            await self.bus.request(migration.source, RemoveGuest(guest_id=server.id))
            await self.db.write(lambda tx: migration_outcomes.turned_back(tx, migration))
            return 0.0
        await self.bus.request(server.host, RemoveGuest(guest_id=server.id))
        await self.db.write(lambda tx: migration_outcomes.given_back(tx, migration))
        await self.hosts.wake_routing(server.id, server.host)
        return 0.0

    async def _resume(self, migration: Migration, server: Server) -> float | None:
        """The source takes its copy up again: a live one goes on there; another is started by the next apply, with its old flavor."""
        await self.hosts.wake_routing(server.id)
        request = ResumeOutgoing(migration_id=migration.move_id, guest_id=server.id)
        try:
            reply = await self.hosts.reply(migration.source, request, GuestReply, APPLY_TIMEOUT)
        except NodeFailed as error:
            reason = error.message
            await self.db.write(lambda tx: migration_outcomes.lost(tx, migration, reason))
        else:
            work = migration_outcomes.returned if is_live(migration) else migration_outcomes.resumed
            await self.db.write(lambda tx: work(tx, migration, reply.guest))
        self.wake("servers", server.id)
        await self.hosts.wake_routing(server.id, migration.source)
        return 0.0 if is_live(migration) else None

    # -- back to before --------------------------------------------------------------------------------------------------------------

    async def _undo(self, migration: Migration, server: Server) -> float | None:
        """The source goes on, its claim and ports are as before; then the destination forgets the guest, as soon as it can be reached."""
        if not migration.restored:
            fault, owed = "", False
            try:
                fault = await self.hosts.restore(migration) if migration.started_at is not None else ""
            except Unavailable:
                owed = migration.sender in await self._lost()
                if not owed:
                    raise
            migration = await self.db.write(lambda tx: migration_outcomes.undone(tx, migration, fault, owed))
            self.wake("servers", server.id)
            await self.hosts.wake_routing(server.id)
        source, destination = await asyncio.gather(
            self._tell_source(migration, server), self._tell_destination(migration), return_exceptions=True
        )
        if isinstance(source, BaseException):
            raise source
        if isinstance(destination, BaseException):
            raise destination
        await self.db.write(lambda tx: records.save(tx, source, step=MigrationStep.DONE))
        return None

    async def _tell_source(self, migration: Migration, server: Server) -> Migration:
        """A source that was down when the move ended goes on with the guest, if that is still its own."""
        if not migration.owed:
            return migration
        current = await servers.get(self.db, server.id)
        own = current.host == migration.sender and current.deleted_at is None
        fault = await self.hosts.restore(migration) if own else ""
        migration = await self.db.write(lambda tx: migration_outcomes.told(tx, migration, fault))
        self.wake("servers", server.id)
        return migration

    async def _tell_destination(self, migration: Migration) -> None:
        """It forgets the guest."""
        if migration.receiver:
            await self.hosts.cancel(migration.receiver, migration)
            await self.hosts.wake_routing(migration.server_id, migration.receiver)

    # -- what the steps share --------------------------------------------------------------------------------------------------------

    async def _note(self, migration: Migration, progress: MoveProgress, always: bool = False) -> None:
        """Record how far it is, now and then."""
        now = clock.monotonic()
        at, phase, rounds = self._noted.get(migration.id, (0.0, MovePhase.UNKNOWN, -1))
        if not always and now - at < NOTE_EVERY and (phase, rounds) == (progress.phase, len(progress.rounds)):
            return
        self._noted[migration.id] = now, progress.phase, len(progress.rounds)
        await self.db.write(lambda tx: records.note(tx, migration, progress=progress))


def unwanted(migration: Migration, server: Server) -> str:
    """Why a move that can still be undone is not wanted any more; empty when it is."""
    if server.deleted_at is not None:
        return "The server was deleted while it moved."
    return "It was aborted as asked for." if migration.abort else ""


def down(host: str) -> str:
    """Why a move from a host ended, and what may be done about the server."""
    return f"Host {host} is down: evacuate the server, delete it, or wait for the host, where it goes on when that is back."
