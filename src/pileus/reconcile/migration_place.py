"""Where a migration goes: a host is chosen as for a new server, but for the source, and claimed; or why there is none."""

import msgspec

from pileus import clock
from pileus.config import Config
from pileus.core.migrations import copies_disks, refusal
from pileus.core.placement import choose
from pileus.model.base import Model
from pileus.model.errors import Conflict
from pileus.model.hosts import HostReport
from pileus.model.migrations import Migration, MigrationKind, MigrationStatus, MigrationStep
from pileus.model.placement import Decision, PlacementRequest
from pileus.model.servers import Server
from pileus.reconcile.server_inputs import aggregate_metadata, placement_request
from pileus.store import actions, decisions, host_views, migration_records, providers, servers
from pileus.store.database import Database, Reader, Transaction
from pileus.store.hosts import HOSTS, is_up

REASONS = 3
TRIES = 50
"""Chosen hosts that can't take this guest before the search is given up."""
EVENTS = {
    MigrationKind.LIVE: "conductor_live_migrate_instance",
    MigrationKind.COLD: "cold_migrate",
    MigrationKind.RESIZE: "conductor_migrate_server",
}
"""The event of choosing a host, in Nova's words."""


class Choice(Model, frozen=True, kw_only=True):
    """What was decided: `zone` and `copy_disks` are of the chosen host."""

    decision: Decision
    zone: str = ""
    copy_disks: bool = True
    reason: str = ""  # why there is none


def is_live(migration: Migration) -> bool:
    """Whether the guest goes on while its memory is sent."""
    return migration.kind == MigrationKind.LIVE


def keeps_memory(migration: Migration, server: Server) -> bool:
    """Whether the guest's memory goes with it: as it runs, or as it was when it was suspended. Then all that it sees must stay the same."""
    return is_live(migration) or (migration.kind == MigrationKind.COLD and server.resize is None)


async def choice(db: Database, config: Config, migration: Migration, server: Server) -> Choice:
    """The destination, or the reason why there is none."""
    source = await HOSTS.first(db, "name = ?", migration.source)
    if source is None or source.report is None:
        return Choice(decision=Decision(), reason=f"The server's host {migration.source} is not known.")
    wanted = server if server.resize is None else msgspec.structs.replace(server, flavor=server.resize.new)
    request = await placement_request(db, wanted, source.cluster)
    request = msgspec.structs.replace(request, host=migration.requested_host)  # the one of its creation was for that, as in Nova
    if migration.requested_host is not None and migration.force:
        return await _forced(db, config, request, migration, source.report)
    request = msgspec.structs.replace(request, avoid=await _barred(db, migration))
    return await _chosen(db, config, request, migration, server, source.report)


async def _chosen(
    db: Database, config: Config, request: PlacementRequest, migration: Migration, server: Server, source: HostReport
) -> Choice:
    metadata = await aggregate_metadata(db)
    for _ in range(TRIES):
        hosts = await host_views.hosts_of(db, clock.now(), config.node_silence, metadata)
        decision = choose(request, hosts)
        if decision.host is None:
            return Choice(decision=decision, reason=" ".join([decision.message, *_named(decision)]))
        host = await HOSTS.first(db, "name = ?", decision.host)
        report = host.report if host else None
        why = refusal(migration, server.observed, source, report, keeps_memory(migration, server)) if report else "has not reported yet"
        if not why and report is not None:
            return Choice(decision=decision, zone=hosts.by_name[decision.host].state.zone, copy_disks=copies_disks(source, report))
        request = msgspec.structs.replace(request, avoid={**request.avoid, decision.host: why})
    return Choice(decision=decision, reason=f"No valid host was found. The best {TRIES} can't take this guest: {why}")


def _named(decision: Decision) -> list[str]:
    """Why hosts could not be chosen that a server which is placed for the first time might have had."""
    reasons = [one for removal in decision.removals if removal.filter == "avoid" for one in removal.reasons]
    return [f"{', '.join(one.hosts[:REASONS])}: {one.text}." for one in reasons[:REASONS]]


async def _forced(db: Database, config: Config, request: PlacementRequest, migration: Migration, source: HostReport) -> Choice:
    """The requested host as it is; only what can't be done at all is refused."""
    host = await HOSTS.first(db, "name = ?", migration.requested_host)
    if host is None or host.report is None or not is_up(host, clock.now(), config.node_silence):
        return Choice(decision=Decision(), reason=f"Host {migration.requested_host} is not up.")
    if migration.kind == MigrationKind.EVACUATION and (why := refusal(migration, None, source, host.report, live=False)):
        return Choice(decision=Decision(), reason=f"{host.name} can't take this guest: {why}")
    provider = await providers.get(db, host.id)
    decision = Decision(host=host.name, provider_id=host.id, generation=provider.generation, resources=request.resources)
    return Choice(decision=decision, zone=host.availability_zone, copy_disks=copies_disks(source, host.report))


async def _barred(db: Reader, migration: Migration) -> dict[str, str]:
    """Hosts that are not to be tried, and why."""
    barred: dict[str, str] = {}
    for earlier in await migration_records.alive_of(db, migration.server_id):
        if earlier.id != migration.id:
            for name in (earlier.source, earlier.destination):
                if name is not None:
                    barred[name] = "what an earlier move left there is still to be removed"
    return barred | {migration.source: "the server is here"}


async def claim(tx: Transaction, seen: Migration, found: Choice) -> Migration:
    """Take the destination's resources, the source's are held by the migration; or record why there is no destination.

    Conflict(stale=True) when the destination has changed since it was looked at.
    """
    server = await servers.get(tx, seen.server_id)
    decision = found.decision
    await decisions.keep(tx, server.id, decision)
    event = EVENTS[seen.kind]
    if found.reason or decision.provider_id is None:
        return await migration_records.save(tx, seen, step=MigrationStep.UNDO, status=MigrationStatus.ERROR, error=found.reason)
    provider = await providers.get(tx, decision.provider_id)
    if provider.generation != decision.generation:
        raise Conflict(f"Host {decision.host} has changed since it was chosen.", stale=True)
    try:
        await migration_records.swap_claims(tx, seen, server, {provider.id: decision.resources})
    except Conflict as error:
        if not seen.force:
            raise
        return await migration_records.save(tx, seen, step=MigrationStep.UNDO, status=MigrationStatus.ERROR, error=error.message)
    await actions.finish(tx, server.id, seen.request_id, event, message=decision.message, host=seen.source)
    cold = server.resize is not None
    return await migration_records.save(
        tx,
        seen,
        destination=decision.host,
        copy_disks=found.copy_disks,
        step=MigrationStep.STOP if cold else MigrationStep.PREPARE,
        status=MigrationStatus.PRE_MIGRATING if cold else MigrationStatus.PREPARING,
    )
