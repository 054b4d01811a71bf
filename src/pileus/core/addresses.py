"""Allocation of addresses: pools of a subnet, the first free place, addresses from MACs.

A place is an address's distance from its subnet's first address.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pileus.model.subnets import Pool

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
LARGEST_PLACE = 1 << 62  # what a BIGINT holds with room to spare; addresses beyond are unique by their text alone
MAC_BASE = (0xFA, 0x16, 0x3E)


def mac_from(bits: int) -> str:
    """A MAC with our prefix and these 24 bits."""
    octets = (*MAC_BASE, bits >> 16 & 0xFF, bits >> 8 & 0xFF, bits & 0xFF)
    return ":".join(f"{octet:02x}" for octet in octets)


def eui64(cidr: str, mac: str) -> str:
    """The address that a guest with this MAC makes of a /64 prefix."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 0x02
    interface = int.from_bytes(bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]]), "big")
    return str(IPv6Address(int(ip_network(cidr).network_address) | interface))


def place_of(prefix: Prefix, address: Address) -> int | None:
    """The address's distance from the prefix's first; None where that is too large to be kept."""
    place = int(address) - int(prefix.network_address)
    return place if place <= LARGEST_PLACE else None


def address_at(prefix: Prefix, place: int) -> str:
    """The address at a distance from the prefix's first."""
    return str(prefix.network_address + place)


def default_pools(prefix: Prefix, gateway: str | None) -> list[Pool]:
    """All but the gateway, IPv4's network and broadcast address, and IPv6's anycast address of routers."""
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    if prefix.version == 4 and prefix.prefixlen <= 30:
        first, last = first + 1, last - 1
    elif prefix.version == 6 and prefix.prefixlen <= 126:
        first += 1
    kind = IPv4Address if prefix.version == 4 else IPv6Address
    hole = None if gateway is None else int(ip_address(gateway))
    ranges = [(first, last)] if hole is None or not first <= hole <= last else [(first, hole - 1), (hole + 1, last)]
    return [Pool(start=str(kind(low)), end=str(kind(high))) for low, high in ranges if low <= high]


def default_gateway(prefix: Prefix) -> str:
    """The first address: Neutron's choice of a gateway. For /31, /32, /127 and /128 that is the prefix's own."""
    small = prefix.prefixlen >= prefix.max_prefixlen - 1
    return str(prefix.network_address + (0 if small else 1))


def ranges_of(prefix: Prefix, pools: Iterable[Pool]) -> list[tuple[int, int]]:
    """The pools as places, in order, as far as a place can be kept."""
    base = int(prefix.network_address)
    found = ((int(ip_address(pool.start)) - base, int(ip_address(pool.end)) - base) for pool in pools)
    return sorted((low, min(high, LARGEST_PLACE)) for low, high in found if low <= LARGEST_PLACE)


def first_free(ranges: Sequence[tuple[int, int]], start: int, taken: Iterable[int]) -> int | None:
    """The first place not below `start` that lies in a range and is not taken. `taken` goes up."""
    places = iter(taken)
    next_taken = next(places, None)
    for low, high in ranges:
        place = max(low, start)
        while next_taken is not None and next_taken < place:
            next_taken = next(places, None)
        while place <= high:
            if next_taken != place:
                return place
            place += 1
            next_taken = next(places, None)
    return None


def in_pools(address: Address, pools: Iterable[Pool]) -> bool:
    """Whether the address lies in one of the pools."""
    return any(int(ip_address(pool.start)) <= int(address) <= int(ip_address(pool.end)) for pool in pools)


def pool_size(pool: Pool) -> int:
    """How many addresses a pool has."""
    return int(ip_address(pool.end)) - int(ip_address(pool.start)) + 1
