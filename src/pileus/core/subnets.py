"""Rules of subnets: gateway and pools lie inside the prefix and out of each other's way; a network's subnets don't overlap."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from itertools import pairwise

from pileus.core.addresses import Prefix
from pileus.model.errors import Conflict, Invalid
from pileus.model.subnets import Pool, Subnet


def check_gateway(prefix: Prefix, gateway: str | None, may_be_outside: bool) -> None:
    """Invalid when the gateway can't be one of the prefix: its edge, or outside unless it may be; link-local IPv6 always may."""
    if gateway is None:
        return
    address = ip_address(gateway)
    if address.version != prefix.version:
        raise Invalid(f"Invalid input for operation: gateway_ip '{gateway}' does not match the ip_version.", type="InvalidInput")
    if address not in prefix and (may_be_outside or (prefix.version == 6 and address.is_link_local)):
        return
    edge = prefix.version == 4 and prefix.prefixlen <= 30 and address in (prefix.network_address, prefix.broadcast_address)
    if address not in prefix or edge:
        raise Invalid("Invalid input for operation: Gateway is not valid on subnet.", type="InvalidInput")


def check_pools(prefix: Prefix, pools: Sequence[Pool], gateway: str | None) -> None:
    """Invalid unless each pool is a range inside the prefix, no two overlap, and none holds the gateway (which is a Conflict)."""
    base = int(prefix.network_address)
    seen: list[tuple[int, int, Pool]] = []
    for pool in pools:
        start, end = ip_address(pool.start), ip_address(pool.end)
        if start.version != prefix.version or end.version != prefix.version or int(start) > int(end):
            raise Invalid(f"The allocation pool {pool.start}-{pool.end} is not valid.", type="InvalidAllocationPool")
        edges = prefix.version == 4 and prefix.prefixlen <= 30
        if start not in prefix or end not in prefix or (edges and (int(start) == base or end == prefix.broadcast_address)):
            raise Invalid(
                f"The allocation pool {pool.start}-{pool.end} spans beyond the subnet cidr {prefix}.", type="OutOfBoundsAllocationPool"
            )
        seen.append((int(start), int(end), pool))
    seen.sort(key=lambda one: one[0])
    for (_, end, one), (start, _, other) in pairwise(seen):
        if start <= end:
            words = f"Found overlapping allocation pools: {one.start}-{one.end}, {other.start}-{other.end} for subnet {prefix}."
            raise Conflict(words, type="OverlappingAllocationPools")
    for start, end, pool in seen:
        if gateway is not None and start <= int(ip_address(gateway)) <= end and ip_address(gateway).version == prefix.version:
            words = f"Gateway ip {gateway} conflicts with allocation pool {pool.start}-{pool.end}."
            raise Conflict(words, type="GatewayConflictWithAllocationPools")


def check_overlap(prefix: Prefix, others: Iterable[Subnet]) -> None:
    """Invalid when the prefix overlaps with one of the network's subnets."""
    for other in others:
        if other.ip_version == prefix.version and ip_network(other.cidr).overlaps(prefix):  # pyright: ignore[reportArgumentType]
            raise Invalid(
                f"Invalid input for operation: Requested subnet with cidr: {prefix} for network: {other.network_id} overlaps with another "
                "subnet.",
                type="InvalidInput",
            )


def check_routers_subnets(new: Subnet, others: Iterable[Subnet]) -> None:
    """Invalid when a router would be on two subnets whose prefixes overlap."""
    prefix = ip_network(new.cidr)
    for other in others:
        if other.id != new.id and other.ip_version == new.ip_version and ip_network(other.cidr).overlaps(prefix):  # pyright: ignore[reportArgumentType]
            words = f"Cidr {new.cidr} of subnet {new.id} overlaps with cidr {other.cidr} of subnet {other.id}"
            raise Invalid(f"Bad router request: {words}.", type="BadRequest")
