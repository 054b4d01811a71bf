"""Networks and floating IPs by way of compute, gone with 2.36 (2.44): the network service's, in Nova's words of old."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from pileus.api.compute import servers as resource
from pileus.api.network.attributes import parse_body
from pileus.api.network.floating_ips import FLOATINGIP
from pileus.api.network.handlers import write
from pileus.api.network.kinds import Call
from pileus.api.network.networks import NETWORK
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound, QuotaExceeded
from pileus.model.floating_ips import FloatingIp
from pileus.model.networks import Network
from pileus.store.floating_ips import FLOATING_IPS
from pileus.store.networks import NETWORKS, VISIBLE, visible_args
from pileus.store.ports import ports_of

T = TypeVar("T")
Address = Annotated[str, Meta(min_length=1, max_length=45)]
OLD_FIELDS = (
    "cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "netmask_v6",
)  # fmt: skip
ADMIN_FIELDS = (
    "created_at", "updated_at", "deleted_at", "deleted", "injected", "bridge", "vlan", "vpn_public_address", "vpn_public_port",
    "vpn_private_address", "dhcp_start", "project_id", "host", "bridge_interface", "multi_host", "priority", "rxtx_base", "mtu",
    "dhcp_server", "enable_dhcp", "share_address",
)  # fmt: skip


class Pool(Model, frozen=True, kw_only=True):
    """From which external network a floating IP is to be: by name or id; the only one when it is not said."""

    pool: str | None = None


class AddressOfServer(Model, frozen=True, kw_only=True):
    """A floating IP, and the server's address that it is to stand for."""

    address: Address
    fixed_address: Address | None = None


class AddFloatingIp(Model, frozen=True, kw_only=True):
    """The action addFloatingIp."""

    wanted: AddressOfServer = msgspec.field(name="addFloatingIp")


class RemoveFloatingIp(Model, frozen=True, kw_only=True):
    """The action removeFloatingIp."""

    wanted: AddressOfServer = msgspec.field(name="removeFloatingIp")


async def networks(request: Request) -> dict[str, Any]:
    """GET /os-networks: an id and a name are all that is left of what Nova once knew."""
    return {"networks": [_network(request, one) for one in await _visible(request)]}


async def network(request: Request) -> dict[str, Any]:
    """GET /os-networks/{network_id}."""
    return {"network": _network(request, await _load_network(request))}


async def tenant_networks(request: Request) -> dict[str, Any]:
    """GET /os-tenant-networks."""
    return {"networks": [_tenant_network(one) for one in await _visible(request)]}


async def tenant_network(request: Request) -> dict[str, Any]:
    """GET /os-tenant-networks/{network_id}."""
    return {"network": _tenant_network(await _load_network(request))}


async def pools(request: Request) -> dict[str, Any]:
    """GET /os-floating-ip-pools: the external networks."""
    return {"floating_ip_pools": [{"name": one.name or one.id} for one in await _visible(request) if one.external]}


async def index(request: Request) -> dict[str, Any]:
    """GET /os-floating-ips."""
    found = await FLOATING_IPS.find(request.cloud.db, "project_id = ? ORDER BY created_at, id", request.project_id)
    return {"floating_ips": await _views(request, found)}


async def show(request: Request) -> dict[str, Any]:
    """GET /os-floating-ips/{floating_ip_id}."""
    return {"floating_ip": (await _views(request, [await _load(request)]))[0]}


async def create(request: Request) -> dict[str, Any]:
    """POST /os-floating-ips."""
    name = request.body.pool
    found = [one for one in await _visible(request) if one.external and (name is None or name in (one.id, one.name))]
    if not found:
        raise NotFound("Floating IP pool not found.")
    body = {"floating_network_id": found[0].id}
    values = parse_body(request, FLOATINGIP.name, FLOATINGIP.by_name, body, creating=True)
    make = FLOATINGIP.create
    assert make is not None
    floating = await _written(request, lambda call: make(call, values))
    return {"floating_ip": (await _views(request, [floating]))[0]}


async def delete(request: Request) -> None:
    """DELETE /os-floating-ips/{floating_ip_id}."""
    floating = await _load(request)
    remove = FLOATINGIP.delete
    assert remove is not None
    await _written(request, lambda call: remove(call, floating))


async def add(request: Request) -> None:
    """The action addFloatingIp: point a floating IP to the server's first IPv4 address, or to the one that is named."""
    wanted: AddressOfServer = request.body.wanted
    server = await resource.unlocked(request, request.cloud.db)
    floating = await _by_address(request, wanted.address)
    ports = (await ports_of(request.cloud.db, [server.id]))[server.id]
    places = [(port.id, one.ip_address) for port in ports for one in port.fixed_ips if ":" not in one.ip_address]
    if wanted.fixed_address is not None:
        places = [place for place in places if place[1] == wanted.fixed_address]
    if not places:
        raise Invalid(f"Unable to associate floating IP {wanted.address}: instance {server.id} has no such fixed IPv4 address.")
    await _point(request, floating, {"port_id": places[0][0], "fixed_ip_address": places[0][1]})


async def remove(request: Request) -> None:
    """The action removeFloatingIp."""
    wanted: AddressOfServer = request.body.wanted
    server = await resource.unlocked(request, request.cloud.db)
    floating = await _by_address(request, wanted.address)
    ports = (await ports_of(request.cloud.db, [server.id]))[server.id]
    if floating.port_id not in [port.id for port in ports]:
        raise Conflict(f"Floating IP {wanted.address} is not associated with instance {server.id}.")
    await _point(request, floating, {"port_id": None})


async def _point(request: Request, floating: FloatingIp, values: dict[str, Any]) -> None:
    change = FLOATINGIP.update
    assert change is not None
    await _written(request, lambda call: change(call, floating, values))


async def _written(request: Request, work: Callable[[Call], Awaitable[T]]) -> T:
    """The network service's answer in Nova's statuses."""
    try:
        return await write(request, work)
    except QuotaExceeded as error:
        raise QuotaExceeded(error.message, status=403) from error
    except Conflict as error:
        raise Invalid(error.message) from error


async def _by_address(request: Request, address: str) -> FloatingIp:
    found = await FLOATING_IPS.find(request.cloud.db, "floating_ip_address = ?", address)
    mine = [one for one in found if request.identity.is_admin or one.project_id == request.identity.project_id]
    if not mine:
        raise NotFound("floating IP not found")
    return mine[0]


async def _load(request: Request) -> FloatingIp:
    key = request.params["floating_ip_id"]
    try:
        floating: FloatingIp = await FLOATINGIP.load(request, request.cloud.db, key)
    except NotFound as error:
        raise NotFound(f"Floating IP not found for ID {key}") from error
    return floating


async def _load_network(request: Request) -> Network:
    try:
        found: Network = await NETWORK.load(request, request.cloud.db, request.params["network_id"])
    except NotFound as error:
        raise NotFound("Network not found") from error
    return found


async def _visible(request: Request) -> list[Network]:
    where, args = ("1 = 1", []) if request.identity.is_admin else (VISIBLE, visible_args(request.identity.project_id))
    return await NETWORKS.find(request.cloud.db, f"{where} ORDER BY networks.created_at, networks.id", *args)


def _network(request: Request, found: Network) -> dict[str, Any]:
    old = (*OLD_FIELDS, *ADMIN_FIELDS) if request.identity.is_admin else OLD_FIELDS
    return {"id": found.id, "label": found.name, **dict.fromkeys(old)}


def _tenant_network(found: Network) -> dict[str, Any]:
    return {"id": found.id, "label": found.name, "cidr": "None"}


async def _views(request: Request, found: list[FloatingIp]) -> list[dict[str, Any]]:
    names = {one.id: one.name for one in await _visible(request)}
    servers: dict[str, str] = {}
    for one in found:
        if one.port_id is not None:
            servers[one.port_id] = str(await request.cloud.db.value("SELECT device_id FROM ports WHERE id = ?", one.port_id) or "")
    return [
        {
            "id": one.id,
            "ip": one.floating_ip_address,
            "fixed_ip": one.fixed_ip_address,
            "instance_id": servers.get(one.port_id or "") or None,
            "pool": names.get(one.floating_network_id) or one.floating_network_id,
        }
        for one in found
    ]
