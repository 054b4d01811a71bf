"""Invariants of ports: whose they are, where they are bound, their addresses, their security groups; and what hosts have of them."""

from ipaddress import ip_address, ip_network

from pileus.core.addresses import Prefix
from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.repairs import ReleaseAddress, TakeAddress, WriteMembership
from pileus.core.verify.world import World
from pileus.model.migrations import MigrationStep
from pileus.model.ports import COMPUTE


def ports_have_servers(world: World) -> Findings:
    """A port that is plugged to a server belongs to a living one."""
    for port in world.ports:
        if port.device_owner.startswith(COMPUTE) and port.device_id not in world.server_of:
            yield Finding(evidence=f"port {port.id} is plugged to server {port.device_id}, which is gone; unset its device, or delete it")


def ports_follow_servers(world: World) -> Findings:
    """A port is bound to the host of its server, unless that is on its way."""
    moving = {move.server_id for move in world.alive.values() if move.step != MigrationStep.CLEAN}
    for port in world.ports:
        server = world.server_of.get(port.device_id)
        if server is None or server.host is None or server.id in moving or server.id not in world.settled:
            continue
        if port.host != server.host:
            yield Finding(evidence=f"port {port.id} is bound to {port.host}, its server {port.device_id} is on {server.host}")


def ports_have_networks(world: World) -> Findings:
    """A port's network is there."""
    for port in world.ports:
        if port.network_id not in world.network_of:
            yield Finding(evidence=f"port {port.id} is on network {port.network_id}, which is gone")


def addresses_have_subnets(world: World) -> Findings:
    """The subnets of a port's addresses are there, and of its network."""
    for port in world.ports:
        for one in port.fixed_ips:
            subnet = world.subnet_of.get(one.subnet_id)
            if subnet is None or subnet.network_id != port.network_id:
                of = "gone" if subnet is None else f"of network {subnet.network_id}"
                yield Finding(
                    evidence=f"port {port.id} of network {port.network_id} has {one.ip_address} of subnet {one.subnet_id}, which is {of}"
                )


def addresses_lie_in_their_subnets(world: World) -> Findings:
    """An address is one of its subnet."""
    prefixes: dict[str, Prefix] = {}
    for port in world.ports:
        for one in port.fixed_ips:
            subnet = world.subnet_of.get(one.subnet_id)
            if subnet is None:
                continue
            prefix = prefixes.get(subnet.id)
            if prefix is None:
                prefix = prefixes[subnet.id] = ip_network(subnet.cidr)
            if ip_address(one.ip_address) not in prefix:
                yield Finding(evidence=f"port {port.id} has address {one.ip_address}, which is not in {subnet.cidr} (subnet {subnet.id})")


def addresses_are_unique(world: World) -> Findings:
    """One address of a subnet, one port."""
    seen: dict[tuple[str, str], str] = {}
    for port in world.ports:
        for one in port.fixed_ips:
            first = seen.setdefault((one.subnet_id, one.ip_address), port.id)
            if first != port.id:
                yield Finding(evidence=f"address {one.ip_address} of subnet {one.subnet_id} is held by ports {first} and {port.id}")


def addresses_are_taken(world: World) -> Findings:
    """An address that a port has is not free for another."""
    taken = {(one.subnet_id, one.ip_address): one.port_id for one in world.taken}
    seen: set[tuple[str, str]] = set()
    for port in world.ports:
        for one in port.fixed_ips:
            key = (one.subnet_id, one.ip_address)
            if key not in taken and key not in seen:
                yield Finding(
                    evidence=f"port {port.id} has address {one.ip_address} of subnet {one.subnet_id}, and nothing says that it is in use",
                    repair=TakeAddress(port_id=port.id, subnet_id=one.subnet_id, ip_address=one.ip_address),
                )
            seen.add(key)


def taken_addresses_are_used(world: World) -> Findings:
    """An address that is in use is a port's."""
    for one in world.taken:
        port = world.port_of.get(one.port_id)
        if port is None or not any((have.subnet_id, have.ip_address) == (one.subnet_id, one.ip_address) for have in port.fixed_ips):
            yield Finding(
                evidence=f"address {one.ip_address} of subnet {one.subnet_id} counts as port {one.port_id}'s, which does not have it",
                repair=ReleaseAddress(subnet_id=one.subnet_id, ip_address=one.ip_address, port_id=one.port_id),
            )


def hardware_addresses_are_unique(world: World) -> Findings:
    """A bridge with two ports of one MAC sends to the wrong one."""
    seen: dict[tuple[str, str], str] = {}
    for port in world.ports:
        first = seen.setdefault((port.network_id, port.mac_address.lower()), port.id)
        if first != port.id:
            yield Finding(evidence=f"ports {first} and {port.id} of network {port.network_id} have the same MAC {port.mac_address}")


def security_groups_of_ports_exist(world: World) -> Findings:
    """What may reach a port is said by groups that are there."""
    known = {one.id for one in world.security_groups}
    for port in world.ports:
        for group in port.security_groups:
            if group not in known:
                yield Finding(evidence=f"port {port.id} is in security group {group}, which is gone; set its security groups anew")


def memberships_follow_ports(world: World) -> Findings:
    """Rules that name a group reach the ports that are in it."""
    members: dict[str, set[str]] = {}
    for port_id, group in world.memberships:
        members.setdefault(port_id, set()).add(group)
    known = {one.id for one in world.security_groups}
    for port in world.ports:
        should, have = set(port.security_groups) & known, members.get(port.id, set())
        if should != have:
            yield Finding(
                evidence=f"port {port.id} is in the security groups {sorted(should)}, their index says {sorted(have)}",
                repair=WriteMembership(port_id=port.id),
            )


def rules_have_groups(world: World) -> Findings:
    """A rule's group exists, and the one that it names."""
    known = {one.id for one in world.security_groups}
    for rule in world.rules:
        for group in (rule.security_group_id, rule.remote_group_id):
            if group and group not in known:
                yield Finding(evidence=f"security group rule {rule.id} names group {group}, which is gone; delete the rule")


def projects_have_one_default_group(world: World) -> Findings:
    """A new port without groups gets the default one."""
    seen: dict[str, str] = {}
    for group in world.security_groups:
        if group.is_default and seen.setdefault(group.project_id, group.id) != group.id:
            yield Finding(evidence=f"project {group.project_id} has two default security groups, {seen[group.project_id]} and {group.id}")


def namespaces_are_wanted(world: World) -> Findings:
    """No namespace is left of a routing domain that is gone."""
    for view in world.views:
        for name in view.namespaces:
            if name not in view.domains:
                yield Finding(evidence=f"a namespace of routing domain {name} is on {view.host}, no record wants it; ip netns del it there")


def wanted_namespaces_exist(world: World) -> Findings:
    """Every routing domain that has ports of running guests here has its namespace."""
    for view in world.views:
        there = set(view.namespaces)
        needed = [domain for domain, ports in view.domains.items() if ports] if view.needed is None else view.needed
        for domain in sorted(needed):
            ports = view.domains.get(domain, [])
            if domain not in there:
                yield Finding(evidence=f"routing domain {domain} has ports {ports} on {view.host}, but no namespace")


def taps_have_ports(world: World) -> Findings:
    """No tap is left of a port that is gone, and none stands in another domain than its network."""
    for view in world.views:
        for domain, taps in sorted(view.taps.items()):
            wanted = set(view.domains.get(domain, []))
            for tap in taps:
                if tap not in wanted:
                    yield Finding(
                        evidence=f"a tap of port {tap} is in the namespace of {domain} on {view.host}, no port of it is bound there"
                    )


def namespaces_are_filtered(world: World) -> Findings:
    """Without the filter guests could send what they like, and whoever likes could reach them."""
    for view in world.views:
        for name in view.unfiltered:
            yield Finding(
                evidence=f"the namespace of routing domain {name} on {view.host} lacks the packet filter; restart the agent there"
            )


def guests_are_given_their_addresses(world: World) -> Findings:
    """DHCP on a host knows the addresses of the guests there."""
    for view in world.views:
        for domain, addresses in sorted(view.local.items()):
            given = (view.addresses or {}).get(domain, {})
            for address in addresses:
                wanted = view.served[domain][address]
                if view.addresses is not None and given.get(address, "").lower() != wanted:
                    yield Finding(
                        evidence=f"DHCP of {domain} on {view.host} gives {address} to {given.get(address, 'nobody')}, not {wanted}"
                    )


def nobody_else_is_given_addresses(world: World) -> Findings:
    """DHCP on a host knows nobody who is gone."""
    for view in world.views:
        for domain, given in sorted((view.addresses or {}).items()):
            wanted = view.served.get(domain)
            for address, mac in sorted(given.items()):
                if wanted is not None and "." in address and address not in wanted:
                    yield Finding(evidence=f"DHCP of {domain} on {view.host} gives {address} to {mac}, which no port has")


INVARIANTS = invariants(
    (ports_have_servers, "A port that is plugged to a server belongs to a living one."),
    (ports_follow_servers, "A server's ports are bound to its host."),
    (ports_have_networks, "A port's network exists."),
    (addresses_have_subnets, "The subnets of a port's addresses exist, and are of its network."),
    (addresses_lie_in_their_subnets, "An address lies within its subnet."),
    (addresses_are_unique, "An address of a subnet belongs to one port."),
    (addresses_are_taken, "An address that a port has is in use."),
    (taken_addresses_are_used, "An address that is in use belongs to a port."),
    (hardware_addresses_are_unique, "No two ports of a network have the same MAC."),
    (security_groups_of_ports_exist, "The security groups of a port exist."),
    (memberships_follow_ports, "The index of security groups says what the ports say."),
    (rules_have_groups, "The groups that a security group's rules name exist."),
    (projects_have_one_default_group, "A project has one default security group at most."),
    (namespaces_are_wanted, "Every namespace belongs to a routing domain."),
    (wanted_namespaces_exist, "A routing domain with ports of guests has its namespace."),
    (namespaces_are_filtered, "Every namespace has the packet filter."),
    (guests_are_given_their_addresses, "DHCP gives a guest the address that its port has."),
    (nobody_else_is_given_addresses, "DHCP gives an address to nobody but its port."),
    (taps_have_ports, "Every tap belongs to a port of its domain that is bound to the host."),
    repairable=(addresses_are_taken, taken_addresses_are_used, memberships_follow_ports),
)
