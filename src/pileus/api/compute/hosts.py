"""Hosts in Nova's words of old (os-hosts), gone with 2.43."""

from typing import Any, Literal

from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound, NotImplementedYet
from pileus.model.hosts import Host
from pileus.store import hosts
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS

TOTAL = "SELECT coalesce(sum(vcpus), 0), coalesce(sum(memory_mib), 0) FROM servers WHERE host = ? AND removed_at IS NULL"


class UpdateHost(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /os-hosts/{name}."""

    status: Literal["enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"] | None = None
    maintenance_mode: Literal["enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"] | None = None


async def index(request: Request) -> dict[str, Any]:
    """GET /os-hosts: each host as a compute service."""
    zone = request.query.get("zone")
    found = [host for host in await hosts.every_head(request.cloud.db) if not zone or host.availability_zone == zone]
    return {"hosts": [{"host_name": host.name, "service": "compute", "zone": host.availability_zone} for host in found]}


async def show(request: Request) -> dict[str, Any]:
    """GET /os-hosts/{name}: what it has, and what its servers take."""
    host = await _load(request)
    report = host.report
    cpus, memory = tuple(await request.cloud.db.one(TOTAL, host.name) or (0, 0))
    total = (report.vcpus, report.memory_mib, report.disk_gib) if report else (0, 0, 0)
    used = (cpus, report.memory_used_mib, report.disk_used_gib) if report else (0, 0, 0)
    rows = (("(total)", total), ("(used_now)", used), ("(used_max)", (cpus, memory, used[2])))
    return {"host": [_resource(host, project, figures) for project, figures in rows]}


def _resource(host: Host, project: str, figures: tuple[int, int, int]) -> dict[str, Any]:
    cpu, memory_mb, disk_gb = figures
    return {"resource": {"host": host.name, "project": project, "cpu": cpu, "memory_mb": memory_mb, "disk_gb": disk_gb}}


async def update(request: Request) -> dict[str, Any]:
    """PUT /os-hosts/{name}: enable or disable its compute service."""
    wanted: UpdateHost = request.body
    if wanted.status is None and wanted.maintenance_mode is None:
        raise Invalid("'status' or 'maintenance_mode' needed for host update")
    host = await _load(request)
    if wanted.maintenance_mode is not None:
        raise NotImplementedYet("A host has no maintenance mode; disable it and move its servers.")
    enabled = (wanted.status or "").lower() == "enable"

    async def work(tx: Transaction) -> None:
        current = await HOSTS.get(tx, host.id)
        if current is not None:
            await HOSTS.update(tx, current, enabled=enabled)

    await request.cloud.db.write(work)
    return {"host": host.name, "status": "enabled" if enabled else "disabled"}


async def power(request: Request) -> None:
    """GET /os-hosts/{name}/startup, shutdown, reboot: the machine itself is not ours to switch."""
    host = await _load(request)
    raise NotImplementedYet(f"The power of host {host.name} is not switched by the cloud.")


async def _load(request: Request) -> Host:
    name = request.params["name"]
    host = await HOSTS.first(request.cloud.db, "name = ?", name)
    if host is None:
        raise NotFound(f"Compute host {name} could not be found.")
    return host
