"""Availability zones: where hosts are, as a user may choose it."""

from typing import Any

from pileus.api.compute import fields
from pileus.api.request import Request
from pileus.store import hosts
from pileus.store.hosts import HostHead


async def index(request: Request) -> dict[str, Any]:
    """GET /os-availability-zone."""
    return await _zones(request, detailed=False)


async def detail(request: Request) -> dict[str, Any]:
    """GET /os-availability-zone/detail: with hosts, for administrators."""
    return await _zones(request, detailed=True)


async def _zones(request: Request, detailed: bool) -> dict[str, Any]:
    fields.check_queries(request, {}, (2, 102))
    by_zone: dict[str, list[HostHead]] = {}
    for host in await hosts.every_head(request.cloud.db):
        by_zone.setdefault(host.availability_zone, []).append(host)
    now, silence = request.received_at, request.cloud.config.node_silence
    return {
        "availabilityZoneInfo": [
            {
                "zoneName": zone,
                "zoneState": {"available": any(host.enabled for host in members)},
                "hosts": {
                    host.name: {
                        "nova-compute": {
                            "active": host.enabled,
                            "available": hosts.is_up(host, now, silence),
                            "updated_at": fields.iso_micro(host.seen_at),
                        }
                    }
                    for host in members
                }
                if detailed
                else None,
            }
            for zone, members in sorted(by_zone.items())
        ]
    }
