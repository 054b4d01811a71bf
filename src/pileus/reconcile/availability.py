"""High availability: a host that is lost is fenced, then its servers start elsewhere from the disks that survive; never two.

A step's id is a host's name. What is to start elsewhere is what its policy says so of, and what an administrator asked to be evacuated.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from pileus import clock
from pileus.bus.local import Bus
from pileus.config import Config
from pileus.core.availability import fence_of, is_fenced, restarts_elsewhere
from pileus.model.errors import Conflict, Invalid, Unavailable
from pileus.model.guests import Power
from pileus.model.hosts import Host
from pileus.model.messages import RemoveGuest
from pileus.model.migrations import Migration, MigrationKind, MigrationStatus, MigrationStep, NewMigration
from pileus.model.servers import Server
from pileus.reconcile import migration_outcomes
from pileus.reconcile.fencing import fence
from pileus.reconcile.liveness import Liveness
from pileus.reconcile.migration_place import Choice, choice
from pileus.reconcile.observations import EVENTS
from pileus.reconcile.scope import EVERYTHING
from pileus.store import actions, allocations, decisions, ports, providers, servers
from pileus.store import migration_records as records
from pileus.store.database import Database, Transaction
from pileus.store.hosts import HOSTS, HostHead, every_head, is_up

log = logging.getLogger(__name__)
Wake = Callable[[str, str], None]
Fencer = Callable[[str, str], Awaitable[str]]
"""A host's name and address -> what was done; Unavailable or Invalid when it is not certain that the host runs nothing."""
LOOK_AGAIN = 5.0
ACTION = "evacuate"
EVENT = "compute_rebuild_instance"
"""Nova's name of what an evacuation does at the destination."""

POWER_TASKS = ("powering-on", "powering-off", "pausing", "unpausing", "suspending", "resuming")


class Availability:
    """One host a step."""

    name = "availability"
    scope = EVERYTHING

    def __init__(self, db: Database, bus: Bus, config: Config, wake: Wake) -> None:
        self.db = db
        self.bus = bus
        self.config = config
        self.wake = wake
        self.liveness = Liveness(bus, config.node_silence)
        self.fencer: Fencer | None = None  # who does it in our place, where this process may start no programs

    async def scan(self) -> list[str]:
        """Hosts that are down, and those to which an evacuation left something to remove."""
        waiting = await self.db.all(
            "SELECT DISTINCT source FROM server_migrations WHERE kind = ? AND step <> ?", MigrationKind.EVACUATION, MigrationStep.DONE
        )
        marked = await self.db.all("SELECT name FROM hosts WHERE fenced_at IS NOT NULL OR fence_error IS NOT NULL")
        lost = self.liveness.lost(await self._hosts(), clock.now())
        return sorted({*lost, *(str(row[0]) for row in [*waiting, *marked])})

    async def step(self, id: str) -> float | None:
        """Do what is to be done about a host."""
        host = await HOSTS.first(self.db, "name = ?", id)
        if host is None or not await self.scope.owns(id):
            return None
        asked = [one for one in await records.of_host(self.db, id) if one.kind == MigrationKind.EVACUATION and one.source == id]
        if is_up(host, clock.now(), self.config.node_silence):
            await self._came_back(host, asked)
            return None
        if id not in self.liveness.lost(await self._hosts(), clock.now()):
            return LOOK_AGAIN  # silent, but for too short a time
        to_place = [one for one in asked if one.step == MigrationStep.PLACE]
        lost = [one for one in await servers.on_host(self.db, id) if await self._restarts(one, host)]
        if not lost and not to_place:
            return None
        if is_fenced(host) or await self._fence(host, needed=bool(lost)):
            known = {one.server_id for one in to_place}
            begun = [await self._begin(one.id, id) for one in lost if one.id not in known]
            to_place += [one for one in begun if one is not None]
        elif not to_place or self._has_fence(id):
            return LOOK_AGAIN
        settled = [await self._evacuate(one) for one in to_place]
        return None if all(settled) and is_settled(lost, to_place) else LOOK_AGAIN

    async def _restarts(self, server: Server, host: Host) -> bool:
        """Whether policy says that it starts elsewhere. One that waits for a word about its resize keeps what its two hosts have."""
        survives = host.report is not None and host.report.shared_disks
        return survives and restarts_elsewhere(server, self.config.evacuate) and await records.may_be_evacuated(self.db, server)

    async def _fence(self, host: Host, needed: bool) -> bool:
        """Whether the host runs nothing now. Without a way to fence there is only an administrator's word for that: it counts for what they
        ask to be evacuated, and for nothing else."""
        changes: dict[str, Any]
        if not self._has_fence(host.name):
            if not needed:
                return False
            reason = 'No way to fence it is configured ("fencing" in config.json), so that its servers stay where they are.'
            changes = {"fence_error": reason}
        else:
            try:
                how = fence_of(host.name, self.config.fencing)
                assert how is not None  # it has one
                address = host.report.address if host.report else ""
                secrets = self.config.directory / "secrets"
                said = await (self.fencer(host.name, address) if self.fencer else fence(host.name, address, how, secrets))
            except (Unavailable, Invalid) as error:
                log.warning("%s", error.message)
                changes = {"fence_error": error.message}
            else:
                log.warning("host %s gave no sign of life and was fenced by %s: %s", host.name, how.kind, said)
                changes = {"fenced_at": clock.now(), "fence_error": None}
        if host.fence_error != changes["fence_error"] or "fenced_at" in changes:
            await self.db.write(lambda tx: HOSTS.set(tx, host.id, **changes))
        return "fenced_at" in changes

    async def _hosts(self) -> list[HostHead]:
        """The hosts that we hear: that others hear theirs says nothing about ours."""
        return [one for one in await every_head(self.db) if self.scope.hears(one.cluster)]

    def _has_fence(self, host: str) -> bool:
        return host in self.config.fencing or "*" in self.config.fencing

    async def _begin(self, server_id: str, host: str) -> Migration | None:
        """The record of an evacuation that policy asks for, and the action in the server's history; None when there is one already."""

        async def work(tx: Transaction) -> Migration | None:
            server = await servers.get(tx, server_id)
            alive = await records.alive_of(tx, server_id)
            if server.host != host or any(one.kind == MigrationKind.EVACUATION and one.source == host for one in alive):
                return None
            request_id = f"req-{uuid.uuid4()}"
            await actions.start(tx, server_id, ACTION, request_id, project_id=server.project_id)
            return await records.start(tx, server, MigrationKind.EVACUATION, NewMigration(request_id=request_id))

        return await self.db.write(work)

    async def _evacuate(self, migration: Migration) -> bool:
        """Give the server to another host. False: not yet, there is none; its event says why."""
        server = await servers.SERVERS.get(self.db, migration.server_id)
        if server is None or server.deleted_at is not None or server.host != migration.source:
            done = {"step": MigrationStep.DONE, "status": MigrationStatus.CANCELLED, "finished_at": clock.now()}
            await self.db.write(lambda tx: records.save(tx, migration, **done))
            return True
        for other in await records.alive_of(self.db, server.id):
            if await self.db.write(lambda tx, one=other: _end_move(tx, one, migration.source)):
                self.wake("migrations", other.id)
                server = await servers.get(self.db, server.id)
        found = await choice(self.db, self.config, migration, server)
        try:
            if not found.reason:
                await self.db.write(lambda tx: evacuated(tx, migration, found))
                await self._woken(server)
                return True
            reason = found.reason
        except Conflict as error:
            if error.data.get("stale"):
                return False
            reason = error.message
        return await self._has_no_place(migration, server, reason)

    async def _has_no_place(self, migration: Migration, server: Server, reason: str) -> bool:
        """Its event says why. It is tried again, unless it was to be that one host."""
        if migration.requested_host is None:
            message = f"{reason} It is tried again."
            await self.db.write(lambda tx: actions.wait(tx, server.id, migration.request_id or server.request_id, EVENT, message))
            return False
        await self.db.write(lambda tx: _ended(tx, migration, MigrationStatus.ERROR, reason))
        return True

    async def _woken(self, server: Server) -> None:
        for network in {port.network_id for port in (await ports.ports_of(self.db, [server.id]))[server.id]}:
            self.wake("routing", network)
        self.wake("servers", server.id)

    async def _came_back(self, host: Host, asked: list[Migration]) -> None:
        """A host that was lost removes what is no longer its own; what survives of it elsewhere is not touched by that.

        What did not start elsewhere by now stays.
        """
        back = f"Host {host.name} is back: the server stays there."
        for migration in asked:
            server = await servers.SERVERS.get(self.db, migration.server_id)
            gone = server is None or server.removed_at is not None  # deleted while its host was away
            if migration.step == MigrationStep.PLACE and not gone:
                await self.db.write(lambda tx, one=migration: _ended(tx, one, MigrationStatus.CANCELLED, back))
                self.wake("servers", migration.server_id)
                continue
            if server is None or gone or server.host != host.name:
                await self.bus.request(host.name, RemoveGuest(guest_id=migration.server_id))
            await self.db.write(lambda tx, one=migration: _forgotten(tx, one))
        if not is_fenced(host) and (host.fenced_at is not None or host.fence_error is not None):
            await self.db.write(lambda tx: HOSTS.set(tx, host.id, fenced_at=None, fence_error=None))


def is_settled(lost: list[Server], to_place: list[Migration]) -> bool:
    """Whether all that is to start elsewhere has been tried; what policy wants and nobody may move yet is looked at again."""
    return {one.id for one in lost} <= {one.server_id for one in to_place}


async def _end_move(tx: Transaction, seen: Migration, lost: str) -> bool:
    """End a move of which one host is lost: it only removes what the other one has, from now on. False: there is nothing to end."""
    other = await records.get(tx, seen.id)
    reason = f"Host {lost} was lost."
    if other.kind == MigrationKind.EVACUATION or not records.ends_with_host(other):
        return False
    if other.step == MigrationStep.FINISH:  # live: the server was the lost host's already
        server = await servers.get(tx, other.server_id)
        await allocations.release(tx, other.id)
        changes: dict[str, Any] = {"keys": None, "error": reason, "finished_at": clock.now()}
        await records.save(tx, other, step=MigrationStep.CLEAN, status=MigrationStatus.ERROR, **changes)
        await servers.save(tx, server, migration=None)
        event = migration_outcomes.LIVE
        await actions.finish(tx, server.id, other.request_id, event, result="Error", message=reason, host=lost)
        return True
    failed = await records.save(tx, other, step=MigrationStep.UNDO, status=MigrationStatus.ERROR, error=reason)
    await migration_outcomes.undone(tx, failed, "")
    return True


async def evacuated(tx: Transaction, seen: Migration, found: Choice) -> None:
    """Another host owns the server from now on. What it held at the lost one is the migration's until that is back and clean."""
    server = await servers.get(tx, seen.server_id)
    decision = found.decision
    if server.host != seen.source:
        raise Conflict(f"Server {server.id} is on {server.host} meanwhile.", stale=True)
    assert decision.host is not None and decision.provider_id is not None  # it was chosen
    provider = await providers.get(tx, decision.provider_id)
    if provider.generation != decision.generation:
        raise Conflict(f"Host {decision.host} has changed since it was chosen.", stale=True)
    await decisions.keep(tx, server.id, decision)
    await records.swap_claims(tx, seen, server, {provider.id: decision.resources})
    await ports.prepare_move(tx, server.id, decision.host)
    await ports.finish_move(tx, server.id, decision.host)
    power = Power.STOPPED if seen.stop or server.power == Power.SUSPENDED else server.power  # no memory is left that could be kept
    lost = await HOSTS.first(tx, "name = ?", seen.source)
    survives = lost is not None and lost.report is not None and lost.report.shared_disks
    builds = server.builds + (0 if survives else 1)  # its disks are gone with the host: it begins anew from its image
    await servers.save(tx, server, host=decision.host, availability_zone=found.zone, fault=None, power=power, builds=builds)
    changes = {"step": MigrationStep.CLEAN, "status": MigrationStatus.DONE, "destination": decision.host, "finished_at": clock.now()}
    await records.save(tx, seen, **changes)
    request_id = seen.request_id or server.request_id
    await actions.finish(tx, server.id, request_id, EVENT, message=f"{seen.source} was lost. {decision.message}", host=decision.host)
    if power != server.power and server.task_state in POWER_TASKS:  # what it was to become, it will not
        given_up = EVENTS[server.task_state]
        await actions.finish(
            tx, server.id, server.request_id, given_up, result="Error", message=f"{seen.source} was lost.", host=seen.source
        )


async def _ended(tx: Transaction, seen: Migration, status: MigrationStatus, reason: str) -> None:
    """The server stays where it is."""
    server = await servers.get(tx, seen.server_id)
    await records.save(tx, seen, step=MigrationStep.DONE, status=status, error=reason, finished_at=clock.now())
    request_id = seen.request_id or server.request_id
    await actions.finish(tx, server.id, request_id, EVENT, result="Error", message=reason, host=seen.source)


async def _forgotten(tx: Transaction, seen: Migration) -> None:
    await allocations.release(tx, seen.id)
    placed = {} if seen.step != MigrationStep.PLACE else {"status": MigrationStatus.CANCELLED, "finished_at": clock.now()}
    await records.save(tx, seen, step=MigrationStep.DONE, **placed)
