"""What a domain consists of: names that fit, tables that never fall through, and nothing that depends on order."""

from msgspec.structs import replace

from pileus.core import network_names as names
from pileus.core import network_plan
from tests.unit.core.network_samples import DOMAIN, PORTS, ROUTER, STORE, WEB


def test_every_device_name_fits_and_is_there_once() -> None:
    plan = network_plan.build(DOMAIN, "abcd")
    found = [link.name for link in plan.links] + [link.peer for link in plan.links if link.peer]
    assert len(found) == len(set(found))
    assert max(map(len, found)) <= names.DEVICE_NAME_MAX


def test_only_ports_of_this_host_have_taps() -> None:
    taps = {link.name for link in network_plan.build(DOMAIN, "abcd").links if link.kind == "tap"}
    assert taps == {names.tap(port.id) for port in PORTS if port.local}


def test_a_routers_table_ends_unreachable_so_that_networks_without_it_stay_apart() -> None:
    plan = network_plan.build(DOMAIN, "abcd")
    table = network_plan.tables(DOMAIN)[ROUTER.id]
    last = [route.destination for route in plan.routes if route.table == table and route.device is None]
    assert last == ["0.0.0.0/0", "::/0"]


def test_a_router_that_is_down_has_no_legs() -> None:
    plan = network_plan.build(replace(DOMAIN, routers=[replace(ROUTER, up=False)]), "abcd")
    assert {link.kind for link in plan.links} == {"bridge", "tap"}
    assert plan.routes == []


def test_a_static_route_goes_by_the_leg_that_reaches_its_next_hop() -> None:
    plan = network_plan.build(DOMAIN, "abcd")
    route = next(route for route in plan.routes if route.destination == "10.50.0.0/16")
    assert route.device == names.leg(ROUTER.id, STORE.subnets[0].id) and route.via == "10.0.1.12"


def test_a_static_default_route_goes_before_the_gateways() -> None:
    routes = [{"destination": "0.0.0.0/0", "nexthop": "10.0.1.12"}]
    plan = network_plan.build(replace(DOMAIN, routers=[replace(ROUTER, routes=routes)]), "abcd")
    table = network_plan.tables(DOMAIN)[ROUTER.id]
    assert [route.via for route in plan.routes if route.table == table and route.destination == "0.0.0.0/0"] == ["10.0.1.12", None]


def test_floating_and_gateway_addresses_are_announced() -> None:
    told = network_plan.build(DOMAIN, "abcd").announce
    assert {address for _, address in told} == {"10.0.0.1", "10.0.1.1", "172.24.4.10", "172.24.4.50"}


def test_metadata_is_served_on_each_network_and_leg() -> None:
    found = network_plan.metadata_listeners(DOMAIN)
    assert {network for network, _, _ in found} == {WEB.id, STORE.id}
    assert len(found) == 6  # IPv4 and IPv6 on each bridge, IPv4 on each network's leg


def test_numbers_are_distinct_and_do_not_change_when_others_come() -> None:
    few, many = names.distinct_numbers(["a", "b"], 1, 9), names.distinct_numbers([chr(97 + n) for n in range(9)], 1, 9)
    assert len(set(many.values())) == 9
    assert names.distinct_numbers(["b", "a"], 1, 9) == few


def test_long_names_of_uplinks_stay_apart() -> None:
    found = {names.uplink_bridge("abcd", name) for name in ("public", "datacentre-1", "datacentre-2", "datacen")}
    assert len(found) == 4 and max(map(len, found)) <= names.DEVICE_NAME_MAX


def test_a_namespace_is_named_as_the_contract_says() -> None:
    assert names.namespace_name("abcd", DOMAIN.id) == "pileus-abcd-dddddddd-000"
    assert names.uplink_bridge("abcd", "public") == "puabcd-public"
