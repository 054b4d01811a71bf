"""Compute services: a host's node each. Enable, disable, force down, delete."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from pileus import clock
from pileus.api.compute import fields
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.hosts import Host
from pileus.store import admissions, aggregates, hosts, migration_records, providers, routing
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS, HostHead

BINARY = "nova-compute"
Reason = Annotated[str, Meta(min_length=1, max_length=255)]


class UpdateService(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /os-services/{service_id}."""

    status: Literal["enabled", "disabled"] | None = None
    disabled_reason: Reason | None = None
    forced_down: fields.Flag | None = None


class OldUpdate(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /os-services/enable and its kin, gone with 2.53."""

    host: fields.HostName
    binary: Annotated[str, Meta(min_length=1, max_length=255)]
    disabled_reason: Reason | None = None
    forced_down: fields.Flag | None = None


async def index(request: Request) -> dict[str, Any]:
    """GET /os-services."""
    fields.check_queries(request, {"host": (2, 1), "binary": (2, 1)}, (2, 75))
    wanted, binary = request.query.get("host"), request.query.get("binary")
    found = await hosts.every_head(request.cloud.db) if binary in (None, BINARY) else []
    return {"services": [_view(request, host) for host in found if wanted in (None, host.name)]}


async def update(request: Request) -> dict[str, Any]:
    """PUT /os-services/{service_id}."""
    wanted: UpdateService = request.body
    if wanted.status is None and wanted.forced_down is None:
        raise Invalid("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    if wanted.disabled_reason is not None and wanted.status != "disabled":
        raise Invalid("Specifying disabled_reason requires that status is disabled.")
    changes: dict[str, Any] = {}
    if wanted.status is not None:
        changes = {"enabled": wanted.status == "enabled", "disabled_reason": wanted.disabled_reason}
    if wanted.forced_down is not None:
        changes["forced_down"] = fields.flag(wanted.forced_down)
    host = await _find(request, request.params["service_id"])
    return {"service": _view(request, await _change(request, host, changes))}


async def update_by_name(request: Request) -> dict[str, Any]:
    """PUT /os-services/{enable, disable, disable-log-reason, force-down}."""
    wanted: OldUpdate = request.body
    verb = request.params["service_id"]
    host = await HOSTS.first(request.cloud.db, "name = ?", wanted.host)
    if host is None or wanted.binary != BINARY:
        raise NotFound(f"Host binary {wanted.binary} could not be found on host {wanted.host}.")
    answer: dict[str, Any] = {"host": host.name, "binary": BINARY}
    if verb == "enable":
        await _change(request, host, {"enabled": True, "disabled_reason": None})
        return {"service": answer | {"status": "enabled"}}
    if verb in ("disable", "disable-log-reason"):
        if verb == "disable-log-reason" and not wanted.disabled_reason:
            raise Invalid("Missing disabled reason field", field="disabled_reason")
        reason = wanted.disabled_reason if verb == "disable-log-reason" else None
        await _change(request, host, {"enabled": False, "disabled_reason": reason})
        return {"service": answer | {"status": "disabled"} | ({"disabled_reason": reason} if reason else {})}
    if verb == "force-down" and request.version >= (2, 11):
        if wanted.forced_down is None:
            raise Invalid("Missing forced_down field", field="forced_down")
        await _change(request, host, {"forced_down": fields.flag(wanted.forced_down)})
        return {"service": answer | {"forced_down": fields.flag(wanted.forced_down)}}
    raise NotFound("Unknown action")


async def delete(request: Request) -> None:
    """DELETE /os-services/{service_id}: forget a host that has no servers. One that had joined by a token needs a new one to come back."""
    host = await _find(request, request.params["service_id"])

    async def work(tx: Transaction) -> None:
        if await tx.value("SELECT 1 FROM servers WHERE host = ? AND removed_at IS NULL", host.name):
            raise Conflict(
                f"Unable to delete compute service that is hosting instances: {host.name}. Migrate or delete the instances first."
            )
        await migration_records.forget_host(tx, host.name)
        await aggregates.leave(tx, host.name)
        if await providers.PROVIDERS.get(tx, host.id) is not None:
            await providers.remove(tx, host.id)
        await admissions.revoke(tx, host.name, clock.now())
        await HOSTS.delete(tx, host.id)

    await request.cloud.db.write(work)


async def _find(request: Request, key: str) -> Host:
    column = "service_id" if request.version >= (2, 53) else "CAST(number AS TEXT)"
    if (host := await HOSTS.first(request.cloud.db, f"{column} = ?", key)) is not None:
        return host
    raise NotFound(f"Compute service {key} could not be found.")


async def _change(request: Request, host: Host, changes: dict[str, Any]) -> Host:
    async def work(tx: Transaction) -> Host:
        await HOSTS.set(tx, host.id, **changes, updated_at=clock.now())
        changed = await HOSTS.get(tx, host.id)
        if changed is None:
            raise NotFound(f"Compute service of {host.name} could not be found.")
        return changed

    changed = await request.cloud.db.write(work)
    request.cloud.wake("hosts", host.name)
    request.cloud.wake("availability", host.name)
    for domain in await routing.carried_by(request.cloud.db, host.name):  # another may take its routers
        request.cloud.wake("routing", domain)
    return changed


def _view(request: Request, host: Host | HostHead) -> dict[str, Any]:
    request.notes.setdefault("numbers", {})[host.service_id] = host.number
    up = hosts.is_up(host, request.received_at, request.cloud.config.node_silence)
    return {
        "id": host.service_id,
        "binary": BINARY,
        "host": host.name,
        "zone": host.availability_zone,
        "status": "enabled" if host.enabled else "disabled",
        "state": "up" if up else "down",
        "updated_at": fields.iso_micro(host.seen_at),
        "disabled_reason": host.disabled_reason,
        "forced_down": host.forced_down,
    }
