"""VXLAN between the hosts of a routing domain: which networks are joined, and the forwarding and neighbour entries of each host.

Nothing is learned from frames: every host is told where each MAC is. What is not known (an allowed pair's MAC, broadcasts) goes to all.
"""

from ipaddress import ip_address, ip_network

from pileus.core import network_names as names
from pileus.model.base import Model
from pileus.model.routing import DomainNetwork, DomainRouter, RouterInterface, RoutingDomain

FLOOD = "00:00:00:00:00:00"  # stands for all frames to a MAC that has no entry
VXLAN_PORT = 4789  # IANA's
RESOLVERS = ip_network("169.254.128.0/17")  # where the hosts' DNS forwarders have addresses that no guest has


class Entry(Model, frozen=True, kw_only=True):
    """Frames to `mac` that leave by the VXLAN `device` go to the host with the address `remote`."""

    device: str
    mac: str
    remote: str


class Neighbour(Model, frozen=True, kw_only=True):
    """Who has `address`, so that the bridge `device` answers for it."""

    device: str
    address: str
    mac: str


def is_joined(domain: RoutingDomain, network: DomainNetwork) -> bool:
    """Whether the network goes on on other hosts by VXLAN; one on a physical network goes on there instead."""
    return bool(domain.address and domain.remotes) and network.vni is not None and network.uplink is None


def joined(domain: RoutingDomain) -> list[DomainNetwork]:
    """The networks that are joined."""
    return [network for network in domain.networks if is_joined(domain, network)]


def suppresses(domain: RoutingDomain, network: DomainNetwork) -> bool:
    """Whether the bridge answers ARP for neighbours elsewhere. Not where guests may use addresses that we don't know: the ARP with which
    one of them takes over an address must reach the others, and a bridge that answers passes no gratuitous ARP on."""
    return all(port.port_security and not port.allowed_pairs for port in domain.ports if port.network_id == network.id)


def forwarding(domain: RoutingDomain, network: DomainNetwork) -> list[Entry]:
    """Where frames of the network go from here, sorted."""
    device = names.vxlan(network.id)
    found = [Entry(device=device, mac=FLOOD, remote=remote) for remote in domain.remotes]
    found += [Entry(device=device, mac=mac, remote=remote) for mac, remote, _ in _elsewhere(domain, network)]
    return sorted(set(found), key=lambda one: (one.mac, ip_address(one.remote).packed))


def neighbours(domain: RoutingDomain, network: DomainNetwork) -> list[Neighbour]:
    """Addresses of the network that are elsewhere, sorted; none where the bridge does not answer for them."""
    if not suppresses(domain, network):
        return []
    device = names.bridge(network.id)
    found = {str(ip_address(address)): mac for mac, _, addresses in _elsewhere(domain, network) for address in addresses}
    return [Neighbour(device=device, address=address, mac=mac) for address, mac in sorted(found.items())]


class WayOut(Model, frozen=True, kw_only=True):
    """How the DNS forwarders of hosts that don't carry the routers ask outside: as guests do, by a leg of a router, over VXLAN."""

    network: DomainNetwork
    router: DomainRouter
    leg: RouterInterface


def way_out(domain: RoutingDomain) -> WayOut | None:
    """The same for all hosts of the domain; None when there is none, or no other host."""
    networks = {network.id: network for network in joined(domain)}
    for router in sorted((one for one in domain.routers if one.up), key=lambda one: one.id):
        if router.gateway is None and not router.outside:
            continue
        for leg in sorted(router.interfaces, key=lambda one: (one.network_id, one.subnet_id)):
            if leg.network_id in networks and ip_address(leg.ip).version == 4:
                return WayOut(network=networks[leg.network_id], router=router, leg=leg)
    return None


def resolver_mac(network_id: str, host: str) -> str:
    """The MAC with which the host at an address asks."""
    return names.derived_mac("resolver", network_id, host)


def resolver_address(domain: RoutingDomain) -> str:
    """The address from which this host asks, another one than any other's."""
    numbers = names.distinct_numbers([domain.address, *domain.remotes], 1, RESOLVERS.num_addresses - 2)
    return str(RESOLVERS[numbers[domain.address]])


def _elsewhere(domain: RoutingDomain, network: DomainNetwork) -> list[tuple[str, str, list[str]]]:
    """(MAC, host's address, own addresses) of what is on another host: ports, routers' legs, and DNS forwarders where they ask here."""
    found = [
        (port.mac.lower(), port.remote, [address for _, address in port.fixed_ips])
        for port in domain.ports
        if port.network_id == network.id and port.remote
    ]
    out = way_out(domain)
    if out is not None and not out.router.remote and out.network.id == network.id:
        found += [(resolver_mac(network.id, remote), remote, []) for remote in domain.remotes]
    for router in domain.routers:
        if router.remote and router.up:
            found += [(leg.mac.lower(), router.remote, [leg.ip]) for leg in router.interfaces if leg.network_id == network.id]
    return found
