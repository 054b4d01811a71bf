"""A server's resize on the host that it is on, from the wish to the claim, and back; what that host can't take moves to another.

The guest itself is changed by the ordinary apply, as its flavor has.
"""

from typing import Any

import msgspec

from pileus.core.port_rates import rates_of
from pileus.model.errors import Conflict
from pileus.model.guests import Power
from pileus.model.migrations import MigrationStatus, MigrationStep
from pileus.model.placement import Claim
from pileus.model.servers import Resize, ResizeStep, Server, ServerFlavor
from pileus.reconcile.server_inputs import placement_request
from pileus.store import actions, allocations, migration_records, ports, providers, servers
from pileus.store.database import Database, Transaction

PREPARE, CONFIRM, FINISH = "compute_prep_resize", "compute_confirm_resize", "compute_finish_revert_resize"  # Nova's names of the events


async def advance(db: Database, server: Server) -> None:
    """Do the next thing for a server whose resize is not only to be applied. What does not fit here goes to another host."""
    try:
        await db.write(lambda tx: _advance(tx, server))
    except Conflict as error:
        if error.data.get("stale") or server.resize is None or server.resize.step != ResizeStep.CLAIM:
            raise
        reason = error.message
        await db.write(lambda tx: _move(tx, server, reason))


async def _advance(tx: Transaction, seen: Server) -> None:
    server = await servers.get(tx, seen.id)
    resize = server.resize
    if resize is None or resize != seen.resize or server.deleted_at is not None:
        return
    if resize.step == ResizeStep.CLAIM:  # until it is confirmed the old flavor's share is kept, so that there is a way back
        await _claim(tx, server, _larger(await _needs(tx, server, resize.old), await _needs(tx, server, resize.new)))
        await _change(tx, server, resize.new, msgspec.structs.replace(resize, step=ResizeStep.APPLY))
        await _tell(tx, resize, destination=server.host, status=MigrationStatus.MIGRATING)
        await actions.finish(tx, server.id, server.request_id, PREPARE, host=server.host)
    elif resize.step == ResizeStep.CONFIRM:
        await _claim(tx, server, await _needs(tx, server, resize.new))
        await servers.save(tx, server, resize=None)
        await _tell(tx, resize, status=MigrationStatus.CONFIRMED, step=MigrationStep.DONE)
        await actions.finish(tx, server.id, server.request_id, CONFIRM, host=server.host)
    elif resize.step == ResizeStep.REVERT:
        await _tell(tx, resize, status=MigrationStatus.REVERTING)
        await _change(tx, server, resize.old, msgspec.structs.replace(resize, step=ResizeStep.REVERTED))
    else:
        await _claim(tx, server, await _needs(tx, server, resize.old))
        await servers.save(tx, server, resize=None)
        await _tell(tx, resize, status=MigrationStatus.REVERTED, step=MigrationStep.DONE)
        await actions.finish(tx, server.id, server.request_id, FINISH, host=server.host)


async def _change(tx: Transaction, server: Server, flavor: ServerFlavor, resize: Resize) -> None:
    """Another flavor, which a guest that runs gets by a restart: a clean one, as what it has not written to its disk would be lost."""
    changes: dict[str, Any] = {"flavor": flavor, "vcpus": flavor.vcpus, "memory_mib": flavor.ram, "resize": resize}
    if server.power != Power.STOPPED:
        changes["reboots_soft"] = server.reboots_soft + 1
    await ports.limit_ports(tx, server.id, rates_of(flavor.extra_specs))
    await servers.save(tx, server, **changes)


async def _move(tx: Transaction, seen: Server, reason: str) -> None:
    """The host can't take it: the server goes to one that can, if there is any."""
    server = await servers.get(tx, seen.id)
    if server.resize is None or server.resize != seen.resize:
        return
    await actions.finish(tx, server.id, server.request_id, PREPARE, message=f"The server's host can't take the new flavor: {reason}")
    await _tell(tx, server.resize, step=MigrationStep.PLACE)
    moving = msgspec.structs.replace(server.resize, step=ResizeStep.MOVE)
    # the power as it is: a new generation, as the host is told to shut the guest down
    await servers.save(tx, server, resize=moving, migration=moving.migration, power=server.power)


async def _tell(tx: Transaction, resize: Resize, **changes: Any) -> None:
    """Write it into the migration's record. One that has still to remove something goes on with that."""
    migration = await migration_records.MIGRATIONS.get(tx, resize.migration)
    if migration is not None:
        if migration.step == MigrationStep.CLEAN:
            changes.pop("step", None)
        await migration_records.save(tx, migration, **changes)


async def _needs(tx: Transaction, server: Server, flavor: ServerFlavor) -> dict[str, int]:
    return (await placement_request(tx, msgspec.structs.replace(server, flavor=flavor))).resources


def _larger(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}


async def _claim(tx: Transaction, server: Server, resources: dict[str, int]) -> None:
    """The same provider's, another amount."""
    have = await allocations.of_consumer(tx, server.id)
    if not have:
        return
    provider = await providers.get(tx, have[0].provider_id)
    claim = Claim(
        consumer_id=server.id,
        provider_id=provider.id,
        generation=provider.generation,
        resources=resources,
        project_id=server.project_id,
        user_id=server.user_id,
    )
    await allocations.claim(tx, claim)
