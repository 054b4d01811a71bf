"""Auto-allocated topology: a network with a router to the default external network, made for a project that has none."""

from typing import Any

from pileus.api.network import networks, router_interfaces, routers, subnets
from pileus.api.network.attributes import parse_body
from pileus.api.network.handlers import write
from pileus.api.network.kinds import Call, Kind, Values
from pileus.api.network.routers import Gateway
from pileus.api.request import Request, Response
from pileus.model.errors import Conflict, Forbidden, NotFound
from pileus.model.networks import Network
from pileus.store.networks import NETWORKS
from pileus.store.ports import remove_port
from pileus.store.routers import ROUTERS

NAME = "auto_allocated_network"
ROUTER_NAME = "auto_allocated_router"
CIDR = "192.168.233.0/24"


async def show(request: Request) -> dict[str, Any]:
    """The project's topology, made if it is not there; with `fields=dry-run`, whether it could be."""
    project = _project(request)

    async def work(call: Call) -> str:
        network = await NETWORKS.first(call.tx, "project_id = ? AND name = ?", project, NAME)
        outside = await NETWORKS.first(call.tx, "external = 1 AND is_default = 1")
        if network is None and outside is None:
            raise Conflict(
                "Deployment error: No default router:external network. An administrator makes one with: network set --default NETWORK.",
                type="AutoAllocationFailure",
            )
        if "dry-run" in request.all_queries("fields"):
            return "dry-run=pass"
        if network is None and outside is not None:
            network = await _make(call, project, outside)
        assert network is not None
        return network.id

    id = await write(request, work)
    return {"auto_allocated_topology": {"id": id, "tenant_id": project, "project_id": project}}


async def delete(request: Request) -> Response:
    """Take the topology away again; a Conflict while servers are on it."""
    project = _project(request)

    async def work(call: Call) -> None:
        network = await NETWORKS.first(call.tx, "project_id = ? AND name = ?", project, NAME)
        router = await ROUTERS.first(call.tx, "project_id = ? AND name = ?", project, ROUTER_NAME)
        if network is None:
            raise NotFound(f"There is no auto-allocated topology for project {project}.", type="AutoAllocatedTopologyNotFound")
        if router is not None:
            for port, _ in await routers.legs_of(call, router.id):
                await remove_port(call.tx, port)
            await routers.delete(call, router)
        await networks.delete(call, network)

    await write(request, work)
    return Response(204)


async def _make(call: Call, project: str, outside: Network) -> Network:
    network = await _create(call, networks.NETWORK, name=NAME, project_id=project)
    subnet = await _create(
        call, subnets.SUBNET, name="auto_allocated_subnet_v4", network_id=network.id, ip_version=4, cidr=CIDR, project_id=project
    )
    values = parse_body(call.request, "router", routers.ROUTER.by_name, {"name": ROUTER_NAME, "project_id": project}, creating=True)
    router = await routers.create(call, values | {"external_gateway_info": Gateway(network_id=outside.id)})
    await router_interfaces.connect(call, router, subnet.id)
    return network


async def _create(call: Call, kind: Kind, **body: Any) -> Any:
    values: Values = parse_body(call.request, kind.name, kind.by_name, body, creating=True)
    assert kind.create is not None
    return await kind.create(call, values)


def _project(request: Request) -> str:
    project = request.params["project_id"]
    own = request.project_id
    if project not in ("None", "null", own) and not request.identity.is_admin:
        raise Forbidden("The topology of another project can't be asked for.", type="PolicyNotAuthorized")
    return own if project in ("None", "null") else project
