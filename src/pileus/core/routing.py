"""Routing domains from rows: which networks and routers belong together, and what a host is told to realize of them."""

import hashlib
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from ipaddress import ip_address, ip_network

import msgspec

from pileus.model.base import Model
from pileus.model.floating_ips import FloatingIp
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, Port
from pileus.model.routers import Router
from pileus.model.routing import (
    DomainNetwork,
    DomainPort,
    DomainRouter,
    DomainSecurityGroup,
    DomainSubnet,
    FloatingAddress,
    RouterGateway,
    RouterInterface,
    RoutingDomain,
    SecurityRule,
    Uplink,
)
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.model.subnets import Subnet

LOCAL_DOMAIN = "openstacklocal"


class Component(Model, frozen=True, kw_only=True):
    """Networks and routers that are joined; `id` is the smallest router's, else the network's."""

    id: str
    networks: tuple[str, ...]
    routers: tuple[str, ...] = ()


class DomainRows(Model, frozen=True, kw_only=True):
    """All rows that one component's domain is made of, whatever the host.

    `networks` and `subnets` are the component's and those that its routers have gateways to. `ports` are the ports of the component's
    networks and the gateway ports. `members` maps a remote group to its members' addresses on the component's networks.
    """

    networks: dict[str, Network]
    subnets: list[Subnet] = []
    ports: list[Port] = []
    routers: list[Router] = []
    floating_ips: list[FloatingIp] = []
    groups: list[SecurityGroup] = []
    rules: dict[str, list[SecurityGroupRule]] = {}
    members: dict[str, list[str]] = {}


class Candidate(Model, frozen=True, kw_only=True):
    """A host that could carry routers. `up`: it reports, and nobody forced it down. `drained`: its operator wants it empty."""

    name: str
    up: bool = True
    enabled: bool = True
    drained: bool = False


class Places(Model, frozen=True, kw_only=True):
    """Where a domain's hosts are: host -> address of its VXLAN tunnels' end (hosts that have none are left out), and the host that carries
    the routers (None: no host is known)."""

    router: str | None = None
    addresses: dict[str, str] = {}


def components(networks: Iterable[str], legs: Iterable[tuple[str, str]]) -> list[Component]:
    """Groups networks by the routers that join them; `legs` are (network id, router id). Sorted by id."""
    parent: dict[tuple[str, str], tuple[str, str]] = {("network", one): ("network", one) for one in networks}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for network, router in legs:
        parent[root(("network", network))] = root(("router", router))
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for node in list(parent):
        groups.setdefault(root(node), []).append(node)
    found: list[Component] = []
    for nodes in groups.values():
        routers = tuple(sorted(id for kind, id in nodes if kind == "router"))
        ids = tuple(sorted(id for kind, id in nodes if kind == "network"))
        found.append(Component(id=routers[0] if routers else ids[0], networks=ids, routers=routers))
    return sorted(found, key=lambda one: one.id)


def gateway_host(domain_id: str, hosts: Iterable[str]) -> str | None:
    """A host for a domain's routers: by highest hash, so that a host that comes or goes moves few of them."""
    return max(hosts, key=lambda host: hashlib.sha256(f"{domain_id}\0{host}".encode()).digest(), default=None)


def assigned(component: Component, assignments: Mapping[str, str]) -> str | None:
    """The host that was chosen for the component's routers; it keeps them when a router that came or went changed the component's name."""
    return assignments.get(component.id) or next((assignments[one] for one in component.routers if one in assignments), None)


def router_host(domain_id: str, hosts: Iterable[Candidate], current: str | None) -> str | None:
    """The host that carries a domain's routers: `current` as long as it is up and not drained, else one that is up and enabled; where
    there is none, `current` if it is still a host, else any."""
    known = {one.name: one for one in hosts}
    if current in known and known[current].up and not known[current].drained:
        return current
    fit = [one.name for one in known.values() if one.up and one.enabled]
    if not fit and current in known:
        return current
    return gateway_host(domain_id, fit or known)


@lru_cache(maxsize=20_000)
def vtep(address: str) -> str:
    """The address as the end of a VXLAN tunnel; empty where it is none that other hosts could reach."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    return "" if found.is_loopback or found.is_unspecified else str(found)


def hosts_of(component: Component, rows: DomainRows, router: str | None) -> set[str]:
    """The hosts that need the domain, where `rows` hold the ports of all hosts."""
    return hosts_needing(
        rows.routers, {host for port in rows.ports if _is_guest(port) for host in (port.host, port.migrating_to) if host}, router
    )


def hosts_needing(routers: list[Router], guests: Set[str], router: str | None) -> set[str]:
    """The hosts that need a domain: `guests`, which are those of its guests and those that guests are moving to, and `router`, which
    carries its routers, if these have anything to connect."""
    needed = set(guests)
    if router is not None and routers and (needed or any(one.gateway_network_id for one in routers)):
        needed.add(router)
    return needed


def domain_on(
    component: Component,
    rows: DomainRows,
    host: str,
    places: Places,
    physical: Mapping[str, str],
    elsewhere: Mapping[str, DomainPort] | None = None,
) -> RoutingDomain:
    """What `host` is told. Guests' ports on other hosts are in it where these can be reached; routers, whose gateways are on one host only,
    are remote then, else every host has their legs.

    `physical` maps a physical network to the NIC that it is on; "" is host-only, behind NAT. `elsewhere` are guests' ports as any host sees
    them that they are not on, made for all hosts at once.
    """
    address = places.addresses.get(host, "")
    others = hosts_of(component, rows, places.router) - {host}
    remotes = {name: places.addresses[name] for name in others if address and places.addresses.get(name)}
    carries = places.router in (host, None)
    router_at = "" if carries else remotes.get(places.router or "", "")
    ports: list[DomainPort] = []
    for port in rows.ports:
        if elsewhere and host not in (port.host, port.migrating_to):
            found = elsewhere.get(port.id)
        else:
            found = _port(port, rows.networks.get(port.network_id), host, remotes) if _is_guest(port) else None
        if found is not None:
            ports.append(found)
    routers = [_router(router, rows, carries, router_at) for router in rows.routers]
    networks = [_network(rows.networks[id], rows, not router_at) for id in component.networks]
    uplinked = [id for id in component.networks if rows.networks[id].uplink is not None]
    uplinked += [router.gateway.network_id for router in routers if router.gateway]
    wanted = {group for port in ports if port.local for group in port.security_groups}
    members = rows.members if address or is_provided(rows, component) else _members_on(rows, host)
    return RoutingDomain(
        id=component.id,
        address=address if remotes else "",
        remotes=sorted(set(remotes.values())),
        networks=networks,
        ports=ports,
        routers=routers,
        security_groups=[_group(group, rows, members) for group in rows.groups if group.id in wanted],
        uplinks=[_uplink(rows.networks[id], rows, physical) for id in sorted(set(uplinked))],
    )


class Divided:
    """A component's rows, divided among its hosts once: one that reaches no other costs what its own ports do, another a list of them."""

    def __init__(self, component: Component, rows: DomainRows, places: Places, physical: Mapping[str, str]) -> None:
        self.component = component
        self.rows = rows
        self.places = places
        self._physical = physical
        self._guests: dict[str, list[Port]] = {}
        others: list[Port] = []
        for port in rows.ports:
            if not _is_guest(port):
                others.append(port)
                continue
            for host in (port.host, port.migrating_to if port.migrating_to != port.host else None):
                if host:
                    self._guests.setdefault(host, []).append(port)
        members = rows.members if is_provided(rows, component) else {}
        self._common = msgspec.structs.replace(rows, ports=others, members=members)
        self._elsewhere: dict[str, DomainPort] = {}
        if places.addresses:
            seen = [_port(port, rows.networks.get(port.network_id), "", places.addresses) for port in rows.ports if _is_guest(port)]
            self._elsewhere = {port.id: port for port in seen if port is not None}
        self._mark = hashlib.sha256(msgspec.json.encode((component, self._common))).hexdigest()

    @property
    def joined(self) -> bool:
        """Whether guests meet those of other hosts."""
        return bool(self.places.addresses) or is_provided(self.rows, self.component)

    @property
    def hosts(self) -> set[str]:
        """The hosts that need the domain."""
        return hosts_needing(self.rows.routers, self._guests.keys(), self.places.router)

    def on(self, host: str) -> RoutingDomain:
        """What the host is told."""
        rows = self.rows
        if host not in self.places.addresses:
            rows = msgspec.structs.replace(self._common, ports=self._common.ports + self._guests.get(host, []))
            return domain_on(self.component, rows, host, self.places, self._physical)
        return domain_on(self.component, rows, host, self.places, self._physical, self._elsewhere)

    def mark(self, host: str) -> str:
        """Something cheap that differs when what the host is told does; empty for a host that is told of others."""
        if host in self.places.addresses:
            return ""
        mine = msgspec.json.encode((self.places.router in (host, None), self._guests.get(host, [])))
        return hashlib.sha256(self._mark.encode() + mine).hexdigest()


def digest(domain: RoutingDomain) -> str:
    """Thirty-two hex digits that differ when the domain does, whenever it was read."""
    return hashlib.sha256(msgspec.json.encode(domain.undated)).hexdigest()[:32]


def _is_guest(port: Port) -> bool:
    return not port.device_owner.startswith("network:")


def _network(network: Network, rows: DomainRows, routed_here: bool) -> DomainNetwork:
    legs = {one.ip_address for port in rows.ports if port.device_owner == ROUTER_INTERFACE for one in port.fixed_ips if routed_here}
    served = {one.subnet_id: one.ip_address for port in rows.ports if port.device_owner == DHCP for one in port.fixed_ips}
    return DomainNetwork(
        id=network.id,
        mtu=network.mtu,
        vni=network.segmentation_id if network.network_type == "vxlan" else None,
        uplink=network.uplink,
        dns_domain=network.dns_domain.strip(".") or LOCAL_DOMAIN,
        subnets=[_subnet(one, served.get(one.id), legs) for one in rows.subnets if one.network_id == network.id],
    )


def _subnet(subnet: Subnet, dhcp_ip: str | None, legs: set[str]) -> DomainSubnet:
    return DomainSubnet(
        id=subnet.id,
        cidr=subnet.cidr,
        ip_version=subnet.ip_version,
        gateway_ip=subnet.gateway_ip,
        gateway_here=subnet.gateway_ip is not None and subnet.gateway_ip in legs,
        dhcp=subnet.enable_dhcp,
        dhcp_ip=dhcp_ip if subnet.enable_dhcp else None,
        dns_nameservers=subnet.dns_nameservers,
        host_routes=[{"destination": one.destination, "nexthop": one.nexthop} for one in subnet.host_routes],
        ipv6_ra_mode=subnet.ipv6_ra_mode,
        ipv6_address_mode=subnet.ipv6_address_mode,
    )


def _port(port: Port, network: Network | None, host: str, remotes: Mapping[str, str]) -> DomainPort | None:
    """The port as `host` sees it; None when it is nowhere, on a host that can't be reached from here, or of another domain."""
    local = host in (port.host, port.migrating_to)
    remote = "" if port.host == host else remotes.get(port.host or "", "")
    if network is None or not (local or remote):
        return None
    return DomainPort(
        id=port.id,
        network_id=port.network_id,
        mac=port.mac_address,
        fixed_ips=[(one.subnet_id, one.ip_address) for one in port.fixed_ips],
        local=local,
        remote=remote,
        up=port.admin_state_up and network.admin_state_up,
        port_security=port.port_security_enabled,
        security_groups=port.security_groups,
        allowed_pairs=[{"ip_address": one.ip_address, "mac_address": one.mac_address} for one in port.allowed_address_pairs],
        hostname=hostname(port),
        dhcp_options=[
            {"opt_name": one.opt_name, "opt_value": one.opt_value, "ip_version": str(one.ip_version)} for one in port.extra_dhcp_opts
        ],
        guest_id=port.device_id,
        project_id=port.project_id,
        rates=port.rates if local else None,
    )


def hostname(port: Port) -> str:
    """The port's name in DNS: its own, else one made of its first address."""
    if port.dns_name or not port.fixed_ips:
        return port.dns_name
    return host_name_of(port.fixed_ips[0].ip_address)


def host_name_of(address: str) -> str:
    """host-10-0-0-5 for 10.0.0.5."""
    return "host-" + address.replace(".", "-").replace(":", "-")


def is_provided(rows: DomainRows, component: Component) -> bool:
    """Whether guests meet those of other hosts on a network of the outside, whatever the hosts reach of each other."""
    return any(rows.networks[id].uplink is not None for id in component.networks)


def _members_on(rows: DomainRows, host: str) -> dict[str, list[str]]:
    """Of the groups' members, those on a host that reaches no other: nobody else's packets come there."""
    found: dict[str, set[str]] = {}
    for port in rows.ports:
        if host in (port.host, port.migrating_to):
            addresses = {one.ip_address for one in port.fixed_ips} | {one.ip_address for one in port.allowed_address_pairs}
            for group in port.security_groups:
                found.setdefault(group, set()).update(addresses)
    return {group: sorted(addresses) for group, addresses in found.items()}


def _group(group: SecurityGroup, rows: DomainRows, members: Mapping[str, list[str]]) -> DomainSecurityGroup:
    rules = [
        SecurityRule(
            direction=rule.direction,
            ethertype=rule.ethertype,
            protocol=rule.protocol,
            port_min=rule.port_range_min,
            port_max=rule.port_range_max,
            remote_prefix=str(ip_network(rule.remote_ip_prefix, strict=False)) if rule.remote_ip_prefix else None,
            remote_group_id=rule.remote_group_id,
            remote_addresses=members.get(rule.remote_group_id, []) if rule.remote_group_id else [],
        )
        for rule in rows.rules.get(group.id, [])
    ]
    return DomainSecurityGroup(id=group.id, rules=rules, stateful=group.stateful)


def _router(router: Router, rows: DomainRows, gateway: bool, remote: str) -> DomainRouter:
    legs = [port for port in rows.ports if port.device_owner == ROUTER_INTERFACE and port.device_id == router.id]
    carried = gateway and router.gateway_network_id is not None
    floating = [one for one in rows.floating_ips if one.router_id == router.id and one.fixed_ip_address]
    return DomainRouter(
        id=router.id,
        up=router.admin_state_up,
        remote=remote,
        outside=bool(remote) and router.gateway_network_id is not None,
        interfaces=[
            RouterInterface(network_id=port.network_id, subnet_id=one.subnet_id, ip=one.ip_address, mac=port.mac_address)
            for port in legs
            for one in port.fixed_ips
        ],
        gateway=_gateway(router, rows) if carried else None,
        floating=[FloatingAddress(floating_ip=one.floating_ip_address, fixed_ip=str(one.fixed_ip_address)) for one in floating]
        if carried
        else [],
        routes=[{"destination": one.destination, "nexthop": one.nexthop} for one in router.routes],
    )


def _gateway(router: Router, rows: DomainRows) -> RouterGateway | None:
    network = rows.networks.get(router.gateway_network_id or "")
    port = next((one for one in rows.ports if one.device_owner == ROUTER_GATEWAY and one.device_id == router.id), None)
    if network is None or port is None or network.uplink is None:
        return None
    subnets = {subnet.id: subnet for subnet in rows.subnets}
    used = [subnets[one.subnet_id] for one in port.fixed_ips]
    return RouterGateway(
        network_id=network.id,
        uplink=network.uplink,
        mac=port.mac_address,
        addresses=[f"{one.ip_address}/{ip_network(subnets[one.subnet_id].cidr).prefixlen}" for one in port.fixed_ips],
        gateways=list(dict.fromkeys(subnet.gateway_ip for subnet in used if subnet.gateway_ip)),
        snat=router.enable_snat,
    )


def _uplink(network: Network, rows: DomainRows, physical: Mapping[str, str]) -> Uplink:
    name = network.uplink or ""
    interface = physical.get(name, "")
    addresses = [
        f"{subnet.gateway_ip}/{ip_network(subnet.cidr).prefixlen}"
        for subnet in rows.subnets
        if subnet.network_id == network.id and subnet.gateway_ip and not interface
    ]
    return Uplink(name=name, addresses=addresses, masquerade=not interface, interface=interface or None, mtu=network.mtu)
