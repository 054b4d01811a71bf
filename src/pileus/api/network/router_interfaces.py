"""A router's inner legs: add and remove, by subnet or by port."""

from typing import Any

from pileus.api.network import validators as check
from pileus.api.network.attributes import refused
from pileus.api.network.handlers import write
from pileus.api.network.kinds import Call, Values, owns
from pileus.api.network.networks import NETWORK
from pileus.api.network.ports import PORT
from pileus.api.network.routers import ROUTER, check_routes, legs_of
from pileus.api.network.subnets import SUBNET
from pileus.api.request import Request
from pileus.core.subnets import check_routers_subnets
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.ports import ROUTER_INTERFACE, Port
from pileus.model.routers import Router
from pileus.model.subnets import Subnet
from pileus.store import networks
from pileus.store.fixed_ips import FixedIpRequest
from pileus.store.ports import NewPort, create_port, remove_port, update_port
from pileus.store.subnets import SUBNETS


class Leg(Model, frozen=True, kw_only=True):
    """What the body names."""

    subnet_id: str | None = None
    port_id: str | None = None


async def add(request: Request) -> Values:
    """Connect the router with a subnet, by its gateway address, or with a port."""
    leg = _leg(request)
    if leg.subnet_id and leg.port_id:
        raise Invalid("Bad router request: Cannot specify both subnet-id and port-id.", type="BadRequest")

    async def work(call: Call) -> Values:
        router = await _router(call, request.params["id"])
        port, subnets = await (connect(call, router, leg.subnet_id) if leg.subnet_id else _add_port(call, router, str(leg.port_id)))
        call.wake(port.network_id, router.id)
        return _answer(router, port, subnets)

    return await write(request, work)


async def remove(request: Request) -> Values:
    """Take the leg away; its port goes with it."""
    leg = _leg(request)

    async def work(call: Call) -> Values:
        router = await _router(call, request.params["id"])
        found = [
            (port, subnet) for port, subnet in await legs_of(call, router.id)
            if leg.port_id in (None, port.id) and leg.subnet_id in (None, subnet.id)
        ]  # fmt: skip
        if not found:
            raise await _missing(call, router, leg)
        for _, subnet in found:
            await _check_unneeded(call, router, subnet)
        port = found[0][0]
        gone = {subnet.id for _, subnet in found}
        left = [one for one in port.fixed_ips if one.subnet_id not in gone]
        if left:
            await update_port(call.tx, port, [FixedIpRequest(subnet_id=one.subnet_id, ip_address=one.ip_address) for one in left])
        else:
            await remove_port(call.tx, port)
        if router.routes:
            await _check_routes_left(call, router)
        call.wake(router.id, *(member for member in await _network_ids(call, router.id)), port.network_id)
        return _answer(router, port, [subnet for _, subnet in found])

    return await write(request, work)


def _leg(request: Request) -> Leg:
    raw: Any = request.raw
    try:
        leg = check.record({"subnet_id": check.optional(check.uuid), "port_id": check.optional(check.uuid)}, build=Leg)(raw or {})
    except check.InvalidValue as error:
        raise Invalid(f"Bad router request: {error}.", type="BadRequest") from error
    if not leg.subnet_id and not leg.port_id:
        raise Invalid("Bad router request: Either subnet_id or port_id must be specified.", type="BadRequest")
    return leg


async def _router(call: Call, id: str) -> Router:
    router = await ROUTER.load(call.request, call.tx, id)
    if not owns(call.request, router):
        raise ROUTER.not_found(id)
    return router


async def connect(call: Call, router: Router, subnet_id: str) -> tuple[Port, list[Subnet]]:
    """Give the router a leg at the subnet's gateway address."""
    subnet = await SUBNET.load(call.request, call.tx, subnet_id)
    if subnet.gateway_ip is None:
        raise Invalid("Bad router request: Subnet for router interface must have a gateway IP.", type="BadRequest")
    legs = await legs_of(call, router.id)
    await _check_subnet(call, router, subnet, [one for _, one in legs])
    wanted = FixedIpRequest(subnet_id=subnet.id, ip_address=subnet.gateway_ip)
    if subnet.ip_version == 6:
        shared = next((port for port, other in legs if other.network_id == subnet.network_id and other.ip_version == 6), None)
        if shared is not None:
            have = [FixedIpRequest(subnet_id=one.subnet_id, ip_address=one.ip_address) for one in shared.fixed_ips]
            return await update_port(call.tx, shared, [*have, wanted]), [subnet]
    network = await networks.NETWORKS.get(call.tx, subnet.network_id)
    new = NewPort(
        project_id=router.project_id, network_id=subnet.network_id, device_owner=ROUTER_INTERFACE, device_id=router.id, fixed_ips=[wanted]
    )
    return await create_port(call.tx, new, network), [subnet]


async def _add_port(call: Call, router: Router, port_id: str) -> tuple[Port, list[Subnet]]:
    port: Port = await PORT.load(call.request, call.tx, port_id)
    if port.device_id:
        raise Conflict(
            f"Unable to complete operation on port {port.id} for network {port.network_id}. Port already has an attached device "
            f"{port.device_id}.",
            type="PortInUse",
        )
    if not port.fixed_ips:
        raise Invalid("Bad router request: Router port must have at least one fixed IP.", type="BadRequest")
    subnets: list[Subnet] = []
    legs = [one for _, one in await legs_of(call, router.id)]
    for one in port.fixed_ips:
        subnet = await SUBNETS.get(call.tx, one.subnet_id)
        assert subnet is not None
        await _check_subnet(call, router, subnet, legs)
        subnets.append(subnet)
    if len([one for one in subnets if one.ip_version == 4]) > 1:
        raise Invalid("Bad router request: Cannot have multiple IPv4 subnets on router port.", type="BadRequest")
    changes = {"device_id": router.id, "device_owner": ROUTER_INTERFACE, "security_groups": [], "port_security_enabled": False}
    return await update_port(call.tx, port, **changes), subnets


async def _check_subnet(call: Call, router: Router, subnet: Subnet, legs: list[Subnet]) -> None:
    network = await NETWORK.load(call.request, call.tx, subnet.network_id)
    if not call.admin and not await networks.may_use(call.tx, network, call.request.identity.project_id):
        raise refused("add_router_interface")
    if any(one.id == subnet.id for one in legs):
        raise Invalid(f"Bad router request: Router already has a port on subnet {subnet.id}.", type="BadRequest")
    outside = await SUBNETS.find(call.tx, "network_id = ?", router.gateway_network_id) if router.gateway_network_id else []
    check_routers_subnets(subnet, [*legs, *outside])


async def _missing(call: Call, router: Router, leg: Leg) -> NotFound | Conflict:
    if leg.port_id:
        port = await PORT.load(call.request, call.tx, leg.port_id)
        if leg.subnet_id and port.device_id == router.id:
            return Conflict(f"The subnet ID {leg.subnet_id} does not match that of port {leg.port_id}.", type="SubnetMismatchForPort")
        return NotFound(f"Router {router.id} does not have an interface with id {leg.port_id}", type="RouterInterfaceNotFound")
    await SUBNET.load(call.request, call.tx, str(leg.subnet_id))
    return NotFound(f"Router {router.id} has no interface on subnet {leg.subnet_id}", type="RouterInterfaceNotFoundForSubnet")


async def _check_unneeded(call: Call, router: Router, subnet: Subnet) -> None:
    """A Conflict while a floating IP reaches its fixed address by this leg."""
    needed = await call.tx.value(
        "SELECT 1 FROM floating_ips JOIN addresses ON addresses.port_id = floating_ips.port_id AND ip_address = fixed_ip_address "
        "WHERE router_id = ? AND subnet_id = ? LIMIT 1",
        router.id, subnet.id,
    )  # fmt: skip
    if needed is not None:
        raise Conflict(
            f"Router interface for subnet {subnet.id} on router {router.id} cannot be deleted, as it is required by one or more "
            "floating IPs.",
            type="RouterInterfaceInUseByFloatingIP",
        )


async def _check_routes_left(call: Call, router: Router) -> None:
    try:
        await check_routes(call, router)
    except Invalid as error:
        raise Conflict(
            f"Router interface of router {router.id} cannot be deleted, as it is required by one or more routes.",
            type="RouterInterfaceInUseByRoute",
        ) from error


async def _network_ids(call: Call, router_id: str) -> list[str]:
    return sorted({subnet.network_id for _, subnet in await legs_of(call, router_id)})


def _answer(router: Router, port: Port, subnets: list[Subnet]) -> Values:
    return {
        "id": router.id,
        "tenant_id": router.project_id,
        "project_id": router.project_id,
        "port_id": port.id,
        "network_id": port.network_id,
        "subnet_id": subnets[0].id,
        "subnet_ids": [one.id for one in subnets],
        "tags": router.tags,
    }
