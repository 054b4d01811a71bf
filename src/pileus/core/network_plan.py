"""What a routing domain is made of inside its namespace: links, addresses, routes and rules, as values that a driver converges to."""

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

from pileus.core import network_names as names
from pileus.core import network_vxlan
from pileus.core.network_vxlan import Entry, Neighbour
from pileus.model.base import Model
from pileus.model.routing import DomainNetwork, DomainRouter, DomainSubnet, RouterInterface, RoutingDomain

METADATA_ADDRESS = "169.254.169.254"
METADATA_ADDRESS_V6 = "fe80::a9fe:a9fe"
LEG_METRIC = 512  # a router's leg answers for its own address only; what the namespace itself sends goes out by the bridge
LAST_METRIC = 0xFFFFFFF0
TABLE_LOW, TABLE_HIGH = 1000, 0xFFFFFF
ZONE_LOW, ZONE_HIGH = 1, 0xFFFF


class LinkPlan(Model, frozen=True, kw_only=True):
    """A device. `kind`: bridge, tap, veth, vxlan. A veth's `peer` lies in the same namespace, or on `uplink` (a physical network).

    A vxlan's outer packets are the host's own, with the address `local`; `suppress`: the bridge answers ARP for neighbours that it knows.
    """

    name: str
    kind: str
    mtu: int = 1500
    mac: str | None = None
    master: str | None = None
    up: bool = True
    peer: str | None = None
    uplink: str | None = None
    ipv6: bool = False
    forwards: bool = False
    vni: int | None = None
    local: str = ""
    suppress: bool = False


class AddressPlan(Model, frozen=True, kw_only=True):
    """An address with its prefix length on a device; `metric` of the connected route that comes with it."""

    device: str
    address: str
    metric: int = 0


class RoutePlan(Model, frozen=True, kw_only=True):
    """A route; without `device` it says unreachable."""

    destination: str
    device: str | None = None
    via: str | None = None
    table: int
    metric: int = 0


class RulePlan(Model, frozen=True, kw_only=True):
    """A policy routing rule: what comes in by, goes out by, or is sent from, looks in this table."""

    family: int  # 4, 6
    table: int
    iif: str | None = None
    oif: str | None = None
    source: str | None = None


class DomainPlan(Model, frozen=True, kw_only=True):
    """Everything of a domain but its filter rules and its DHCP."""

    links: list[LinkPlan]
    addresses: list[AddressPlan]
    routes: list[RoutePlan]
    rules: list[RulePlan]
    announce: list[tuple[str, str]]  # (device, IPv4 address) to tell the neighbours about
    forwarding: list[Entry] = []
    neighbours: list[Neighbour] = []


def active_routers(domain: RoutingDomain) -> list[DomainRouter]:
    """Routers that forward here: one that is down is not there at all, as in Neutron, and one on another host is there."""
    return sorted((router for router in domain.routers if router.up and not router.remote), key=lambda router: router.id)


def tables(domain: RoutingDomain) -> dict[str, int]:
    """Router id -> its routing table."""
    return names.distinct_numbers([router.id for router in domain.routers], TABLE_LOW, TABLE_HIGH)


def zones(domain: RoutingDomain) -> dict[str, int]:
    """Router id -> its connection tracking zone. Zone 0 is the bridges', where security groups are."""
    return names.distinct_numbers([router.id for router in domain.routers], ZONE_LOW, ZONE_HIGH)


def legs(router: DomainRouter) -> list[tuple[str, RouterInterface]]:
    """Device name and interface of each inner leg. Two addresses with the same MAC on a network share a leg."""
    first: dict[tuple[str, str], str] = {}
    found: list[tuple[str, RouterInterface]] = []
    for interface in sorted(router.interfaces, key=lambda one: (one.network_id, one.subnet_id)):
        subnet_id = first.setdefault((interface.network_id, interface.mac), interface.subnet_id)
        found.append((names.leg(router.id, subnet_id), interface))
    return found


def subnets_of(domain: RoutingDomain) -> dict[str, DomainSubnet]:
    """Subnet id -> subnet."""
    return {subnet.id: subnet for network in domain.networks for subnet in network.subnets}


def serves(network: DomainNetwork) -> bool:
    """Whether DHCP, DNS or metadata are served on the network's bridge."""
    return any(subnet.dhcp and subnet.dhcp_ip for subnet in network.subnets)


def build(domain: RoutingDomain, tag: str) -> DomainPlan:
    """The plan of a whole domain."""
    plan = DomainPlan(links=[], addresses=[], routes=[], rules=[], announce=[])
    for network in domain.networks:
        _network(plan, domain, network, tag)
    for port in domain.ports:
        if port.local:
            mtu = next((network.mtu for network in domain.networks if network.id == port.network_id), 1500)
            plan.links.append(LinkPlan(name=names.tap(port.id), kind="tap", mtu=mtu, master=names.bridge(port.network_id), up=port.up))
    for router in active_routers(domain):
        _router(plan, domain, router, tag)
    _resolver(plan, domain)
    if metadata_listeners(domain):
        # Not on the bridges: each network's DNS takes all of its bridge's addresses, and this one is everywhere the same.
        plan.addresses.append(AddressPlan(device="lo", address=f"{METADATA_ADDRESS}/32"))
    _way_out(plan, domain)
    return plan


def intercepted(domain: RoutingDomain) -> bool:
    """Whether guests' requests for metadata that go to a router are answered here though the router is on another host, which does not
    know them."""
    return any(router.up and router.remote for router in domain.routers)


def metadata_listeners(domain: RoutingDomain) -> list[tuple[str, str, str]]:
    """(network id, device, address) of each place where guests find the metadata service."""
    found: list[tuple[str, str, str]] = []
    for network in domain.networks:
        if serves(network):
            if any(subnet.dhcp and subnet.dhcp_ip and subnet.ip_version == 4 for subnet in network.subnets):
                found.append((network.id, names.bridge(network.id), METADATA_ADDRESS))
            found.append((network.id, names.bridge(network.id), METADATA_ADDRESS_V6))
        if intercepted(domain) and (network.id, names.bridge(network.id), METADATA_ADDRESS) not in found:
            found.append((network.id, names.bridge(network.id), METADATA_ADDRESS))
    for router in active_routers(domain):
        found += sorted({(interface.network_id, device, METADATA_ADDRESS) for device, interface in legs(router)})
    return found


def _network(plan: DomainPlan, domain: RoutingDomain, network: DomainNetwork, tag: str) -> None:
    device = names.bridge(network.id)
    plan.links.append(LinkPlan(name=device, kind="bridge", mtu=network.mtu, mac=names.bridge_mac(network.id), ipv6=serves(network)))
    served = {4: False, 6: False}
    for subnet in network.subnets:
        if subnet.dhcp and subnet.dhcp_ip:
            length = ip_network(subnet.cidr).prefixlen
            plan.addresses.append(AddressPlan(device=device, address=f"{ip_address(subnet.dhcp_ip)}/{length}"))
            served[subnet.ip_version] = True
        elif subnet.ip_version == 4 and intercepted(domain):
            # Back to who asks for metadata.
            plan.routes.append(RoutePlan(destination=str(ip_network(subnet.cidr)), device=device, table=254))
    if served[4] or served[6]:
        plan.addresses.append(AddressPlan(device=device, address=f"{METADATA_ADDRESS_V6}/64"))
    if network.uplink:
        peer = names.uplink_peer(tag, domain.id, network.id)
        link = LinkPlan(name=names.bridge_uplink(network.id), kind="veth", mtu=network.mtu, master=device, peer=peer, uplink=network.uplink)
        plan.links.append(link)
    if network_vxlan.is_joined(domain, network):
        link = LinkPlan(
            name=names.vxlan(network.id), kind="vxlan", mtu=network.mtu, master=device, vni=network.vni, local=domain.address,
            suppress=network_vxlan.suppresses(domain, network),
        )  # fmt: skip
        plan.links.append(link)
        plan.forwarding.extend(network_vxlan.forwarding(domain, network))
        plan.neighbours.extend(network_vxlan.neighbours(domain, network))


def _router(plan: DomainPlan, domain: RoutingDomain, router: DomainRouter, tag: str) -> None:
    table = tables(domain)[router.id]
    subnets = subnets_of(domain)
    mtus = {network.id: network.mtu for network in domain.networks}
    connected: list[tuple[str, IPv4Interface | IPv6Interface]] = []
    devices: set[str] = set()
    for device, interface in legs(router):
        subnet = subnets.get(interface.subnet_id)
        if subnet is None:
            continue
        connected.append((device, ip_interface(f"{interface.ip}/{ip_network(subnet.cidr).prefixlen}")))
        if device not in devices:
            devices.add(device)
            link = LinkPlan(
                name=device, kind="veth", mtu=mtus.get(interface.network_id, 1500), mac=interface.mac, peer="qp" + device[2:],
                master=names.bridge(interface.network_id), ipv6=True, forwards=True,
            )  # fmt: skip
            plan.links.append(link)
    if router.gateway is not None:
        connected += _gateway(plan, domain, router, tag)
        devices.add(names.gateway(router.id))
    for device, address in connected:
        plan.addresses.append(AddressPlan(device=device, address=str(address), metric=LEG_METRIC))
        plan.routes.append(RoutePlan(destination=str(address.network), device=device, table=table))
        plan.rules.append(RulePlan(family=address.version, table=table, source=str(address.ip)))
        if address.version == 4:
            plan.announce.append((device, str(address.ip)))
    for floating in router.floating if router.gateway is not None else []:
        plan.addresses.append(AddressPlan(device=names.gateway(router.id), address=f"{floating.floating_ip}/32"))
        plan.announce.append((names.gateway(router.id), floating.floating_ip))
    _routes(plan, router, table, connected)
    for family in (4, 6):
        for device in sorted(devices):
            plan.rules.append(RulePlan(family=family, table=table, iif=device))
            plan.rules.append(RulePlan(family=family, table=table, oif=device))


def _gateway(plan: DomainPlan, domain: RoutingDomain, router: DomainRouter, tag: str) -> list[tuple[str, IPv4Interface | IPv6Interface]]:
    assert router.gateway is not None
    device = names.gateway(router.id)
    mtu = next((uplink.mtu for uplink in domain.uplinks if uplink.name == router.gateway.uplink), 1500)
    peer, uplink = names.uplink_peer(tag, domain.id, router.id), router.gateway.uplink
    link = LinkPlan(name=device, kind="veth", mtu=mtu, mac=router.gateway.mac, peer=peer, uplink=uplink, ipv6=True, forwards=True)
    plan.links.append(link)
    connected = [(device, ip_interface(address)) for address in router.gateway.addresses]
    return connected


def _resolver(plan: DomainPlan, domain: RoutingDomain) -> None:
    """Where routers are on another host, the DNS forwarder asks by a leg of its own; where they are here, they know the way back to it."""
    out = network_vxlan.way_out(domain)
    if out is None:
        return
    if not out.router.remote:
        device = next(name for name, interface in legs(out.router) if interface == out.leg)
        plan.routes.append(RoutePlan(destination=str(network_vxlan.RESOLVERS), device=device, table=tables(domain)[out.router.id]))
        return
    device = names.resolver_leg(out.network.id)
    link = LinkPlan(
        name=device, kind="veth", mtu=out.network.mtu, mac=network_vxlan.resolver_mac(out.network.id, domain.address),
        peer="qe" + device[2:], master=names.bridge(out.network.id),
    )  # fmt: skip
    plan.links.append(link)
    plan.addresses.append(AddressPlan(device=device, address=f"{network_vxlan.resolver_address(domain)}/32"))
    plan.routes.append(RoutePlan(destination="0.0.0.0/0", device=device, via=out.leg.ip, table=254))


def _routes(plan: DomainPlan, router: DomainRouter, table: int, connected: list[tuple[str, IPv4Interface | IPv6Interface]]) -> None:
    """Static routes over the leg that reaches their next hop, the default by the gateway, and nothing beyond: no table falls through."""
    for route in router.routes:
        hop = ip_address(route["nexthop"])
        device = next((name for name, address in connected if hop in address.network), None)
        if device is not None:
            destination = str(ip_network(route["destination"], strict=False))
            plan.routes.append(RoutePlan(destination=destination, device=device, via=str(hop), table=table))
    explicit = {plan_route.destination for plan_route in plan.routes if plan_route.table == table}
    if router.gateway is not None:
        for hop in (ip_address(gateway) for gateway in router.gateway.gateways):
            destination = "0.0.0.0/0" if hop.version == 4 else "::/0"
            if destination not in explicit:
                explicit.add(destination)
                plan.routes.append(RoutePlan(destination=destination, device=names.gateway(router.id), via=str(hop), table=table))
    plan.routes.append(RoutePlan(destination="0.0.0.0/0", table=table, metric=LAST_METRIC))
    plan.routes.append(RoutePlan(destination="::/0", table=table, metric=LAST_METRIC))


def _way_out(plan: DomainPlan, domain: RoutingDomain) -> None:
    """The DNS forwarder in the namespace asks its servers by the first router that has a gateway."""
    taken: set[int] = set()
    for router in active_routers(domain):
        for hop in (ip_address(gateway) for gateway in (router.gateway.gateways if router.gateway else [])):
            if hop.version not in taken:
                taken.add(hop.version)
                destination = "0.0.0.0/0" if hop.version == 4 else "::/0"
                plan.routes.append(RoutePlan(destination=destination, device=names.gateway(router.id), via=str(hop), table=254))


def ports_of(domains: Iterable[RoutingDomain], guest_id: str) -> dict[str, tuple[str, list[str]]]:
    """A guest's ports on this host: port id -> domain id and addresses."""
    return {
        port.id: (domain.id, [address for _, address in port.fixed_ips])
        for domain in domains
        for port in domain.ports
        if port.local and port.guest_id == guest_id
    }
