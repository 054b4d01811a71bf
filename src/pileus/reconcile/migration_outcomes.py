"""What a migration's steps write, each in one transaction: the records tell the truth at whatever moment they are read.

Each looks first whether the migration is still where it was seen; a Conflict says that it is not.
"""

import uuid
from typing import Any

import msgspec

from pileus import clock
from pileus.core.port_rates import rates_of
from pileus.core.servers import fault_of
from pileus.model.errors import Conflict
from pileus.model.guests import ObservedGuest
from pileus.model.migrations import Migration, MigrationKind, MigrationStatus, MigrationStep
from pileus.model.moves import MoveProgress
from pileus.model.servers import Resize, ResizeStep, Server
from pileus.reconcile.migration_place import EVENTS
from pileus.reconcile.observations import CARRY
from pileus.store import actions, allocations, ports, servers
from pileus.store import migration_records as records
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS

LIVE, RESIZE, FINISH = "compute_live_migration", "compute_resize_instance", "compute_finish_revert_resize"  # Nova's names of the events
CONFIRM = "compute_confirm_resize"


async def stopped(tx: Transaction, seen: Migration, guest: ObservedGuest) -> Migration:
    """The guest is off where it is, and may be moved."""
    await _record(tx, seen, guest)
    return await records.save(tx, seen, step=MigrationStep.PREPARE, status=MigrationStatus.MIGRATING)


async def prepared(tx: Transaction, seen: Migration, keys: str) -> Migration:
    """Both hosts have the server's ports from now on; traffic goes to the source."""
    await ports.prepare_move(tx, seen.server_id, seen.receiver)
    return await records.save(tx, seen, keys=keys)


async def commit(tx: Transaction, seen: Migration, progress: MoveProgress) -> tuple[Migration, Server]:
    """The destination owns the guest. Whoever reads the records before this sees the source as its host, afterwards the destination."""
    server = await servers.get(tx, seen.server_id)
    migration = await records.save(tx, seen, step=MigrationStep.FINISH, status=MigrationStatus.POST_MIGRATING, progress=progress)
    await ports.finish_move(tx, server.id, migration.receiver)
    zone = await _zone(tx, migration.receiver)
    return migration, await servers.save(tx, server, host=migration.receiver, availability_zone=zone)


async def arrived(tx: Transaction, seen: Migration, guest: ObservedGuest, progress: MoveProgress | None) -> None:
    """The guest is an ordinary one of the destination. A live migration is over; a cold one gets its flavor and waits for a word."""
    await _record(tx, seen, guest)
    server = await servers.get(tx, seen.server_id)
    changes: dict[str, Any] = {"finished_at": clock.now(), "keys": None, "progress": progress or seen.progress}
    if server.resize is None:
        await allocations.release(tx, seen.id)
        await records.save(tx, seen, step=MigrationStep.CLEAN, status=MigrationStatus.COMPLETED, **changes)
        await servers.save(tx, server, migration=None)
        event = LIVE if seen.kind == MigrationKind.LIVE else RESIZE
        await actions.finish(tx, server.id, seen.request_id, event, host=seen.destination)
        return
    if seen.back:
        await allocations.release(tx, seen.id)
        await records.save(tx, seen, step=MigrationStep.CLEAN, status=MigrationStatus.REVERTING, **changes)
        await _change_flavor(tx, server, msgspec.structs.replace(server.resize, step=ResizeStep.REVERTED, moved=False), back=True)
        return
    await records.save(tx, seen, step=MigrationStep.VERIFY, **changes)
    await _change_flavor(tx, server, msgspec.structs.replace(server.resize, step=ResizeStep.APPLY, moved=True), back=False)
    await actions.finish(tx, server.id, seen.request_id, RESIZE, host=seen.destination)


async def lost(tx: Transaction, seen: Migration, reason: str) -> None:
    """The host that owns the guest can't run it. Its disk is there; the owner is told, and may start it anew.

    One that was off, of which the source keeps the copy, goes back there instead.
    """
    server = await servers.get(tx, seen.server_id)
    if server.resize is not None and seen.step == MigrationStep.FINISH and not seen.back:
        await records.save(tx, seen, step=MigrationStep.REVERT, status=MigrationStatus.REVERTING, error=reason)
        await servers.save(tx, server, resize=msgspec.structs.replace(server.resize, step=ResizeStep.REVERT, moved=True))
        return
    await allocations.release(tx, seen.id)
    step = MigrationStep.DONE if server.host == seen.source else MigrationStep.CLEAN
    await records.save(tx, seen, step=step, status=MigrationStatus.ERROR, error=reason, finished_at=clock.now(), keys=None)
    whose = "it came back to its host, which" if server.host == seen.source else "its new host"
    text = f"The server moved, and {whose} can't run it: {reason} Its disk is there."
    fault = fault_of(server, text, clock.now())
    await servers.save(tx, server, migration=None, resize=None, fault=fault)
    await actions.finish(tx, server.id, seen.request_id, LIVE, result="Error", message=text, host=server.host)


async def cleaned(tx: Transaction, seen: Migration) -> None:
    """Nothing is left of the guest at the source."""
    await records.save(tx, seen, step=MigrationStep.DONE)


async def verify(tx: Transaction, seen: Migration, window: float, now: float) -> Migration:
    """What the server's owner has said by now, or what is said for them when the time is over."""
    server = await servers.SERVERS.get(tx, seen.server_id)
    migration = await records.get(tx, seen.id)
    resize = server.resize if server is not None and server.removed_at is None else None
    if server is None or migration.step != MigrationStep.VERIFY:
        return migration
    if resize is None or resize.migration != migration.id:  # it ended on the server's own host
        return await records.save(tx, migration, step=MigrationStep.DONE)
    if resize.step == ResizeStep.CONFIRM and resize.moved:
        return await _confirm(tx, migration, server)
    if resize.step == ResizeStep.REVERT and resize.moved:
        return await records.save(tx, migration, step=MigrationStep.REVERT, status=MigrationStatus.REVERTING)
    if resize.step != ResizeStep.APPLY or server.vm_state != "resized":
        return migration
    if migration.status != MigrationStatus.FINISHED:
        due = now + window if window else None
        migration = await records.save(tx, migration, status=MigrationStatus.FINISHED, due_at=due, finished_at=now)
    if migration.due_at is not None and now >= migration.due_at:
        await _confirm_for_owner(tx, migration, server, resize)
    return migration


async def _confirm_for_owner(tx: Transaction, migration: Migration, server: Server, resize: Resize) -> None:
    """As if the owner had asked for it."""
    request_id = f"req-{uuid.uuid4()}"
    await actions.start(tx, server.id, "confirmResize", request_id, migration.user_id, server.project_id)
    wanted = msgspec.structs.replace(resize, step=ResizeStep.CONFIRM)
    await servers.save(tx, server, resize=wanted, request_id=request_id, migration=migration.id if resize.moved else None)


async def _confirm(tx: Transaction, migration: Migration, server: Server) -> Migration:
    """It stays where it is; the copy at the source goes."""
    await allocations.release(tx, migration.id)
    await servers.save(tx, server, resize=None, migration=None)
    await actions.finish(tx, server.id, server.request_id, CONFIRM, host=server.host)
    return await records.save(tx, migration, status=MigrationStatus.CONFIRMED, step=MigrationStep.CLEAN)


async def given_back(tx: Transaction, seen: Migration, error: str = "") -> None:
    """The source owns the guest again: its copy is as it was when the guest went away. `error`: why it comes back from a live move."""
    server = await servers.get(tx, seen.server_id)
    await ports.finish_move(tx, server.id, seen.source)
    await records.return_claims(tx, seen, server)
    changes = {"error": error, "status": MigrationStatus.ERROR} if error else {}
    await records.save(tx, seen, step=MigrationStep.RESUME, **changes)
    await servers.save(tx, server, host=seen.source, availability_zone=await _zone(tx, seen.source))


async def turned_back(tx: Transaction, seen: Migration) -> None:
    """The guest is to be shut down where it is and sent back: what each holds of the other's host changes hands."""
    server = await servers.get(tx, seen.server_id)
    held = {one.provider_id: one.resources for one in await allocations.of_consumer(tx, seen.id)}
    await records.swap_claims(tx, seen, server, held)
    fresh: dict[str, Any] = {"started_at": None, "target": None, "progress": None, "finished_at": None}
    await records.save(tx, seen, back=True, step=MigrationStep.STOP, **fresh)
    await servers.save(tx, server, power=server.power)  # a new generation: the host is told to shut the guest down


async def resumed(tx: Transaction, seen: Migration, guest: ObservedGuest) -> None:
    """The source has its guest again, off; it is brought to what is wanted as any other."""
    await _record(tx, seen, guest)
    server = await servers.get(tx, seen.server_id)
    assert server.resize is not None  # it is being reverted
    await records.save(tx, seen, step=MigrationStep.VERIFY)
    await _change_flavor(tx, server, msgspec.structs.replace(server.resize, step=ResizeStep.REVERTED, moved=False), back=True)


async def returned(tx: Transaction, seen: Migration, guest: ObservedGuest) -> None:
    """A guest that was moved as it runs goes on at its source; what is left of the move at the destination is to go."""
    await _record(tx, seen, guest)
    server = await servers.get(tx, seen.server_id)
    await servers.save(tx, server, migration=None)
    await actions.finish(tx, server.id, seen.request_id, LIVE, result="Error", message=seen.error, host=seen.source)
    await records.save(tx, seen, step=MigrationStep.UNDO, restored=True, keys=None, finished_at=clock.now())


async def abandoned(tx: Transaction, seen: Migration) -> None:
    """A server that is deleted while it moves does not wait for a host that is down: it goes as any other, and what the move left too."""
    server = await servers.get(tx, seen.server_id)
    reason = "The server was deleted while it moved, and a host of the move is down."
    await records.save(
        tx, seen, step=MigrationStep.CLEAN, status=MigrationStatus.CANCELLED, error=reason, finished_at=clock.now(), keys=None
    )
    await servers.save(tx, server, migration=None)


async def left_at_source(tx: Transaction, seen: Migration) -> None:
    """The source has its guest again and is down: the server is as any other there, and the source is told when it is back."""
    server = await servers.get(tx, seen.server_id)
    await servers.save(tx, server, migration=None)
    await actions.finish(tx, server.id, seen.request_id, LIVE, result="Error", message=seen.error, host=seen.source)
    await records.save(tx, seen, step=MigrationStep.UNDO, restored=True, owed=True, keys=None, finished_at=clock.now())


async def told(tx: Transaction, seen: Migration, fault: str) -> Migration:
    """The source that was down when the move ended goes on with its guest; or why it can't."""
    server = await servers.get(tx, seen.server_id)
    if fault and server.host == seen.sender:
        text = f"The server could not go on after a move that failed: {fault}"
        await servers.save(tx, server, fault=fault_of(server, text, clock.now()))
    return await records.save(tx, seen, owed=False)


async def undone(tx: Transaction, seen: Migration, fault: str, owed: bool = False) -> Migration:
    """All is as before at the source: the server is its owner's again, who is told why it did not move. `owed`: the source is down."""
    server = await servers.get(tx, seen.server_id)
    await ports.cancel_move(tx, server.id)
    await records.return_claims(tx, seen, server)
    changes: dict[str, Any] = {"migration": None, "resize": None}
    if server.resize is not None:
        changes["power"] = server.power  # a new generation: what was shut down for the move starts again
    if fault:
        text = f"The server could not go on after a move that failed: {fault}"
        changes["fault"] = fault_of(server, text, clock.now())
    await servers.save(tx, server, **changes)
    event = FINISH if seen.back else EVENTS[seen.kind] if seen.destination is None else LIVE if seen.kind == MigrationKind.LIVE else RESIZE
    await actions.finish(tx, server.id, seen.request_id, event, result="Error", message=seen.error, host=seen.sender)
    step = MigrationStep.UNDO if seen.receiver or owed else MigrationStep.DONE
    return await records.save(tx, seen, restored=True, owed=owed, keys=None, finished_at=clock.now(), step=step)


async def _record(tx: Transaction, seen: Migration, guest: ObservedGuest) -> None:
    """What the host says that the server is at: however old, it is the truth, as what the other host said does not count any more."""
    await servers.record_observed(tx, seen.server_id, guest, clock.now())
    await ports.set_ports_active(tx, seen.server_id, guest.power in CARRY)


async def _change_flavor(tx: Transaction, server: Server, resize: Resize, back: bool) -> None:
    flavor = resize.old if back else resize.new
    changes: dict[str, Any] = {"flavor": flavor, "vcpus": flavor.vcpus, "memory_mib": flavor.ram, "resize": resize, "migration": None}
    await ports.limit_ports(tx, server.id, rates_of(flavor.extra_specs))
    await servers.save(tx, server, **changes)


async def _zone(tx: Transaction, host: str) -> str | None:
    found = await HOSTS.first(tx, "name = ?", host)
    if found is None:
        raise Conflict(f"Host {host} is not known any more.")
    return found.availability_zone
