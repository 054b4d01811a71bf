"""Hosts as Neutron's agents: each host is one of each type, alive while its node reports."""

import time
import uuid
from typing import Any

from pileus import clock
from pileus.api.network.networks import NETWORK
from pileus.api.network.routers import ROUTER
from pileus.api.policy import allowed
from pileus.api.request import Request
from pileus.core.routing import gateway_host
from pileus.model.errors import NotFound, NotImplementedYet
from pileus.model.hosts import Host
from pileus.store import routing
from pileus.store.hosts import every_host, is_up

TYPES = {
    "Linux bridge agent": ("neutron-linuxbridge-agent", "N/A"),
    "DHCP agent": ("neutron-dhcp-agent", "dhcp_agent"),
    "L3 agent": ("neutron-l3-agent", "l3_agent"),
    "Metadata agent": ("neutron-metadata-agent", "N/A"),
}


async def index(request: Request) -> dict[str, Any]:
    """All agents, filtered by any of their fields; an empty list for who may see none."""
    if not allowed(request, "get_agent"):
        return {"agents": []}
    return {"agents": [one for one in await _all(request) if _meets(request, one)]}


async def show(request: Request) -> dict[str, Any]:
    """One agent."""
    return {"agent": await _one(request, request.params["id"])}


async def change(request: Request) -> None:
    """Agents can't be changed one by one: they are a host's."""
    raise NotImplementedYet("An agent is a part of its host; disable the host's compute service instead.")


async def of_network(request: Request) -> dict[str, Any]:
    """The DHCP agents of the hosts that have the network; where none has it yet, that of the host which would be the first."""
    row = await NETWORK.load(request, request.cloud.db, request.params["id"])
    return {"agents": await _on_hosts(request, row.id, "DHCP agent")}


async def of_router(request: Request) -> dict[str, Any]:
    """The L3 agents of the hosts that carry the router."""
    row = await ROUTER.load(request, request.cloud.db, request.params["id"])
    return {"agents": await _on_hosts(request, row.id, "L3 agent")}


async def networks_of(request: Request) -> dict[str, Any]:
    """The networks that an agent's host has, and those that no host has yet and it would be the first to have."""
    agent = await _one(request, request.params["id"])
    db = request.cloud.db
    there = [*await routing.components_on(db, agent["host"]), *await routing.idle_on(db, agent["host"])]
    ids = [id for one in there for id in one.networks]
    rows = await NETWORK.table.find(request.cloud.db, f"id IN ({', '.join('?' * len(ids)) or 'NULL'})", *ids)
    return {"networks": await NETWORK.views(request, rows)}


async def routers_of(request: Request) -> dict[str, Any]:
    """The routers that an agent's host carries."""
    agent = await _one(request, request.params["id"])
    db = request.cloud.db
    there = [one for one in await routing.components_on(db, agent["host"]) if await routing.router_host_of(db, one) == agent["host"]]
    ids = [id for one in there for id in one.routers]
    rows = await ROUTER.table.find(request.cloud.db, f"id IN ({', '.join('?' * len(ids)) or 'NULL'})", *ids)
    return {"routers": await ROUTER.views(request, rows)}


async def _on_hosts(request: Request, id: str, kind: str) -> list[dict[str, Any]]:
    component = await routing.component_of(request.cloud.db, id)
    if component is None:
        return []
    names = await routing.hosts_with(request.cloud.db, component)
    router = await routing.router_host_of(request.cloud.db, component)
    if kind == "L3 agent":
        names &= {router or ""}
    elif not names:
        names = {gateway_host(component.id, await routing.host_names(request.cloud.db)) or ""}
    return [one for one in await _all(request) if one["agent_type"] == kind and one["host"] in names]


async def _all(request: Request) -> list[dict[str, Any]]:
    now, silence = clock.now(), request.cloud.config.node_silence
    return [_view(host, kind, is_up(host, now, silence)) for host in await every_host(request.cloud.db) for kind in TYPES]


async def _one(request: Request, id: str) -> dict[str, Any]:
    for one in await _all(request):
        if one["id"] == id:
            return one
    raise NotFound(f"Agent {id} could not be found.", type="AgentNotFound")


def _view(host: Host, kind: str, alive: bool) -> dict[str, Any]:
    binary, topic = TYPES[kind]
    started = host.report.started_at if host.report else host.created_at
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{host.id}/{kind}")),
        "agent_type": kind,
        "binary": binary,
        "topic": topic,
        "host": host.name,
        "admin_state_up": host.enabled,
        "alive": alive,
        "availability_zone": host.availability_zone,
        "configurations": {"devices": len(host.report.domains) if host.report else 0},
        "description": None,
        "created_at": _stamp(host.created_at),
        "started_at": _stamp(started),
        "heartbeat_timestamp": _stamp(host.seen_at),
        "resources_synced": None,
        "resource_versions": {},
    }


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _meets(request: Request, agent: dict[str, Any]) -> bool:
    for name in {name for name, _ in request.queries if name in agent}:
        if str(agent[name]).lower() not in [value.lower() for value in request.all_queries(name)]:
            return False
    return True
