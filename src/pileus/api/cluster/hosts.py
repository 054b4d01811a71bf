"""Hosts as their operator sees them: cluster, life, what is there and what is used; and who leads each cluster."""

from typing import Any

import pileus
from pileus import clock
from pileus.api.request import Request
from pileus.model.hosts import Host
from pileus.store import hosts, leases


async def index(request: Request) -> dict[str, Any]:
    """GET /cluster/v1/hosts."""
    db = request.cloud.db
    counts = {str(row[0]): int(row[1]) for row in await db.all("SELECT host, count(*) FROM servers WHERE removed_at IS NULL GROUP BY host")}
    return {"hosts": [_view(request, one, counts.get(one.name, 0)) for one in await hosts.every_host(db)]}


async def version(request: Request) -> dict[str, Any]:
    """GET /cluster/v1/version: the program's version, and this process's clock, for hosts that compare."""
    return {"version": pileus.__version__, "time": clock.now()}


async def leaders(request: Request) -> dict[str, Any]:
    """GET /cluster/v1/leaders: who holds which lease, and for how many seconds more."""
    found = await request.cloud.db.write(leases.all_leases)
    return {"leaders": [{"name": one.name, "holder": one.holder, "seconds_left": round(one.left, 1), "term": one.term} for one in found]}


def _view(request: Request, host: Host, servers: int) -> dict[str, Any]:
    report = host.report
    view: dict[str, Any] = {
        "name": host.name,
        "cluster": host.cluster,
        "state": "up" if hosts.is_up(host, request.received_at, request.cloud.config.node_silence) else "down",
        "status": "enabled" if host.enabled else "disabled",
        "disabled_reason": host.disabled_reason,
        "forced_down": host.forced_down,
        "fenced_at": host.fenced_at,
        "fence_error": host.fence_error,
        "zone": host.availability_zone,
        "servers": servers,
        "seconds_since_report": round(request.received_at - host.seen_at, 1),
    }
    if report is not None:
        view |= {
            "address": report.address,
            "version": report.version,
            "vcpus": report.vcpus,
            "memory_mib": report.memory_mib,
            "memory_used_mib": report.memory_used_mib,
            "disk_gib": report.disk_gib,
            "disk_used_gib": report.disk_used_gib,
            "shared_disks": report.shared_disks,
            "drivers": [one.driver for one in report.capabilities],
        }
    return view
