"""A cloud's public range is one that nothing on the machine uses."""

import ipaddress

import pytest

from pileus.cli.public_network import FIRST, LAST, first_free, routed, where_to_start
from pileus.config import Config
from pileus.model.errors import Invalid


def test_routes_are_read_and_what_is_no_range_is_passed_over() -> None:
    routes = [
        {"dst": "default", "gateway": "192.0.2.1"},
        {"dst": "192.0.2.0/24"},
        {"dst": "172.24.4.7"},
        {"dst": "fe80::/64"},
        {"type": "broadcast", "dst": "172.24.5.255"},
        {"gateway": "192.0.2.1"},
    ]
    assert [str(one) for one in routed(routes)] == ["192.0.2.0/24", "172.24.4.7/32", "172.24.5.255/32"]


def test_the_first_range_is_taken_unless_something_is_in_it() -> None:
    assert first_free([]) == "172.24.4.0/24"
    assert first_free(routed([{"dst": "172.24.4.7"}, {"dst": "172.24.5.0/25"}])) == "172.24.6.0/24"


def test_a_wide_use_takes_every_range_that_it_covers() -> None:
    assert first_free(routed([{"dst": "172.24.0.0/17"}])) == "172.24.128.0/24"


def test_a_route_to_everywhere_is_no_use_of_a_range() -> None:
    assert first_free(routed([{"dst": "0.0.0.0/1"}, {"dst": "128.0.0.0/1"}])) == "172.24.4.0/24"


def test_the_search_goes_around() -> None:
    assert first_free([ipaddress.IPv4Network("172.24.254.0/24")], start=254) == "172.24.4.0/24"


def test_without_a_free_range_the_setting_is_named() -> None:
    with pytest.raises(Invalid, match="public_cidr"):
        first_free([ipaddress.IPv4Network("172.24.0.0/16")])


def test_clouds_beside_the_usual_one_start_elsewhere() -> None:
    assert where_to_start(Config()) == FIRST
    starts = {where_to_start(Config(state=f"/srv/{number}")) for number in range(50)}
    assert len(starts) > 30
    assert all(FIRST <= start < LAST for start in starts)
