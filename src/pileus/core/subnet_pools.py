"""Which prefix of a pool a new subnet gets, and what a pool may be."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from pileus.model.errors import Conflict, Invalid
from pileus.model.subnet_pools import SubnetPool

Prefix = IPv4Network | IPv6Network
QUOTA_UNIT = {4: 32, 6: 64}  # the length of the prefixes that a quota counts


def merged(prefixes: Iterable[str]) -> list[str]:
    """The prefixes without overlaps, neighbours joined, in order; Invalid when there are none or versions are mixed."""
    networks = [ip_network(one) for one in prefixes]
    if not networks:
        raise Invalid("Unspecified prefix for the subnet pool.", type="EmptySubnetPoolPrefixList")
    if len({one.version for one in networks}) > 1:
        raise Invalid("Cannot mix IPv4 and IPv6 prefixes in a subnet pool.", type="PrefixVersionMismatch")
    return [str(one) for one in collapse_addresses(networks)]  # pyright: ignore[reportUnknownVariableType, reportArgumentType, reportUnknownArgumentType]


def check_lengths(pool: SubnetPool) -> None:
    """Invalid unless shortest <= default <= longest, within what the version has."""
    widest = 32 if pool.ip_version == 4 else 128
    for name, value in (("min", pool.min_prefixlen), ("max", pool.max_prefixlen), ("default", pool.default_prefixlen)):
        if not 0 <= value <= widest:
            raise Invalid(
                f"Illegal prefix bounds: {name}_prefixlen={value} for ip_version {pool.ip_version}.", type="IllegalSubnetPoolPrefixBounds"
            )
    if not pool.min_prefixlen <= pool.default_prefixlen <= pool.max_prefixlen:
        words = f"min_prefixlen={pool.min_prefixlen}, default_prefixlen={pool.default_prefixlen}, max_prefixlen={pool.max_prefixlen}"
        raise Invalid(f"Illegal prefix bounds: {words} are not in order.", type="IllegalSubnetPoolPrefixBounds")


def choose_prefix(pool: SubnetPool, taken: Iterable[str], cidr: str | None, length: int | None) -> Prefix:
    """The prefix that was asked for, or the first free one of the length; Conflict or Invalid when it can't be."""
    used = sorted((ip_network(one) for one in taken), key=lambda one: int(one.network_address))
    if cidr is not None:
        wanted = ip_network(cidr)
        inside = any(wanted.version == one.version and wanted.subnet_of(one) for one in map(ip_network, pool.prefixes))  # pyright: ignore[reportArgumentType]
        if not inside or any(wanted.overlaps(one) for one in used):
            raise Conflict(
                f"Cannot allocate requested subnet {wanted} from the available set of prefixes.", type="SubnetAllocationError", status=400
            )
        _check_length(pool, wanted.prefixlen)
        return wanted
    length = pool.default_prefixlen if length is None else length
    _check_length(pool, length)
    for prefix in map(ip_network, pool.prefixes):
        found = _first_free(prefix, used, length)
        if found is not None:
            return found
    raise Conflict("Insufficient prefix space to allocate subnet size /" + str(length), type="SubnetAllocationError", status=400)


def _first_free(prefix: Prefix, used: list[Prefix], length: int) -> Prefix | None:
    """The first aligned prefix of the length that none of `used` (sorted, apart from each other) touches."""
    if length < prefix.prefixlen:
        return None
    size = 1 << (prefix.max_prefixlen - length)
    place, end = int(prefix.network_address), int(prefix.broadcast_address) + 1
    for one in used:
        first, last = int(one.network_address), int(one.broadcast_address)
        if last < place or first >= end:
            continue
        if first >= place + size:
            break
        place = -(-(last + 1) // size) * size
    return ip_network(((place), length)) if place + size <= end else None


def _check_length(pool: SubnetPool, length: int) -> None:
    if length < pool.min_prefixlen:
        words = f"Unable to allocate subnet with prefix length {length}, minimum allowed prefix is {pool.min_prefixlen}."
        raise Invalid(words, type="MinPrefixSubnetAllocationError")
    if length > pool.max_prefixlen:
        words = f"Unable to allocate subnet with prefix length {length}, maximum allowed prefix is {pool.max_prefixlen}."
        raise Invalid(words, type="MaxPrefixSubnetAllocationError")


def check_quota(pool: SubnetPool, mine: Iterable[str], wanted: Prefix) -> None:
    """Conflict when the project would hold more of the pool than its quota."""
    if pool.default_quota is None:
        return
    unit = QUOTA_UNIT[pool.ip_version]
    held = sum(_units(ip_network(one), unit) for one in mine)
    if held + _units(wanted, unit) > pool.default_quota:
        raise Conflict("Per-tenant subnet pool prefix quota exceeded.", type="SubnetPoolQuotaExceeded")


def _units(prefix: Prefix, unit: int) -> int:
    return 1 << max(unit - prefix.prefixlen, 0)
