"""Invariants of migrations: who is in whose hands, and that what is over is over."""

from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.repairs import ClearColumn
from pileus.core.verify.world import World
from pileus.model.migrations import ENDED, Migration, MigrationKind, MigrationStatus, MigrationStep

IN_HAND = (MigrationStep.PLACE, MigrationStep.STOP, MigrationStep.PREPARE, MigrationStep.SEND, MigrationStep.FINISH, MigrationStep.RESUME)
"""With these steps nothing but the migration acts on the server."""
LATE = 600.0
"""Seconds after its time by which a resize was confirmed, if anybody does."""


def servers_migrations_are_alive(world: World) -> Findings:
    """A server in the hands of a migration that is not there would stay as it is for ever."""
    for server in world.servers:
        if server.migration is not None and _owner(world, server.migration) != server.id:
            yield Finding(
                evidence=f"server {server.id} is in the hands of migration {server.migration}, which is over or another server's",
                repair=None
                if server.migration in world.alive
                else ClearColumn(table="servers", id=server.id, column="migration", seen=server.migration),
            )


def resizes_have_migrations(world: World) -> Findings:
    """Whoever confirms or reverts a resize needs its record."""
    for server in world.servers:
        if server.resize is not None and _owner(world, server.resize.migration) != server.id:
            yield Finding(
                evidence=f"server {server.id} is being resized by migration {server.resize.migration}, which is over or not its own"
            )


def _owner(world: World, migration: str) -> str | None:
    found = world.alive.get(migration)
    return found.server_id if found else None


def moves_have_their_servers(world: World) -> Findings:
    """A migration that is not over has the server in its hands."""
    for move in world.alive.values():
        server = world.server_of.get(move.server_id)
        if move.kind != MigrationKind.EVACUATION and move.step in IN_HAND and (server is None or server.migration != move.id):
            held = f"in the hands of {server.migration or 'nobody'}" if server else "gone"
            yield Finding(evidence=f"migration {move.id} is to {move.step} server {move.server_id}, which is {held}")


def moves_have_hosts(world: World) -> Findings:
    """Both sides can be asked."""
    for move in world.alive.values():
        for name in _hosts(move):
            if name not in world.host_of:
                yield Finding(
                    evidence=f"migration {move.id} of server {move.server_id} is at {move.step}, and its host {name} is not known"
                )


def _hosts(move: Migration) -> list[str]:
    return [name for name in (move.source, move.destination) if name]


def evacuated_servers_are_elsewhere(world: World) -> Findings:
    """Else the lost host would keep what it is to remove, or remove what is its own."""
    for move in world.alive.values():
        server = world.server_of.get(move.server_id)
        left = move.kind == MigrationKind.EVACUATION and move.step == MigrationStep.CLEAN
        if left and server is not None and server.host == move.source:
            yield Finding(evidence=f"server {move.server_id} is on {move.source}, from which evacuation {move.id} took it")


def ended_moves_say_how(world: World) -> Findings:
    """A migration that is over has a status that says how it ended."""
    for move in world.moves:
        server = world.server_of.get(move.server_id)
        waits = server is not None and server.resize is not None and server.resize.migration == move.id
        if move.step == MigrationStep.DONE and move.status not in ENDED and not waits:
            yield Finding(evidence=f"migration {move.id} of server {move.server_id} is over, and its status is {move.status}")


def failed_moves_say_why(world: World) -> Findings:
    """Whoever asked for it is told what went wrong."""
    for move in world.moves:
        if move.status in (MigrationStatus.ERROR, MigrationStatus.FAILED) and not move.error.strip():
            yield Finding(evidence=f"migration {move.id} of server {move.server_id} has the status {move.status}, and no reason")


def ended_moves_keep_no_keys(world: World) -> Findings:
    """The keys of a migration's channel are good for that one only."""
    for move in world.moves:
        if move.step == MigrationStep.DONE and move.keys is not None:
            yield Finding(
                evidence=f"migration {move.id} of server {move.server_id} is over, and its keys are still kept",
                repair=ClearColumn(table="server_migrations", id=move.id, column="keys", seen=move.keys),
            )


def confirmations_are_in_time(world: World) -> Findings:
    """A resize that is to be confirmed by itself is."""
    for move in world.alive.values():
        if move.step == MigrationStep.VERIFY and move.due_at is not None and move.due_at + LATE < world.now:
            yield Finding(
                evidence=f"migration {move.id} of server {move.server_id} was to be confirmed by itself, and was not; confirm or revert it"
            )


def ports_move_with_servers(world: World) -> Findings:
    """A port is on a second host only while its server moves."""
    moving = {move.server_id for move in world.alive.values()}
    for port in world.ports:
        if port.migrating_to is not None and port.device_id not in moving:
            yield Finding(
                evidence=f"port {port.id} is on its way to {port.migrating_to}, and its server {port.device_id} does not move",
                repair=ClearColumn(table="ports", id=port.id, column="migrating_to", seen=port.migrating_to),
            )


INVARIANTS = invariants(
    (servers_migrations_are_alive, "A server in the hands of a migration has one that is not over."),
    (resizes_have_migrations, "A server that is being resized has the migration's record."),
    (moves_have_their_servers, "A migration that is under way has its server in its hands."),
    (moves_have_hosts, "The hosts of a migration that is not over are known."),
    (evacuated_servers_are_elsewhere, "A server that was evacuated is on another host."),
    (ended_moves_say_how, "A migration that is over has a status that says how it ended."),
    (failed_moves_say_why, "A migration that failed says why."),
    (ended_moves_keep_no_keys, "A migration that is over keeps no keys."),
    (confirmations_are_in_time, "A resize that is confirmed by itself is confirmed in time."),
    (ports_move_with_servers, "A port is on its way to another host only while its server is."),
    repairable=(servers_migrations_are_alive, ended_moves_keep_no_keys, ports_move_with_servers),
)
