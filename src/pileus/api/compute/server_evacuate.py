"""The action evacuate: a server whose host is lost starts on another one, from its disks where they survive, else from its image."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.compute.server_actions import Rule, check_state
from pileus.api.compute.server_rebuild import seal_password
from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.guests import Power
from pileus.model.migrations import MigrationKind, MigrationStep, NewMigration
from pileus.store import actions, migration_records, servers
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS, is_up

HostName = Annotated[str, Meta(min_length=1, max_length=255)] | None
Password = Annotated[str, Meta(max_length=255)] | None
RULE = Rule(name="evacuate", states=("active", "stopped", "error"), change=lambda server: {})
STOPPED_THERE = (2, 95)


class Options(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova since 2.68, and from 2.14 to 2.28."""

    host: HostName = None
    admin_pass: Password = msgspec.field(name="adminPass", default=None)


class ForcedOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova 2.29 to 2.67: the host may be taken as it is."""

    host: HostName = None
    admin_pass: Password = msgspec.field(name="adminPass", default=None)
    force: fields.Flag = False


class OldOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova below 2.14: whether disks are shared is said; we know it."""

    on_shared_storage: fields.Flag = msgspec.field(name="onSharedStorage")
    host: HostName = None
    admin_pass: Password = msgspec.field(name="adminPass", default=None)


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
    force = isinstance(wanted, ForcedOptions) and fields.flag(wanted.force)
    if force and wanted.host is None:
        raise Invalid("Can't force to a non-provided destination", field="force")
    old = isinstance(wanted, OldOptions)
    if old and fields.flag(wanted.on_shared_storage) and wanted.admin_pass is not None:
        raise Invalid("admin password can't be changed on existing disk", field="adminPass")
    identity = request.identity
    asked: dict[str, Any] = {"user_id": identity.user_id, "project_id": identity.project_id, "request_id": request.id}

    async def work(tx: Transaction) -> tuple[str, str]:
        server = await resource.unlocked(request, tx)
        check_state(server, RULE)
        source = await HOSTS.first(tx, "name = ?", server.host)
        if source is not None and is_up(source, request.received_at, request.cloud.config.node_silence):
            raise Invalid(f"Compute service of {server.host} is still in use.")
        if wanted.host is not None:
            if wanted.host == server.host:
                raise Invalid(f"The target host can't be the same one: {wanted.host}", field="host")
            if await HOSTS.first(tx, "name = ?", wanted.host) is None:
                raise NotFound(f"Compute host {wanted.host} not found.")
        alive = await migration_records.alive_of(tx, server.id)
        if any(one.kind == MigrationKind.EVACUATION and one.step == MigrationStep.PLACE for one in alive):
            raise Conflict(f"Instance {server.id} is being evacuated already.")
        await actions.start(tx, server.id, RULE.name, request.id, identity.user_id, server.project_id)
        order = NewMigration(requested_host=wanted.host, force=force, **asked)
        await migration_records.start(tx, server, MigrationKind.EVACUATION, order)
        changes: dict[str, Any] = {"fault": None, "request_id": request.id}
        if request.version >= STOPPED_THERE:
            changes["power"] = Power.STOPPED
        password = seal_password(request, changes, wanted.admin_pass)
        await servers.save(tx, server, **changes)
        return str(server.host), password

    host, password = await request.cloud.db.write(work)
    request.cloud.wake("availability", host)
    return Response(200, {"adminPass": password} if old else None)
