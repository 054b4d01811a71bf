"""Routers: attributes, gateway, static routes. Their inner legs are in `router_interfaces.py`."""

import uuid
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from pileus import clock
from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Absent, Attribute, given, refused, shown
from pileus.api.network.handlers import body_of, document, write
from pileus.api.network.kinds import Call, Kind, Values, owns, project_of
from pileus.api.network.networks import NETWORK
from pileus.api.network.subnets import routes
from pileus.api.network.tags import save_tags
from pileus.api.network.times import base_of
from pileus.api.policy import allowed
from pileus.api.request import Request
from pileus.core.subnets import check_routers_subnets
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid
from pileus.model.ports import ROUTER_GATEWAY, Port
from pileus.model.routers import Router
from pileus.model.subnets import HostRoute, Subnet
from pileus.store.fixed_ips import FixedIpRequest
from pileus.store.ports import PORTS, NewPort, create_port, remove_port, update_port
from pileus.store.quotas import charge
from pileus.store.routers import ROUTERS, interfaces_of
from pileus.store.subnets import SUBNETS, subnets_of_network

MOST_ROUTES = 30


class Gateway(Model, frozen=True, kw_only=True):
    """external_gateway_info as a client gives it."""

    network_id: str
    enable_snat: bool | None = None
    external_fixed_ips: list[FixedIpRequest] | None = None


_fixed_ips = check.listed(check.record({"subnet_id": check.optional(check.uuid), "ip_address": check.address}, build=FixedIpRequest), False)
_gateway = check.record(
    {
        "network_id": check.uuid,
        "enable_snat": check.optional(check.boolean),
        "external_fixed_ips": check.optional(_fixed_ips),
        "qos_policy_id": check.optional(check.choice()),
    },
    required=("network_id",),
    build=lambda qos_policy_id=None, **rest: Gateway(**rest),
)


def gateway_info(value: Any) -> Gateway | None:
    """Null and {} mean no gateway."""
    return None if value in (None, {}) else _gateway(value)


ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("name", check.text_or_empty(), default=""),
    given("description", check.text_or_empty(), default=""),
    given("admin_state_up", check.boolean, default=True),
    given("external_gateway_info", gateway_info, default=None, column=None),
    given("routes", routes, default=Absent, post=False, column=None),
    given("distributed", check.optional(check.choice(False)), default=None, column=None, admin_view=True, guarded=True),
    given("ha", check.optional(check.choice(False)), default=None, column=None, admin_view=True, guarded=True),
    given("flavor_id", check.optional(check.choice()), put=False, default=None, column=None),
    given("availability_zone_hints", check.listed(check.text()), put=False, default=[], column=None),
    given("tags", check.listed(check.tag), put=False, default=[], column=None),
    shown("status"),
    shown("availability_zones"),
]


async def views(request: Request, rows: list[Router]) -> list[Values]:
    """Documents."""
    return [_view(row) for row in rows]


def _view(row: Router) -> Values:
    gateway = None
    if row.gateway_network_id is not None:
        gateway = {"network_id": row.gateway_network_id, "enable_snat": row.enable_snat, "external_fixed_ips": row.gateway_ips}
    return base_of(row) | {
        "name": row.name,
        "description": row.description,
        "status": "ACTIVE",
        "admin_state_up": row.admin_state_up,
        "external_gateway_info": gateway,
        "routes": row.routes,
        "distributed": False,
        "ha": False,
        "flavor_id": None,
        "availability_zone_hints": row.availability_zone_hints,
        "availability_zones": ["nova"],
        "tags": row.tags,
    }


async def create(call: Call, values: Values) -> Router:
    """Make a router, with its gateway when one is given."""
    project_id = project_of(call, values)
    await charge(call.tx, project_id, router=1)
    now = clock.now()
    plain = ("name", "description", "admin_state_up", "availability_zone_hints", "tags")
    router = Router(id=str(uuid.uuid4()), created_at=now, updated_at=now, project_id=project_id, **{name: values[name] for name in plain})
    await ROUTERS.insert(call.tx, router)
    await save_tags(call.tx, router.id, router.tags)
    if values["external_gateway_info"] is not None:
        _check_gateway_rights(call, "create_router", values["external_gateway_info"])
        changes = await _set_gateway(call, router, values["external_gateway_info"])
        await ROUTERS.set(call.tx, router.id, **changes)
        router = msgspec.structs.replace(router, **changes)
    call.wake(router.id)
    return router


async def update(call: Call, row: Router, values: Values) -> Router:
    """Change a router, its gateway and its static routes."""
    changes: Values = {name: values[name] for name in ("name", "description", "admin_state_up") if name in values}
    if "external_gateway_info" in values:
        gateway = values["external_gateway_info"]
        if gateway is not None:
            _check_gateway_rights(call, "update_router", gateway)
        changes |= await _set_gateway(call, row, gateway)
    if "routes" in values:
        changes["routes"] = values["routes"]
    after = msgspec.structs.replace(row, **changes)
    if "routes" in values or (row.routes and after.gateway_port_id != row.gateway_port_id):
        await check_routes(call, after)
    call.wake(row.id)
    return await ROUTERS.update(call.tx, row, **changes)


def _check_gateway_rights(call: Call, action: str, gateway: Gateway) -> None:
    for name in ("enable_snat", "external_fixed_ips"):
        rule = f"{action}:external_gateway_info:{name}"
        if getattr(gateway, name) is not None and not allowed(call.request, rule):
            raise refused(rule)


async def _set_gateway(call: Call, row: Router, gateway: Gateway | None) -> Values:
    """Bring the gateway port to what is asked for; returns the router's fields that follow."""
    if gateway is None or gateway.network_id != row.gateway_network_id:
        await _clear_gateway(call, row)
    if gateway is None:
        return {"gateway_network_id": None, "gateway_port_id": None, "gateway_ips": [], "enable_snat": True}
    port = None if row.gateway_port_id is None else await PORTS.get(call.tx, row.gateway_port_id)
    if port is None:
        port = await _new_gateway(call, row, gateway)
    elif gateway.external_fixed_ips is not None:
        port = await update_port(call.tx, port, gateway.external_fixed_ips)
    snat = (row.enable_snat if row.gateway_port_id == port.id else True) if gateway.enable_snat is None else gateway.enable_snat
    return {"gateway_network_id": port.network_id, "gateway_port_id": port.id, "gateway_ips": port.fixed_ips, "enable_snat": snat}


async def _new_gateway(call: Call, row: Router, gateway: Gateway) -> Port:
    network = await NETWORK.load(call.request, call.tx, gateway.network_id)
    if not await is_external(call, network.id):
        raise Invalid(f"Bad router request: Network {network.id} is not an external network.", type="BadRequest")
    inner = [one for _, one in await legs_of(call, row.id)]
    for subnet in await subnets_of_network(call.tx, network.id):
        check_routers_subnets(subnet, inner)
    new = NewPort(
        project_id="", network_id=network.id, device_owner=ROUTER_GATEWAY, device_id=row.id, fixed_ips=gateway.external_fixed_ips or None
    )
    return await create_port(call.tx, new, network)


async def is_external(call: Call, network_id: str) -> bool:
    """Whether the network is external, or was given to the caller as such."""
    sql = (
        "SELECT 1 FROM networks WHERE id = ? AND (external = 1 OR id IN "
        "(SELECT object_id FROM network_rbac_policies WHERE action = 'access_as_external' AND target_project IN (?, '*')))"
    )
    return await call.tx.value(sql, network_id, call.request.identity.project_id) is not None


async def _clear_gateway(call: Call, row: Router) -> None:
    if row.gateway_port_id is None:
        return
    used = await call.tx.value("SELECT 1 FROM floating_ips WHERE router_id = ? AND port_id IS NOT NULL LIMIT 1", row.id)
    if used is not None:
        raise Conflict(
            f"Gateway cannot be updated for router {row.id}, since a gateway to external network {row.gateway_network_id} is required by "
            "one or more floating IPs.",
            type="RouterExternalGatewayInUseByFloatingIp",
        )
    port = await PORTS.get(call.tx, row.gateway_port_id)
    if port is not None:
        await remove_port(call.tx, port)


async def legs_of(call: Call, router_id: str) -> list[tuple[Port, Subnet]]:
    """Each inner leg with each subnet that it has an address on."""
    found: list[tuple[Port, Subnet]] = []
    for port in await interfaces_of(call.tx, router_id):
        for one in port.fixed_ips:
            subnet = await SUBNETS.get(call.tx, one.subnet_id)
            if subnet is not None:
                found.append((port, subnet))
    return found


async def check_routes(call: Call, row: Router) -> None:
    """Invalid unless each next hop is a neighbour of the router and not the router itself."""
    if len(row.routes) > MOST_ROUTES:
        raise Invalid(
            f"Unable to complete operation for {row.id}. The number of routes exceeds the maximum {MOST_ROUTES}.", type="RoutesExhausted"
        )
    legs = await legs_of(call, row.id)
    prefixes = [ip_network(subnet.cidr) for _, subnet in legs]
    own = {one.ip_address for port, _ in legs for one in port.fixed_ips} | {one.ip_address for one in row.gateway_ips}
    for one in row.gateway_ips:
        subnet = await SUBNETS.get(call.tx, one.subnet_id)
        if subnet is not None:
            prefixes.append(ip_network(subnet.cidr))
    for route in row.routes:
        if not any(ip_address(route.nexthop) in prefix for prefix in prefixes):
            raise _bad_route(route, "the nexthop is not connected with router")
        if route.nexthop in own:
            raise _bad_route(route, "the nexthop is used by router")


def _bad_route(route: HostRoute, reason: str) -> Invalid:
    words = f"{{'destination': '{route.destination}', 'nexthop': '{route.nexthop}'}}"
    return Invalid(f"Invalid format for routes: {words}, {reason}.", type="InvalidRoutes", field="routes")


async def delete(call: Call, row: Router) -> None:
    """Remove a router without inner legs; its gateway goes with it."""
    if await interfaces_of(call.tx, row.id):
        raise Conflict(f"Router {row.id} still has ports", type="RouterInUse")
    await _clear_gateway(call, row)
    await call.tx.execute("DELETE FROM network_tags WHERE resource_id = ?", row.id)
    await ROUTERS.delete(call.tx, row.id)
    call.wake(row.id)


ROUTER = Kind(
    name="router", plural="routers", title="Router", table=ROUTERS, attributes=ATTRIBUTES, views=views, create=create, update=update,
    delete=delete, filters={"status": lambda values: ("1 = 1" if "ACTIVE" in values else "1 = 0", [])},
)  # fmt: skip


async def add_extraroutes(request: Request) -> Values:
    """Add static routes; those that are there stay."""
    return await _change_routes(request, lambda have, named: have + [one for one in named if one not in have])


async def remove_extraroutes(request: Request) -> Values:
    """Take static routes away; those that are not there are passed over."""
    return await _change_routes(request, lambda have, named: [one for one in have if one not in named])


async def _change_routes(request: Request, change: Any) -> Values:
    body: Any = body_of(request, "router")
    try:
        named = routes(body.get("routes") if isinstance(body, dict) else body)
    except check.InvalidValue as error:
        raise Invalid(f"Invalid input for routes. Reason: {error}.", field="routes") from error

    async def work(call: Call) -> Router:
        row = await ROUTER.load(request, call.tx, request.params["id"])
        if not owns(request, row):
            raise ROUTER.not_found(row.id)
        after = msgspec.structs.replace(row, routes=change(row.routes, named))
        await check_routes(call, after)
        call.wake(row.id)
        return await ROUTERS.update(call.tx, row, routes=after.routes)

    return {"router": await document(request, ROUTER, await write(request, work))}
