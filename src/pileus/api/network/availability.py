"""What is there to choose from: availability zones, addresses left in networks, providers of services."""

from typing import Any

from pileus.api.network.networks import NETWORK
from pileus.api.request import Request
from pileus.core.addresses import pool_size
from pileus.model.networks import Network
from pileus.store.networks import NETWORKS
from pileus.store.subnets import subnets_of_network


async def zones(request: Request) -> dict[str, Any]:
    """The hosts' zones, for networks and for routers."""
    rows = await request.cloud.db.all("SELECT DISTINCT availability_zone FROM hosts ORDER BY availability_zone")
    found = [{"name": row[0], "resource": kind, "state": "available"} for row in rows for kind in ("network", "router")]
    return {"availability_zones": found}


async def addresses(request: Request) -> dict[str, Any]:
    """Addresses used and there in all, of each network that has subnets."""
    wanted = {name: request.all_queries(name) for name in ("network_id", "network_name", "project_id", "tenant_id", "ip_version")}
    found: list[dict[str, Any]] = []
    for network in await NETWORKS.find(request.cloud.db, "1 = 1 ORDER BY created_at, id"):
        fields = {
            "network_id": network.id,
            "network_name": network.name,
            "project_id": network.project_id,
            "tenant_id": network.project_id,
        }
        if all(not wanted[name] or value in wanted[name] for name, value in fields.items()):
            found.append(await _of(request, network, wanted["ip_version"]))
    return {"network_ip_availabilities": [one for one in found if one["subnet_ip_availability"] or not wanted["ip_version"]]}


async def addresses_of_one(request: Request) -> dict[str, Any]:
    """Addresses of one network."""
    network = await NETWORK.load(request, request.cloud.db, request.params["id"])
    return {"network_ip_availability": await _of(request, network, [])}


async def _of(request: Request, network: Network, versions: list[str]) -> dict[str, Any]:
    counts = await request.cloud.db.all("SELECT subnet_id, count(*) FROM addresses WHERE network_id = ? GROUP BY subnet_id", network.id)
    used: dict[str, int] = {row[0]: row[1] for row in counts}
    subnets = [
        {
            "subnet_id": subnet.id,
            "subnet_name": subnet.name,
            "cidr": subnet.cidr,
            "ip_version": subnet.ip_version,
            "total_ips": sum(pool_size(pool) for pool in subnet.allocation_pools),
            "used_ips": used.get(subnet.id, 0),
        }
        for subnet in await subnets_of_network(request.cloud.db, network.id)
        if not versions or str(subnet.ip_version) in versions
    ]
    return {
        "network_id": network.id,
        "network_name": network.name,
        "project_id": network.project_id,
        "tenant_id": network.project_id,
        "subnet_ip_availability": subnets,
        "total_ips": sum(one["total_ips"] for one in subnets),
        "used_ips": sum(one["used_ips"] for one in subnets),
    }


async def providers(request: Request) -> dict[str, Any]:
    """Providers of advanced services: every router is of one kind."""
    return {"service_providers": [{"service_type": "L3_ROUTER_NAT", "name": "single_node", "default": True}]}
