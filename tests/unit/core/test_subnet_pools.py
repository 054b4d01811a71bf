"""Prefixes cut from pools."""

from ipaddress import ip_network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.subnet_pools import check_lengths, choose_prefix, merged
from pileus.model.errors import Conflict, Invalid
from pileus.model.subnet_pools import SubnetPool


def pool(*prefixes: str, shortest: int = 8) -> SubnetPool:
    version = ip_network(prefixes[0]).version
    longest = 32 if version == 4 else 128
    return SubnetPool(
        id="p", created_at=0, updated_at=0, project_id="", name="", prefixes=list(prefixes), ip_version=version,
        min_prefixlen=shortest, default_prefixlen=shortest, max_prefixlen=longest,
    )  # fmt: skip


@given(st.lists(st.integers(20, 26), max_size=40))
def test_prefixes_never_overlap_and_fill_the_pool_from_its_start(lengths: list[int]) -> None:
    one = pool("10.0.0.0/19", "10.9.0.0/20")
    taken: list[str] = []
    for length in lengths:
        try:
            found = choose_prefix(one, taken, None, length)
        except Conflict:
            free = 3 * 2**12 - sum(ip_network(other).num_addresses for other in taken)
            assert free < 2 ** (32 - length) * (len(taken) + 1)
            continue
        assert found.prefixlen == length
        assert any(found.subnet_of(ip_network(prefix)) for prefix in one.prefixes)
        assert not any(found.overlaps(ip_network(other)) for other in taken)
        taken.append(str(found))


def test_a_gap_is_used_again() -> None:
    assert str(choose_prefix(pool("fd00::/62"), ["fd00::/64", "fd00:0:0:2::/64"], None, 64)) == "fd00:0:0:1::/64"


def test_a_length_that_the_pool_does_not_allow_is_refused() -> None:
    with pytest.raises(Invalid, match="minimum allowed prefix is 24"):
        choose_prefix(pool("10.0.0.0/8", shortest=24), [], None, 16)
    with pytest.raises(Invalid, match="not in order"):
        check_lengths(msgspec.structs.replace(pool("10.0.0.0/8"), max_prefixlen=4))


def test_prefixes_are_merged() -> None:
    assert merged(["10.0.1.0/24", "10.0.0.0/24", "10.0.0.0/28"]) == ["10.0.0.0/23"]
    with pytest.raises(Invalid, match="Unspecified"):
        merged([])
