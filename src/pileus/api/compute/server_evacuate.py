"""The action evacuate: a server whose host is lost starts on another one, from its disks where they survive, else from its image."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.compute.server_rebuild import seal_password
from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.migrations import MigrationKind, MigrationStep, NewMigration
from pileus.model.servers import Server
from pileus.store import actions, migration_records, servers
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS, is_up

HostName = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[a-zA-Z0-9-._]*$")] | UnsetType
Password = str | UnsetType
NAME = "evacuate"
STATES = ("active", "stopped", "error")
STOPPED_THERE = (2, 95)


class Options(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova since 2.68, and from 2.14 to 2.28."""

    host: HostName = UNSET
    admin_pass: Password = msgspec.field(name="adminPass", default=UNSET)


class ForcedOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova 2.29 to 2.67: the host may be taken as it is."""

    host: HostName = UNSET
    admin_pass: Password = msgspec.field(name="adminPass", default=UNSET)
    force: fields.Flag = False


class OldOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova below 2.14: whether disks are shared is said; we know it."""

    on_shared_storage: fields.Flag = msgspec.field(name="onSharedStorage")
    host: HostName = UNSET
    admin_pass: Password = msgspec.field(name="adminPass", default=UNSET)


class Evacuate(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action since 2.68, and from 2.14 to 2.28."""

    wanted: Options = msgspec.field(name="evacuate")


class ForcedEvacuate(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same from 2.29 to 2.67."""

    wanted: ForcedOptions = msgspec.field(name="evacuate")


class OldEvacuate(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same below 2.14."""

    wanted: OldOptions = msgspec.field(name="evacuate")


async def evacuate(request: Request) -> Response:
    """The action evacuate. The host is fenced first where that is configured; without, the caller's word that it is gone counts."""
    wanted: Options | ForcedOptions | OldOptions = request.body.wanted
    target = None if wanted.host is UNSET else wanted.host
    force = isinstance(wanted, ForcedOptions) and fields.flag(wanted.force)
    if force and target is None:
        raise Invalid("Can't force to a non-provided destination", field="force")
    old = isinstance(wanted, OldOptions)
    kept = old and fields.flag(wanted.on_shared_storage)  # the disk, and what the guest has as its password
    if kept and wanted.admin_pass is not UNSET:
        raise Invalid("admin password can't be changed on existing disk", field="adminPass")
    identity = request.identity
    asked: dict[str, Any] = {"user_id": identity.user_id, "project_id": identity.project_id, "request_id": request.id}

    async def work(tx: Transaction) -> tuple[str, str | None]:
        server = await resource.unlocked(request, tx)
        await _check_target(tx, server, target)
        await _check(request, tx, server)
        await actions.start(tx, server.id, NAME, request.id, identity.user_id, server.project_id)
        order = NewMigration(requested_host=target, force=force, stop=request.version >= STOPPED_THERE, **asked)
        await migration_records.start(tx, server, MigrationKind.EVACUATION, order)
        changes: dict[str, Any] = {"fault": None, "request_id": request.id}
        password = None if kept else seal_password(request, changes, wanted.admin_pass or None)
        await servers.save(tx, server, **changes)
        return str(server.host), password

    host, password = await request.cloud.db.write(work)
    request.cloud.wake("availability", host)
    return Response(200, {"adminPass": password} if old else None)


async def _check_target(tx: Transaction, server: Server, target: str | None) -> None:
    if target is not None and await HOSTS.first(tx, "name = ?", target) is None:
        raise NotFound(f"Compute host {target} not found.")
    if target is not None and target == server.host:
        raise Invalid("The target host can't be the same one.", field="host")


async def _check(request: Request, tx: Transaction, server: Server) -> None:
    """Whatever was being done with a server when its host was lost does not matter; only what other hosts may have of it does."""
    if server.vm_state not in STATES or server.deleted_at is not None:
        state = f"vm_state {server.vm_state}" if server.deleted_at is None else "task_state deleting"
        raise Conflict(f"Cannot '{NAME}' instance {server.id} while it is in {state}", vm_state=server.vm_state)
    if server.host is None:
        raise Conflict(f"Instance {server.id} is not ready: it was never placed on a host.")
    source = await HOSTS.first(tx, "name = ?", server.host)
    if source is not None and is_up(source, request.received_at, request.cloud.config.node_silence):
        raise Invalid(f"Compute service of {server.host} is still in use.")
    alive = await migration_records.alive_of(tx, server.id)
    if any(one.kind == MigrationKind.EVACUATION and one.step == MigrationStep.PLACE for one in alive):
        raise Conflict(f"Instance {server.id} is being evacuated already.")
    if not await migration_records.may_be_evacuated(tx, server):
        raise Conflict(f"Cannot '{NAME}' instance {server.id} while it is in task_state {server.task_state}")
