"""Invariants of networks and subnets: segments, ranges of addresses, grants, tags."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from itertools import pairwise

from pileus.core.addresses import first_free, ranges_of
from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.repairs import DeleteRow, IndexTags
from pileus.core.verify.world import World
from pileus.model.ports import DHCP
from pileus.model.subnets import Subnet

Range = tuple[int, int]


def segments_are_unique(world: World) -> Findings:
    """Two networks with one VNI, or on one physical network, would be one."""
    seen: dict[tuple[str, object], str] = {}
    for network in world.networks:
        segment = network.physical_network if network.network_type == "flat" else network.segmentation_id
        if segment is not None and seen.setdefault((network.network_type, segment), network.id) != network.id:
            yield Finding(
                evidence=f"networks {seen[network.network_type, segment]} and {network.id} are both {network.network_type} {segment}"
            )


def networks_have_segments(world: World) -> Findings:
    """A network is somewhere."""
    for network in world.networks:
        if (network.segmentation_id if network.network_type == "vxlan" else network.physical_network) is None and not network.external:
            yield Finding(evidence=f"network {network.id} is of type {network.network_type} and has no segment")


def subnets_have_networks(world: World) -> Findings:
    """A subnet's network exists."""
    for subnet in world.subnets:
        if subnet.network_id not in world.network_of:
            yield Finding(evidence=f"subnet {subnet.id} is of network {subnet.network_id}, which is gone")


def pools_lie_in_their_subnets(world: World) -> Findings:
    """What is given out belongs to the subnet."""
    for subnet in world.subnets:
        prefix = _range(subnet.cidr)
        for low, high in _pools(subnet):
            if not prefix[0] <= low <= high <= prefix[1]:
                yield Finding(evidence=f"subnet {subnet.id} ({subnet.cidr}) has a pool that reaches out of it, or is none")


def pools_do_not_overlap(world: World) -> Findings:
    """A subnet's pools have no address in common."""
    for subnet in world.subnets:
        for one, other in pairwise(sorted(_pools(subnet))):
            if other[0] <= one[1]:
                yield Finding(evidence=f"subnet {subnet.id} ({subnet.cidr}) has pools that overlap")


def gateways_are_not_handed_out(world: World) -> Findings:
    """A guest that was given the gateway's address would cut the others off."""
    for subnet in world.subnets:
        if subnet.gateway_ip is not None:
            gateway = int(ip_address(subnet.gateway_ip))
            if any(low <= gateway <= high for low, high in _pools(subnet)):
                yield Finding(evidence=f"subnet {subnet.id} gives out {subnet.gateway_ip}, its gateway's address")


def subnets_do_not_overlap(world: World) -> Findings:
    """An address of a network belongs to one of its subnets."""
    of_network: dict[tuple[str, int], list[tuple[Range, str]]] = {}
    for subnet in world.subnets:
        of_network.setdefault((subnet.network_id, subnet.ip_version), []).append((_range(subnet.cidr), subnet.id))
    for found in of_network.values():
        for (one, name), (other, second) in pairwise(sorted(found)):
            if other[0] <= one[1]:
                yield Finding(evidence=f"subnets {name} and {second} of one network overlap")


def subnets_lie_in_their_pools(world: World) -> Findings:
    """A subnet that was cut from a subnet pool is in one of its prefixes."""
    prefixes = {one.id: [_range(prefix) for prefix in one.prefixes] for one in world.subnet_pools}
    for subnet in world.subnets:
        if subnet.subnetpool_id in prefixes:
            low, high = _range(subnet.cidr)
            if not any(start <= low and high <= end for start, end in prefixes[subnet.subnetpool_id]):
                yield Finding(evidence=f"subnet {subnet.id} ({subnet.cidr}) is not within subnet pool {subnet.subnetpool_id}")


def shares_of_pools_do_not_overlap(world: World) -> Findings:
    """A subnet pool gives each address once."""
    shares: dict[str, list[tuple[Range, str]]] = {}
    for subnet in world.subnets:
        if subnet.subnetpool_id is not None:
            shares.setdefault(subnet.subnetpool_id, []).append((_range(subnet.cidr), subnet.id))
    for pool, found in shares.items():
        for (one, name), (other, second) in pairwise(sorted(found)):
            if other[0] <= one[1]:
                yield Finding(evidence=f"subnets {name} and {second} were both cut from subnet pool {pool}, and overlap")


def cursors_pass_over_nothing_free(world: World) -> Findings:
    """The search for a free address begins at the cursor: what is free below would never be given out again."""
    taken: dict[str, list[int]] = {}
    for one in world.taken:
        if one.place is not None:
            taken.setdefault(one.subnet_id, []).append(one.place)
    for subnet in world.subnets:
        cursor = world.cursors.get(subnet.id)
        if cursor is None:
            continue
        free = first_free(ranges_of(ip_network(subnet.cidr), subnet.allocation_pools), 0, sorted(taken.get(subnet.id, [])))
        if free is not None and free < cursor:
            yield Finding(
                evidence=f"subnet {subnet.id} ({subnet.cidr}) has a free address that the search for one passes over",
                repair=DeleteRow(
                    table="address_cursors", key=(("subnet_id", subnet.id),), why="the search begins at the first address again"
                ),
            )


def dhcp_has_ports(world: World) -> Findings:
    """A network with DHCP has a port from which it is served, and no more than one."""
    served: dict[str, int] = {}
    for port in world.ports:
        if port.device_owner == DHCP:
            served[port.network_id] = served.get(port.network_id, 0) + 1
    wanted = {subnet.network_id for subnet in world.subnets if subnet.enable_dhcp}
    for network in world.networks:
        count = served.get(network.id, 0)
        if count != (network.id in wanted):
            yield Finding(evidence=f"network {network.id} has {count} ports for DHCP, and should have {int(network.id in wanted)}")


def grants_are_of_networks(world: World) -> Findings:
    """A grant gives something."""
    for policy in world.rbac_policies:
        if policy.object_id not in world.network_of or policy.action not in ("access_as_shared", "access_as_external"):
            yield Finding(
                evidence=f"policy {policy.id} gives {policy.action} of network {policy.object_id}, which is gone or can't be given so"
            )


def tags_are_indexed(world: World) -> Findings:
    """What a filter by tags finds is what the rows say."""
    wanted: dict[str, set[str]] = {}
    for rows in (world.networks, world.subnets, world.subnet_pools, world.ports, world.routers, world.floating_ips, world.security_groups):
        for row in rows:
            if row.tags:
                wanted[row.id] = set(row.tags)
    indexed: dict[str, set[str]] = {}
    for resource, tag in world.network_tags:
        indexed.setdefault(resource, set()).add(tag)
    for resource in sorted(wanted.keys() | indexed.keys()):
        should, have = wanted.get(resource, set()), indexed.get(resource, set())
        if should != have:
            yield Finding(
                evidence=f"resource {resource} has the tags {sorted(should)}, its index says {sorted(have)}",
                repair=IndexTags(resource_id=resource, tags=tuple(sorted(should))),
            )


def _range(cidr: str) -> Range:
    prefix = ip_network(cidr)
    return int(prefix.network_address), int(prefix.broadcast_address)


def _pools(subnet: Subnet) -> Iterable[Range]:
    return [(int(ip_address(pool.start)), int(ip_address(pool.end))) for pool in subnet.allocation_pools]


INVARIANTS = invariants(
    (segments_are_unique, "No two networks are the same segment."),
    (networks_have_segments, "Every network has a segment."),
    (subnets_have_networks, "A subnet's network exists."),
    (pools_lie_in_their_subnets, "A subnet's pools lie within it."),
    (pools_do_not_overlap, "A subnet's pools do not overlap."),
    (gateways_are_not_handed_out, "A gateway's address is in no pool of its subnet."),
    (subnets_do_not_overlap, "The subnets of a network do not overlap."),
    (subnets_lie_in_their_pools, "A subnet of a subnet pool lies within that."),
    (shares_of_pools_do_not_overlap, "A subnet pool gives each address to one subnet."),
    (cursors_pass_over_nothing_free, "The search for a free address finds every one."),
    (dhcp_has_ports, "A network has one port for DHCP when it serves it, else none."),
    (grants_are_of_networks, "Every grant of a network is of one that exists."),
    (tags_are_indexed, "The index of tags says what the rows say."),
    repairable=(cursors_pass_over_nothing_free, tags_are_indexed),
)
