"""Subnets."""

import uuid
from ipaddress import ip_address, ip_network
from typing import Any

from pileus import clock
from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Absent, Attribute, Required, given, refused, shown
from pileus.api.network.kinds import Call, Kind, Values, Where, owns
from pileus.api.network.networks import NETWORK
from pileus.api.network.subnet_pools import cut
from pileus.api.network.tags import save_tags
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.core.addresses import default_gateway, default_pools, eui64
from pileus.core.subnets import check_gateway, check_overlap, check_pools
from pileus.model.errors import Conflict, Invalid, NotImplementedYet
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, FixedIp
from pileus.model.subnets import HostRoute, Pool, Subnet
from pileus.store import networks
from pileus.store.addresses import forget_cursor, give_back, take
from pileus.store.ports import PORTS, ensure_dhcp_port, release_floating
from pileus.store.subnets import SUBNETS, insert_subnet, remove_subnet, subnets_of_network

MODES = ("slaac", "dhcpv6-stateful", "dhcpv6-stateless")
pools = check.listed(check.record({"start": check.address, "end": check.address}, required=("start", "end"), build=Pool))
routes = check.listed(check.record({"destination": check.cidr, "nexthop": check.address}, ("destination", "nexthop"), HostRoute))

ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("network_id", check.uuid, put=False, default=Required),
    given("name", check.text_or_empty(), default=""),
    given("description", check.text_or_empty(), default=""),
    given("ip_version", check.integer(), put=False, default=Required),
    given("cidr", check.optional(check.cidr), put=False, default=None),
    given("prefixlen", check.optional(check.integer(0, 128)), put=False, default=None, column=None),
    given("gateway_ip", check.optional(check.address)),
    given("enable_dhcp", check.boolean, default=True),
    given("allocation_pools", pools, default=Absent, column=None),
    given("dns_nameservers", check.listed(check.address), default=[], column=None),
    given("host_routes", routes, default=[], column=None),
    given("ipv6_ra_mode", check.choice(*MODES), put=False, default=None),
    given("ipv6_address_mode", check.choice(*MODES), put=False, default=None),
    given("service_types", check.listed(check.text()), default=[], column=None),
    given("dns_publish_fixed_ip", check.boolean, default=False),
    given("segment_id", check.optional(check.uuid), default=None, column=None),
    given("subnetpool_id", check.optional(check.text()), put=False, default=None),
    given("use_default_subnetpool", check.boolean, put=False, default=False, column=None),
    given("tags", check.listed(check.tag), put=False, default=[], column=None),
    shown("router:external"),
]


async def visible(request: Request) -> Where:
    """Own subnets, and those of networks that are visible."""
    where = f"subnets.project_id = ? OR subnets.network_id IN (SELECT networks.id FROM networks WHERE {networks.VISIBLE})"  # noqa: S608
    return where, [request.identity.project_id, *networks.visible_args(request.identity.project_id)]


async def views(request: Request, rows: list[Subnet]) -> list[Values]:
    """Documents."""
    return [_view(row) for row in rows]


def _view(row: Subnet) -> Values:
    return base_of(row) | {
        "network_id": row.network_id,
        "name": row.name,
        "description": row.description,
        "ip_version": row.ip_version,
        "cidr": row.cidr,
        "gateway_ip": row.gateway_ip,
        "enable_dhcp": row.enable_dhcp,
        "allocation_pools": row.allocation_pools,
        "dns_nameservers": row.dns_nameservers,
        "host_routes": row.host_routes,
        "ipv6_ra_mode": row.ipv6_ra_mode,
        "ipv6_address_mode": row.ipv6_address_mode,
        "service_types": row.service_types,
        "dns_publish_fixed_ip": row.dns_publish_fixed_ip,
        "segment_id": None,
        "subnetpool_id": row.subnetpool_id,
        "tags": row.tags,
    }


async def create(call: Call, values: Values) -> Subnet:
    """Make a subnet: gateway and pools are worked out where they are not given; the network's DHCP port gets an address on it."""
    network = await NETWORK.load(call.request, call.tx, values["network_id"])
    if not owns(call.request, network):
        raise refused("create_subnet")
    owner = values.get("project_id") or network.project_id
    cidr, pool = await cut(call, values, owner)
    _check_input(values | {"cidr": cidr})
    prefix = ip_network(cidr)
    gateway = values["gateway_ip"] if "gateway_ip" in values else default_gateway(prefix)
    check_gateway(prefix, gateway, not network.external)
    given_pools = values.get("allocation_pools")
    found_pools = default_pools(prefix, gateway) if given_pools is None else given_pools
    check_pools(prefix, found_pools, gateway)
    check_overlap(prefix, await subnets_of_network(call.tx, network.id))
    now = clock.now()
    subnet = Subnet(
        id=str(uuid.uuid4()), created_at=now, updated_at=now, project_id=owner,
        network_id=network.id, cidr=str(prefix), subnetpool_id=pool, gateway_ip=gateway, allocation_pools=found_pools,
        **{name: values[name] for name in PLAIN},
    )  # fmt: skip
    subnet = await insert_subnet(call.tx, subnet)
    await save_tags(call.tx, subnet.id, subnet.tags)
    await ensure_dhcp_port(call.tx, network)
    if subnet.automatic:
        await _give_automatic(call, subnet)
    call.wake(network.id)
    return subnet


PLAIN = (
    "name", "description", "ip_version", "enable_dhcp", "dns_nameservers", "host_routes", "ipv6_ra_mode", "ipv6_address_mode",
    "service_types", "dns_publish_fixed_ip", "tags",
)  # fmt: skip


def _check_input(values: Values) -> None:
    if values["segment_id"]:
        raise NotImplementedYet("Segments are not there yet.")
    version = values["ip_version"]
    if version not in (4, 6):
        raise Invalid(f"Invalid input for ip_version. Reason: '{version}' is not in [4, 6].", field="ip_version")
    if values["cidr"] is None:
        raise Invalid("Bad subnets request: a subnetpool must be specified in the absence of a cidr.", type="BadRequest", field="cidr")
    prefix = ip_network(values["cidr"])
    if prefix.version != version:
        raise _invalid(f"The requested ip_version '{version}' does not match the cidr '{prefix}'")
    if prefix.is_multicast or (prefix.is_loopback and prefix.version == 4):
        raise _invalid(f"'{prefix}' cannot be used for a subnet")
    if prefix.prefixlen == 0:
        raise _invalid("0 is not allowed as CIDR prefix length")
    modes = values["ipv6_ra_mode"], values["ipv6_address_mode"]
    if any(modes):
        if version == 4 or not values["enable_dhcp"]:
            raise _invalid("ipv6_ra_mode or ipv6_address_mode need ip_version 6 and enable_dhcp")
        if all(modes) and modes[0] != modes[1]:
            raise _invalid(
                f"ipv6_ra_mode set to '{modes[0]}' with ipv6_address_mode set to '{modes[1]}' is not valid; they must be the same"
            )
        if prefix.prefixlen != 64 and ("slaac" in modes or "dhcpv6-stateless" in modes):
            words = "OpenStack uses the EUI-64 address format, which requires the prefix to be /64"
            raise _invalid(f"Invalid CIDR {prefix} for IPv6 address mode. {words}")
    for one in values["dns_nameservers"]:
        if ip_address(one).version != version:
            raise _invalid(f"dns_nameserver {one} is not of ip_version {version}")


def _invalid(reason: str) -> Invalid:
    return Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput")


async def _give_automatic(call: Call, subnet: Subnet) -> None:
    """Guests' ports that are there already make themselves an address of the new prefix."""
    for port in await PORTS.find(call.tx, "network_id = ? AND device_owner NOT LIKE 'network:%'", subnet.network_id):
        taken = await take(call.tx, subnet, port.id, eui64(subnet.cidr, port.mac_address))
        await PORTS.set(call.tx, port.id, fixed_ips=[*port.fixed_ips, taken])


async def update(call: Call, row: Subnet, values: Values) -> Subnet:
    """Change a subnet. The gateway can't change while a router holds it."""
    changes: dict[str, Any] = {name: value for name, value in values.items() if name in PLAIN or name in ("gateway_ip", "allocation_pools")}
    prefix = ip_network(row.cidr)
    gateway = changes.get("gateway_ip", row.gateway_ip)
    if gateway != row.gateway_ip:
        await _check_gateway_free(call, row)
        check_gateway(prefix, gateway, not (await _network(call, row)).external)
    if gateway != row.gateway_ip or "allocation_pools" in changes:
        check_pools(prefix, changes.get("allocation_pools", row.allocation_pools), gateway)
        await forget_cursor(call.tx, row.id)
    if row.ipv6_ra_mode and changes.get("enable_dhcp") is False:
        raise _invalid("ipv6_ra_mode or ipv6_address_mode need enable_dhcp")
    changed = await SUBNETS.update(call.tx, row, **changes)
    await ensure_dhcp_port(call.tx, await _network(call, row))
    call.wake(row.network_id, *await _routers_outside(call, row))
    return changed


async def _check_gateway_free(call: Call, row: Subnet) -> None:
    if row.gateway_ip is None:
        return
    port = await call.tx.value("SELECT port_id FROM addresses WHERE subnet_id = ? AND ip_address = ?", row.id, row.gateway_ip)
    if port is not None:
        raise Conflict(f"Current gateway ip {row.gateway_ip} already in use by port {port}. Unable to update.", type="GatewayIpInUse")


async def _routers_outside(call: Call, row: Subnet) -> list[str]:
    """Routers whose gateway is on the subnet's network: their way out may have changed."""
    return [one[0] for one in await call.tx.all("SELECT id FROM routers WHERE gateway_network_id = ?", row.network_id)]


async def _network(call: Call, row: Subnet) -> Network:
    network = await networks.NETWORKS.get(call.tx, row.network_id)
    assert network is not None
    return network


async def delete(call: Call, row: Subnet) -> None:
    """Remove a subnet. Addresses that guests made themselves, and DHCP's, go with it; any other in use is a Conflict."""
    ports = await PORTS.find(call.tx, "id IN (SELECT port_id FROM addresses WHERE subnet_id = ?)", row.id)
    for port in ports:
        fixed = port.device_owner in (ROUTER_INTERFACE, ROUTER_GATEWAY)
        if port.device_owner != DHCP and (fixed or not row.automatic):
            raise Conflict(
                f"Unable to complete operation on subnet {row.id}: One or more ports have an IP allocation from this subnet.",
                type="SubnetInUse",
            )
    for port in ports:
        gone: list[FixedIp] = [one for one in port.fixed_ips if one.subnet_id == row.id]
        await give_back(call.tx, port.id, gone)
        await release_floating(call.tx, port.id, {one.ip_address for one in gone})
        await PORTS.set(call.tx, port.id, fixed_ips=[one for one in port.fixed_ips if one.subnet_id != row.id])
    await remove_subnet(call.tx, row.id)
    await ensure_dhcp_port(call.tx, await _network(call, row))
    call.wake(row.network_id)


async def may_delete(call: Call, row: Subnet) -> bool:
    """A network's owner may remove its subnets."""
    return (await _network(call, row)).project_id == call.request.identity.project_id


def _by_network(column: str, values: list[str]) -> Where:
    wanted = int(values[-1].lower() in ("true", "1"))
    return f"subnets.network_id IN (SELECT id FROM networks WHERE {column} = ?)", [wanted]  # noqa: S608


SUBNET = Kind(
    name="subnet", plural="subnets", title="Subnet", table=SUBNETS, attributes=ATTRIBUTES, views=views, create=create, update=update,
    delete=delete, visible=visible, may_delete=may_delete,
    filters={
        "router:external": lambda values: _by_network("external", values),
        "shared": lambda values: _by_network("shared", values),
        "segment_id": lambda values: ("1 = 0", []),
    },
)  # fmt: skip
