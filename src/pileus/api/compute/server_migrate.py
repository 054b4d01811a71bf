"""The actions that move a server to another host: os-migrateLive as it runs, migrate while it is off."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pileus.api import policy
from pileus.api.compute import servers as resource
from pileus.api.compute.server_actions import Rule, check_state
from pileus.api.request import Request
from pileus.config import Config
from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.migrations import Migration, MigrationKind, NewMigration
from pileus.model.moves import MoveOptions
from pileus.model.servers import Server
from pileus.store import actions
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS
from pileus.store.migration_records import begin

Host = Annotated[str, Meta(min_length=1, max_length=255)] | None
LIVE = Rule(name="live-migration", states=("active", "paused"), change=lambda server: {})
COLD = Rule(name="migrate", states=("active", "stopped"), change=lambda server: {})
AS_IT_IS = Rule(name="migrate", states=("active", "stopped", "suspended"), change=lambda server: {})
"""What is suspended moves to a host that is named (Nova refuses it, with or without a host), and stays suspended."""


class LiveOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova 2.68: where to, and whether disks are copied."""

    host: Host
    block_migration: bool | Literal["auto"]


class ForcedLiveOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova 2.30 to 2.67: the host may be taken as it is."""

    host: Host
    block_migration: bool | Literal["auto"]
    force: bool = False


class OldLiveOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nova below 2.25: all is said. Disks are never measured against what is promised of the host's, so disk_over_commit has no effect."""

    host: Host
    block_migration: bool
    disk_over_commit: bool


class Live(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action os-migrateLive since 2.68, and from 2.25 to 2.29."""

    wanted: LiveOptions = msgspec.field(name="os-migrateLive")


class ForcedLive(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same from 2.30 to 2.67."""

    wanted: ForcedLiveOptions = msgspec.field(name="os-migrateLive")


class OldLive(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same below 2.25."""

    wanted: OldLiveOptions = msgspec.field(name="os-migrateLive")


class ColdOptions(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    host: Host = None


class Cold(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action migrate since 2.56."""

    wanted: ColdOptions | None = msgspec.field(name="migrate")


async def live(request: Request) -> None:
    """The action os-migrateLive: the server goes on while it moves. What stands in the way is found later, and told in its history."""
    wanted: LiveOptions | ForcedLiveOptions | OldLiveOptions = request.body.wanted
    forced = isinstance(wanted, ForcedLiveOptions) and wanted.force
    if forced and wanted.host is None:
        raise Invalid("Can't force to a non-provided destination", field="force")
    if wanted.host is not None:
        policy.require(request, "os_compute_api:os-migrate-server:migrate_live:host")
    block = None if wanted.block_migration == "auto" else wanted.block_migration
    await _begin(request, LIVE, MigrationKind.LIVE, NewMigration(requested_host=wanted.host, force=forced, block_migration=block))


async def cold(request: Request) -> None:
    """The action migrate: the server is shut down, moved with its disks, started, and waits to be confirmed."""
    wanted: ColdOptions | None = request.body.wanted
    host = wanted.host if wanted else None
    if host is not None:
        policy.require(request, "os_compute_api:os-migrate-server:migrate:host")
    await _begin(request, COLD if host is None else AS_IT_IS, MigrationKind.COLD, NewMigration(requested_host=host))


async def cold_anywhere(request: Request) -> None:
    """The same before 2.56, when nothing could be said about it."""
    await _begin(request, COLD, MigrationKind.COLD, NewMigration())


async def _begin(request: Request, rule: Rule, kind: MigrationKind, wanted: NewMigration) -> None:
    identity = request.identity
    asked: dict[str, Any] = {"user_id": identity.user_id, "project_id": identity.project_id, "request_id": request.id}
    asked["options"] = move_options(request.cloud.config)

    async def work(tx: Transaction) -> Migration:
        server = await resource.unlocked(request, tx)
        check_state(server, rule)
        await _check_host(tx, server, wanted.requested_host)
        await actions.start(tx, server.id, rule.name, request.id, identity.user_id, server.project_id)
        return await begin(tx, server, kind, msgspec.structs.replace(wanted, **asked))

    migration = await request.cloud.db.write(work)
    request.cloud.wake("migrations", migration.id)


def move_options(config: Config) -> MoveOptions:
    """How hard a live migration tries, as the operator has set it."""
    return MoveOptions(bandwidth=config.move_bandwidth, pause_ms=config.move_pause_ms, deadline=config.move_deadline)


async def _check_host(tx: Transaction, server: Server, host: str | None) -> None:
    if host is None:
        return
    if host == server.host:
        raise Invalid(f"Unable to migrate instance ({server.id}) to current host ({host}).", field="host")
    if await HOSTS.first(tx, "name = ?", host) is None:
        raise Invalid(f"Compute host {host} could not be found.", field="host")
