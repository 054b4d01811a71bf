"""Invariants of routers and floating IPs: legs, gateways, and the addresses of external networks."""

from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.world import World
from pileus.model.ports import FLOATING_IP, ROUTER_GATEWAY, ROUTER_INTERFACE


def routers_have_their_gateways(world: World) -> Findings:
    """A router's gateway is a port of its own on the network that it names."""
    for router in world.routers:
        port = world.port_of.get(router.gateway_port_id or "")
        if router.gateway_port_id is None and router.gateway_network_id is None:
            continue
        whose = None if port is None else (port.device_owner, port.device_id, port.network_id)
        if whose != (ROUTER_GATEWAY, router.id, router.gateway_network_id):
            yield Finding(
                evidence=f"router {router.id} has its gateway to network {router.gateway_network_id} by port {router.gateway_port_id}, "
                f"{'gone' if whose is None else f'{whose[0]} of {whose[1]} on {whose[2]}'}; clear the gateway and set it again"
            )


def gateway_addresses_agree(world: World) -> Findings:
    """What a router shows as its outer addresses, its port has."""
    for router in world.routers:
        port = world.port_of.get(router.gateway_port_id or "")
        if port is None:
            continue
        have = sorted((one.subnet_id, one.ip_address) for one in port.fixed_ips)
        if have != sorted((one.subnet_id, one.ip_address) for one in router.gateway_ips):
            yield Finding(
                evidence=f"router {router.id} shows the outer addresses {[one.ip_address for one in router.gateway_ips]}, its port has "
                f"{[one.ip_address for one in port.fixed_ips]}"
            )


def legs_have_routers(world: World) -> Findings:
    """A router's leg belongs to one that exists, and its gateway is the one that it names."""
    for port in world.ports:
        if port.device_owner not in (ROUTER_INTERFACE, ROUTER_GATEWAY):
            continue
        router = world.router_of.get(port.device_id)
        if router is None:
            yield Finding(evidence=f"port {port.id} is a leg ({port.device_owner}) of router {port.device_id}, which is gone")
        elif port.device_owner == ROUTER_GATEWAY and router.gateway_port_id != port.id:
            yield Finding(evidence=f"port {port.id} is a gateway of router {router.id}, whose gateway is {router.gateway_port_id}")


def legs_have_addresses(world: World) -> Findings:
    """A leg without an address routes nothing."""
    for port in world.ports:
        if port.device_owner == ROUTER_INTERFACE and not port.fixed_ips:
            yield Finding(
                evidence=f"port {port.id} is a leg of router {port.device_id} and has no address; remove the interface and add it again"
            )


def floating_ips_have_ports(world: World) -> Findings:
    """A floating IP that stands for a port has one."""
    for floating in world.floating_ips:
        if floating.port_id and floating.port_id not in world.port_of:
            yield Finding(
                evidence=f"floating IP {floating.floating_ip_address} stands for port {floating.port_id}, which is gone; unset its port"
            )


def floating_ips_stand_for_addresses(world: World) -> Findings:
    """A floating IP stands for an address that its port has."""
    for floating in world.floating_ips:
        port = world.port_of.get(floating.port_id or "")
        if port is not None and floating.fixed_ip_address not in {one.ip_address for one in port.fixed_ips}:
            yield Finding(
                evidence=f"floating IP {floating.floating_ip_address} stands for {floating.fixed_ip_address}, not one of port {port.id}"
            )


def floating_ips_hold_their_addresses(world: World) -> Findings:
    """A floating IP's address is held by a port of its own on its external network."""
    for floating in world.floating_ips:
        port = world.port_of.get(floating.external_port_id)
        held = port is not None and port.network_id == floating.floating_network_id and port.device_owner == FLOATING_IP
        if port is None or not held or floating.floating_ip_address not in {one.ip_address for one in port.fixed_ips}:
            yield Finding(
                evidence=f"floating IP {floating.floating_ip_address} of network {floating.floating_network_id} is not held by port "
                f"{floating.external_port_id}; release it and take another"
            )


def floating_ports_have_floating_ips(world: World) -> Findings:
    """An address of an external network that nobody has is free."""
    known = {one.external_port_id for one in world.floating_ips}
    for port in world.ports:
        if port.device_owner == FLOATING_IP and port.id not in known:
            yield Finding(
                evidence=f"port {port.id} holds {[one.ip_address for one in port.fixed_ips]} for floating IP {port.device_id}, gone"
            )


def floating_networks_are_external(world: World) -> Findings:
    """A floating IP is an address of an external network."""
    given = {one.object_id for one in world.rbac_policies if one.action == "access_as_external"}
    for floating in world.floating_ips:
        network = world.network_of.get(floating.floating_network_id)
        if network is None or not (network.external or network.id in given):
            yield Finding(
                evidence=f"floating IP {floating.floating_ip_address} is of network {floating.floating_network_id}, which is "
                f"{'gone' if network is None else 'not external'}"
            )


def floating_ips_are_reached(world: World) -> Findings:
    """A floating IP that stands for a port is forwarded by a router with a gateway on its network."""
    for floating in world.floating_ips:
        router = world.router_of.get(floating.router_id or "")
        if floating.port_id is not None and (router is None or router.gateway_network_id != floating.floating_network_id):
            yield Finding(
                evidence=f"floating IP {floating.floating_ip_address} is to be forwarded by router {floating.router_id}, not on "
                f"network {floating.floating_network_id}"
            )


INVARIANTS = invariants(
    (routers_have_their_gateways, "A router's gateway is a port of its own on the network that it names."),
    (gateway_addresses_agree, "A router shows the outer addresses that its gateway has."),
    (legs_have_routers, "A leg belongs to a router that exists."),
    (legs_have_addresses, "A router's leg has an address."),
    (floating_ips_have_ports, "A floating IP stands for a port that exists."),
    (floating_ips_stand_for_addresses, "A floating IP stands for an address that its port has."),
    (floating_ips_hold_their_addresses, "A floating IP's address is held by a port of its own."),
    (floating_ports_have_floating_ips, "A port that holds an address for a floating IP has one."),
    (floating_networks_are_external, "A floating IP is of an external network."),
    (floating_ips_are_reached, "A floating IP that stands for a port is forwarded by a router that has a gateway there."),
)
