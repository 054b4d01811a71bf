"""Allocation of addresses, as properties and examples."""

from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pileus.core.addresses import default_gateway, default_pools, eui64, first_free, in_pools, mac_from, place_of, pool_size, ranges_of

RANGES = [(2, 5), (9, 12)]


@given(some.sets(some.integers(0, 15)), some.integers(0, 15))
def test_the_first_free_place_is_the_smallest_that_is_in_a_range_and_not_taken(taken: set[int], start: int) -> None:
    free = [place for low, high in RANGES for place in range(low, high + 1) if place >= start and place not in taken]
    assert first_free(RANGES, start, sorted(place for place in taken if place >= start)) == (free[0] if free else None)


@pytest.mark.parametrize(
    ("cidr", "gateway", "pools"),
    [
        ("10.0.0.0/24", "10.0.0.1", [("10.0.0.2", "10.0.0.254")]),
        ("10.0.0.0/24", "10.0.0.9", [("10.0.0.1", "10.0.0.8"), ("10.0.0.10", "10.0.0.254")]),
        ("10.0.0.0/24", None, [("10.0.0.1", "10.0.0.254")]),
        ("10.0.0.0/30", "10.0.0.1", [("10.0.0.2", "10.0.0.2")]),
        ("10.0.0.0/31", "10.0.0.0", [("10.0.0.1", "10.0.0.1")]),
        ("10.0.0.7/32", None, [("10.0.0.7", "10.0.0.7")]),
        ("fd00::/64", "fd00::1", [("fd00::2", "fd00::ffff:ffff:ffff:ffff")]),
        ("fd00::/64", "fe80::1", [("fd00::1", "fd00::ffff:ffff:ffff:ffff")]),
    ],
)
def test_pools_hold_every_address_that_a_host_can_have(cidr: str, gateway: str | None, pools: list[tuple[str, str]]) -> None:
    assert [(one.start, one.end) for one in default_pools(ip_network(cidr), gateway)] == pools


@given(some.integers(24, 30), some.integers(0, 255))
def test_a_gateway_is_in_no_pool_and_no_other_host_is_missing(length: int, host: int) -> None:
    prefix = ip_network(f"10.0.0.0/{length}")
    hosts = list(prefix.hosts())
    gateway = hosts[host % len(hosts)]
    pools = default_pools(prefix, str(gateway))
    assert not in_pools(gateway, pools)
    assert sum(pool_size(pool) for pool in pools) == len(hosts) - 1
    assert all(in_pools(one, pools) for one in hosts if one != gateway)


def test_gateways_are_the_first_address() -> None:
    assert [default_gateway(ip_network(one)) for one in ("10.0.0.0/24", "10.0.0.0/31", "fd00::/64")] == ["10.0.0.1", "10.0.0.0", "fd00::1"]


def test_macs_and_the_addresses_made_of_them() -> None:
    assert mac_from(0x010203) == "fa:16:3e:01:02:03"
    assert eui64("fd00:1::/64", "fa:16:3e:01:02:03") == "fd00:1::f816:3eff:fe01:203"


def test_places_are_kept_as_far_as_a_number_goes() -> None:
    prefix = ip_network("10.0.0.0/24")
    assert place_of(prefix, IPv4Address("10.0.0.7")) == 7
    wide = ip_network("fd00::/32")
    assert place_of(wide, wide[-1]) is None
    assert ranges_of(wide, default_pools(wide, None))[0][0] == 1
