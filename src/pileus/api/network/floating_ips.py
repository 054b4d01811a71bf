"""Floating IPs."""

import uuid
from ipaddress import ip_address

import msgspec

from pileus import clock
from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Absent, Attribute, Required, given, shown
from pileus.api.network.kinds import Call, Kind, Values, project_of
from pileus.api.network.networks import NETWORK
from pileus.api.network.ports import PORT
from pileus.api.network.routers import is_external
from pileus.api.network.tags import save_tags
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.floating_ips import FloatingIp
from pileus.model.ports import COMPUTE, FLOATING_IP, ROUTER_INTERFACE, Port
from pileus.store import servers
from pileus.store.fixed_ips import FixedIpRequest, take_any
from pileus.store.floating_ips import FLOATING_IPS, remove
from pileus.store.ports import PORTS, NewPort, create_port, holder_of
from pileus.store.quotas import charge
from pileus.store.subnets import subnets_of_network

ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("floating_network_id", check.uuid, put=False, default=Required),
    given("floating_ip_address", check.optional(check.address), put=False, default=None, guarded=True),
    given("subnet_id", check.optional(check.uuid), put=False, default=None, column=None),
    given("port_id", check.optional(check.uuid), default=None),
    given("fixed_ip_address", check.optional(check.address), default=None),
    given("description", check.text_or_empty(), default=""),
    given("dns_name", check.dns_domain, put=False, default=""),
    given("dns_domain", check.dns_domain, put=False, default=""),
    given("qos_policy_id", check.optional(check.choice()), default=None, column=None),
    given("tags", check.listed(check.tag), put=False, default=[], column=None),
    given("distributed", check.boolean, put=False, default=Absent, column=None),
    shown("router_id", "router_id"),
    shown("status", "status"),
    shown("port_details"),
    shown("port_forwardings"),
]


async def views(request: Request, rows: list[FloatingIp]) -> list[Values]:
    """Documents; the ports that they point to in one query."""
    ids = [row.port_id for row in rows if row.port_id]
    ports: dict[str, Port] = {}
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        ports |= {one.id: one for one in await PORTS.find(request.cloud.db, f"id IN ({', '.join('?' * len(part))})", *part)}
    return [_view(row, ports.get(row.port_id or "")) for row in rows]


def _view(row: FloatingIp, port: Port | None) -> Values:
    details = None
    if port is not None:
        names = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")
        details = {name: getattr(port, name) for name in names}
    return base_of(row) | {
        "floating_network_id": row.floating_network_id,
        "floating_ip_address": row.floating_ip_address,
        "port_id": row.port_id,
        "fixed_ip_address": row.fixed_ip_address,
        "router_id": row.router_id,
        "status": row.status,
        "description": row.description,
        "dns_name": row.dns_name,
        "dns_domain": row.dns_domain,
        "qos_policy_id": None,
        "port_details": details,
        "port_forwardings": [],
        "tags": row.tags,
    }


async def create(call: Call, values: Values) -> FloatingIp:
    """Take an address of an external network; point it to a port when one is given."""
    network = await NETWORK.load(call.request, call.tx, values["floating_network_id"])
    if not await is_external(call, network.id):
        raise Invalid(f"Bad floatingip request: Network {network.id} is not a valid external network.", type="BadRequest")
    project_id = project_of(call, values)
    await charge(call.tx, project_id, floatingip=1)
    id, now = str(uuid.uuid4()), clock.now()
    port = await _take_address(call, id, values)
    floating = FloatingIp(
        id=id, created_at=now, updated_at=now, project_id=project_id, floating_network_id=network.id, external_port_id=port.id,
        floating_ip_address=port.fixed_ips[0].ip_address,
        **{name: values[name] for name in ("description", "dns_name", "dns_domain", "tags")},
    )  # fmt: skip
    if values["port_id"] is not None:
        floating = msgspec.structs.replace(floating, **await _point(call, floating, values["port_id"], values["fixed_ip_address"]))
        await _tell_servers(call, floating.port_id)
    elif values["fixed_ip_address"] is not None:
        raise _fixed_without_port()
    await FLOATING_IPS.insert(call.tx, floating)
    await save_tags(call.tx, id, floating.tags)
    return floating


def _fixed_without_port() -> Invalid:
    return Invalid("Bad floatingip request: fixed_ip_address cannot be specified without a port_id.", type="BadRequest")


async def _take_address(call: Call, id: str, values: Values) -> Port:
    network_id = values["floating_network_id"]
    subnets = [one for one in await subnets_of_network(call.tx, network_id) if one.ip_version == 4]
    if not subnets:
        raise Invalid(f"Bad floatingip request: Network {network_id} does not contain any IPv4 subnet.", type="BadRequest")
    address, subnet_id = values["floating_ip_address"], values["subnet_id"]
    wanted = [FixedIpRequest(subnet_id=subnet_id, ip_address=address)] if address or subnet_id else []
    new = NewPort(project_id="", network_id=network_id, device_owner=FLOATING_IP, device_id=id, fixed_ips=wanted)
    port = await create_port(call.tx, new)
    if wanted:
        return port
    taken = await take_any(call.tx, holder_of(port), subnets)
    await PORTS.set(call.tx, port.id, fixed_ips=[taken])
    return msgspec.structs.replace(port, fixed_ips=[taken])


async def update(call: Call, row: FloatingIp, values: Values) -> FloatingIp:
    """Point a floating IP elsewhere, or nowhere; or describe it."""
    changes: Values = {name: values[name] for name in ("description",) if name in values}
    port_id = values.get("port_id", row.port_id)
    fixed = values.get("fixed_ip_address")
    if port_id is None and fixed is not None:
        raise _fixed_without_port()
    if "port_id" in values or fixed is not None:
        call.wake(row.router_id)
        changes |= await _point(call, row, port_id, fixed) if port_id else NOWHERE
        await _tell_servers(call, row.port_id, port_id)
    return await FLOATING_IPS.update(call.tx, row, **changes)


NOWHERE: Values = {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}


async def _point(call: Call, floating: FloatingIp, port_id: str, fixed: str | None) -> Values:
    """The fields of a floating IP that points to a port; an error says why it can't."""
    port: Port = await PORT.load(call.request, call.tx, port_id)
    if port.project_id != floating.project_id and not call.admin:
        raise PORT.not_found(port_id)
    usable = [one for one in port.fixed_ips if ip_address(one.ip_address).version == 4]
    if fixed is not None:
        usable = [one for one in usable if one.ip_address == fixed]
    if not usable:
        words = f"does not have fixed ip {fixed}" if fixed else "has no fixed IPv4 addresses"
        raise Invalid(f"Bad floatingip request: Cannot add floating IP to port {port.id} that {words}.", type="BadRequest")
    if len(usable) > 1:
        raise Invalid(
            f"Bad floatingip request: Port {port.id} has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when "
            "assigning a floating IP.",
            type="BadRequest",
        )
    chosen = usable[0]
    await _check_unpointed(call, floating, port, chosen.ip_address)
    router_id = await _router_between(call, floating.floating_network_id, chosen.subnet_id, port)
    call.wake(router_id)
    status = floating.status if floating.router_id == router_id else "DOWN"
    return {"port_id": port.id, "fixed_ip_address": chosen.ip_address, "router_id": router_id, "status": status}


async def _check_unpointed(call: Call, floating: FloatingIp, port: Port, fixed: str) -> None:
    other = await call.tx.one(
        "SELECT id FROM floating_ips WHERE port_id = ? AND fixed_ip_address = ? AND floating_network_id = ? AND id <> ?",
        port.id, fixed, floating.floating_network_id, floating.id,
    )  # fmt: skip
    if other is not None:
        raise Conflict(
            f"Cannot associate floating IP {floating.floating_ip_address} ({floating.id}) with port {port.id} using fixed IP {fixed}, "
            f"as that fixed IP already has a floating IP on external network {floating.floating_network_id}.",
            type="FloatingIPPortAlreadyAssociated",
        )


async def _router_between(call: Call, external: str, subnet_id: str, port: Port) -> str:
    """The router that has a leg on the subnet and its gateway on the external network; the one at the subnet's gateway address first."""
    rows = await call.tx.all(
        "SELECT routers.id FROM routers JOIN ports ON ports.device_id = routers.id JOIN addresses ON addresses.port_id = ports.id "
        "JOIN subnets ON subnets.id = addresses.subnet_id WHERE routers.gateway_network_id = ? AND ports.device_owner = ? AND "
        "addresses.subnet_id = ? ORDER BY CASE WHEN addresses.ip_address = subnets.gateway_ip THEN 0 ELSE 1 END, routers.id",
        external, ROUTER_INTERFACE, subnet_id,
    )  # fmt: skip
    if not rows:
        raise NotFound(
            f"External network {external} is not reachable from subnet {subnet_id}.  Therefore, cannot associate Port {port.id} with a "
            "Floating IP.",
            type="ExternalGatewayForFloatingIPNotFound",
        )
    return str(rows[0][0])


async def delete(call: Call, row: FloatingIp) -> None:
    """Give the address back."""
    await _tell_servers(call, row.port_id)
    await remove(call.tx, row)
    call.wake(row.router_id)


async def _tell_servers(call: Call, *port_ids: str | None) -> None:
    """Have the hosts of the ports' servers give their guests fresh metadata: it names the floating address."""
    for port_id in {one for one in port_ids if one}:
        port = await PORTS.get(call.tx, port_id)
        if port is not None and port.device_owner.startswith(COMPUTE) and await servers.tell_again(call.tx, port.device_id):
            call.servers.add(port.device_id)


FLOATINGIP = Kind(
    name="floatingip", plural="floatingips", title="FloatingIP", table=FLOATING_IPS, attributes=ATTRIBUTES, views=views, create=create,
    update=update, delete=delete,
)  # fmt: skip
