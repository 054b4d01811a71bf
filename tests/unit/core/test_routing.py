"""Routing domains from rows."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.core.network_plan import active_routers, build
from pileus.core.network_vxlan import FLOOD
from pileus.core.routing import (
    Candidate,
    Component,
    Divided,
    DomainRows,
    Places,
    assigned,
    components,
    digest,
    domain_on,
    gateway_host,
    hosts_of,
    router_host,
    vtep,
)
from pileus.model.floating_ips import FloatingIp
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, AddressPair, FixedIp, Port
from pileus.model.routers import Router
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.model.subnets import Subnet

HERE, ELSEWHERE = Places(router="h"), Places(router="third")
JOINED = Places(router="h", addresses={"h": "192.0.2.1", "other": "192.0.2.2", "third": "192.0.2.3"})
PHYSICAL = {"public": "", "wan": "eth1"}


def port(id: str, network: str, *addresses: tuple[str, str], **rest: Any) -> Port:
    fixed = [FixedIp(subnet_id=subnet, ip_address=address) for subnet, address in addresses]
    return Port(id=id, project_id="p", network_id=network, mac_address="fa:16:3e:00:00:01", fixed_ips=fixed, **rest)


def rows(physical: str = "public") -> DomainRows:
    """A network behind a router to an external network, with a guest on host h."""
    return DomainRows(
        networks={
            "net": Network(id="net", project_id="p", segmentation_id=7),
            "ext": Network(id="ext", project_id="a", external=True, network_type="flat", physical_network=physical, mtu=1500),
        },
        subnets=[
            Subnet(id="in", project_id="p", network_id="net", cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1"),
            Subnet(id="out", project_id="a", network_id="ext", cidr="172.24.4.0/24", ip_version=4, gateway_ip="172.24.4.1"),
        ],
        ports=[
            port("guest", "net", ("in", "10.0.0.3"), device_owner="compute:nova", device_id="s", host="h", security_groups=["g"],
                 allowed_address_pairs=[AddressPair(ip_address="10.0.0.50", mac_address="")]),
            port("far", "net", ("in", "10.0.0.4"), device_owner="compute:nova", device_id="t", host="other", security_groups=["g"]),
            port("leg", "net", ("in", "10.0.0.1"), device_owner=ROUTER_INTERFACE, device_id="r"),
            port("dhcp", "net", ("in", "10.0.0.2"), device_owner=DHCP, device_id="d"),
            port("gate", "ext", ("out", "172.24.4.9"), device_owner=ROUTER_GATEWAY, device_id="r"),
        ],
        routers=[Router(id="r", project_id="p", gateway_network_id="ext", gateway_port_id="gate")],
        floating_ips=[
            FloatingIp(id="f", project_id="p", floating_network_id="ext", floating_ip_address="172.24.4.20", external_port_id="x",
                       port_id="guest", fixed_ip_address="10.0.0.3", router_id="r"),
        ],
        groups=[SecurityGroup(id="g", project_id="p")],
        rules={"g": [SecurityGroupRule(id="1", project_id="p", security_group_id="g", direction="ingress", remote_group_id="g")]},
        members={"g": ["10.0.0.3", "10.0.0.4"]},
    )  # fmt: skip


COMPONENT = Component(id="r", networks=("net",), routers=("r",))


def test_networks_are_joined_by_routers_and_named_by_the_smallest() -> None:
    found = components(["a", "b", "c", "d"], [("a", "r2"), ("b", "r2"), ("b", "r1"), ("d", "r3")])
    assert [(one.id, one.networks, one.routers) for one in found] == [
        ("c", ("c",), ()), ("r1", ("a", "b"), ("r1", "r2")), ("r3", ("d",), ("r3",)),
    ]  # fmt: skip


def test_the_host_of_a_gateway_is_told_of_it() -> None:
    domain = domain_on(COMPONENT, rows(), "h", HERE, PHYSICAL)
    (router,) = domain.routers
    assert router.gateway is not None
    assert (router.gateway.uplink, router.gateway.addresses, router.gateway.gateways) == ("public", ["172.24.4.9/24"], ["172.24.4.1"])
    assert [(one.floating_ip, one.fixed_ip) for one in router.floating] == [("172.24.4.20", "10.0.0.3")]
    assert [(one.name, one.addresses, one.masquerade, one.interface) for one in domain.uplinks] == [
        ("public", ["172.24.4.1/24"], True, None)
    ]


def test_another_host_is_told_of_its_guests_and_no_gateway() -> None:
    domain = domain_on(COMPONENT, rows(), "other", HERE, PHYSICAL)
    assert [one.id for one in domain.ports] == ["far"]
    assert domain.routers[0].gateway is None and domain.routers[0].floating == [] and domain.uplinks == []
    assert domain.security_groups[0].rules[0].remote_addresses == ["10.0.0.4"], "nobody else reaches it"


def test_on_a_network_of_the_outside_a_group_has_its_members_of_all_hosts() -> None:
    outside = replace(rows().networks["net"], network_type="flat", physical_network="public")
    provided = replace(rows(), networks={**rows().networks, "net": outside})
    domain = domain_on(COMPONENT, provided, "other", HERE, PHYSICAL)
    assert domain.security_groups[0].rules[0].remote_addresses == ["10.0.0.3", "10.0.0.4"]


@pytest.mark.parametrize("places", [HERE, JOINED], ids=["alone", "joined"])
def test_rows_that_are_divided_tell_each_host_the_same(places: Places) -> None:
    moving = replace(rows(), ports=[replace(one, migrating_to="third") if one.id == "far" else one for one in rows().ports])
    divided = Divided(COMPONENT, moving, places, PHYSICAL)
    assert divided.hosts == hosts_of(COMPONENT, moving, places.router)
    for host in divided.hosts:
        assert divided.on(host) == domain_on(COMPONENT, moving, host, places, PHYSICAL)


def test_a_host_that_reaches_no_other_is_marked_anew_by_its_own_ports_and_what_all_share_alone() -> None:
    def mark(made: DomainRows, router: str = "h") -> str:
        return Divided(COMPONENT, made, replace(HERE, router=router), PHYSICAL).mark("h")

    made = rows()
    elsewhere = replace(made, ports=[*made.ports, replace(made.ports[1], id="more")], members={"g": ["10.0.0.3", "10.0.0.4", "10.0.0.9"]})
    assert mark(elsewhere) == mark(made)
    here = replace(made, ports=[*made.ports, replace(made.ports[0], id="more")])
    rule = replace(made, rules={})
    assert len({mark(made), mark(here), mark(rule), mark(made, "other")}) == 4
    assert Divided(COMPONENT, made, JOINED, PHYSICAL).mark("h") == "", "it is told of the others"


def test_a_physical_network_on_a_nic_belongs_to_the_outside() -> None:
    (uplink,) = domain_on(COMPONENT, rows("wan"), "h", HERE, PHYSICAL).uplinks
    assert (uplink.interface, uplink.addresses, uplink.masquerade) == ("eth1", [], False)


def test_a_network_says_how_it_is_served() -> None:
    (network,) = domain_on(COMPONENT, rows(), "h", HERE, PHYSICAL).networks
    (subnet,) = network.subnets
    assert (network.vni, network.uplink, network.mtu, subnet.dhcp_ip, subnet.gateway_here) == (7, None, 1450, "10.0.0.2", True)
    (guest,) = domain_on(COMPONENT, rows(), "h", HERE, PHYSICAL).ports
    assert (guest.hostname, guest.allowed_pairs) == ("host-10-0-0-3", [{"ip_address": "10.0.0.50", "mac_address": ""}])


def test_an_external_network_without_a_physical_one_has_an_uplink_of_its_own() -> None:
    network = Network(id="0123456789", project_id="a", external=True)
    domain = domain_on(Component(id=network.id, networks=(network.id,)), DomainRows(networks={network.id: network}), "h", HERE, PHYSICAL)
    assert [one.name for one in domain.uplinks] == ["x012345"] == [domain.networks[0].uplink]


def test_a_domain_is_where_its_guests_and_its_gateway_are() -> None:
    hosts = ["h", "other", "third"]
    assert hosts_of(COMPONENT, rows(), "third") == {"h", "other", "third"}
    assert hosts_of(COMPONENT, rows(), None) == {"h", "other"}
    assert gateway_host("r", []) is None
    moved = [gateway_host(f"domain-{number}", hosts) for number in range(100)]
    assert sum(one != two for one, two in zip(moved, [gateway_host(f"domain-{n}", [*hosts, "new"]) for n in range(100)], strict=True)) < 50


def test_a_digest_follows_what_is_said() -> None:
    first = domain_on(COMPONENT, rows(), "h", HERE, PHYSICAL)
    assert digest(first) == digest(domain_on(COMPONENT, rows(), "h", HERE, PHYSICAL))
    assert digest(first) != digest(domain_on(COMPONENT, rows(), "h", ELSEWHERE, PHYSICAL))


def test_hosts_that_reach_each_other_know_each_others_ports_and_where_the_routers_are() -> None:
    here = domain_on(COMPONENT, rows(), "h", JOINED, PHYSICAL)
    assert (here.address, here.remotes, [(one.id, one.local, one.remote) for one in here.ports]) == (
        "192.0.2.1", ["192.0.2.2"], [("guest", True, ""), ("far", False, "192.0.2.2")],
    )  # fmt: skip
    assert here.routers[0].remote == "" and here.routers[0].gateway is not None and here.networks[0].subnets[0].gateway_here
    there = domain_on(COMPONENT, rows(), "other", JOINED, PHYSICAL)
    assert [(one.id, one.local, one.remote) for one in there.ports] == [("guest", False, "192.0.2.1"), ("far", True, "")]
    (router,) = there.routers
    assert (router.remote, router.gateway, router.floating, there.uplinks) == ("192.0.2.1", None, [], [])
    assert not there.networks[0].subnets[0].gateway_here and there.networks[0].subnets[0].gateway_ip == "10.0.0.1"


def test_a_host_alone_is_told_nothing_of_tunnels() -> None:
    alone = replace(rows(), ports=[one for one in rows().ports if one.host != "other"], members={"g": ["10.0.0.3", "10.0.0.50"]})
    assert domain_on(COMPONENT, alone, "h", JOINED, PHYSICAL) == domain_on(COMPONENT, alone, "h", HERE, PHYSICAL)


def test_a_port_on_the_move_is_on_both_hosts_and_its_frames_go_to_the_first() -> None:
    moving = replace(rows(), ports=[replace(one, migrating_to="third") if one.id == "far" else one for one in rows().ports])
    assert hosts_of(COMPONENT, moving, "h") == {"h", "other", "third"}
    seen = {host: {one.id: one for one in domain_on(COMPONENT, moving, host, JOINED, PHYSICAL).ports} for host in JOINED.addresses}
    assert [(seen[host]["far"].local, seen[host]["far"].remote) for host in ("h", "other", "third")] == [
        (False, "192.0.2.2"), (True, ""), (True, "192.0.2.2"),
    ]  # fmt: skip
    assert seen["third"]["guest"].remote == "192.0.2.1"


def test_routers_stay_where_they_are_until_their_host_is_down_or_gone() -> None:
    hosts = [Candidate(name=name) for name in ("a", "b", "c")]
    first = router_host("r", hosts, None)
    other = next(one.name for one in hosts if one.name != first)
    assert router_host("r", hosts, other) == other
    assert router_host("r", [replace(one, enabled=False) for one in hosts], other) == other
    down = [replace(one, up=one.name != other) for one in hosts]
    assert router_host("r", down, other) == router_host("r", [one for one in hosts if one.name != other], None) != other
    assert router_host("r", [replace(one, up=False) for one in hosts], other) == other, "nobody is better"
    assert router_host("r", [replace(one, enabled=one.name == "c") for one in hosts], None) == "c"
    assert router_host("r", [], other) is None
    drained = [replace(one, enabled=False, drained=True) if one.name == other else one for one in hosts]
    assert router_host("r", drained, other) == router_host("r", down, other)
    assert router_host("r", [replace(one, enabled=False, drained=one.name == other) for one in hosts], other) == other, "there is no other"


def test_a_renamed_domain_keeps_its_host() -> None:
    both = Component(id="a", networks=("net",), routers=("a", "r"))
    assert assigned(both, {"r": "h"}) == "h" and assigned(both, {"a": "other", "r": "h"}) == "other" and assigned(both, {}) is None


def test_the_end_of_a_tunnel_is_an_address_that_others_reach() -> None:
    assert [vtep(one) for one in ("192.0.2.1", "127.0.0.1", "", "0.0.0.0", "::1", "2001:DB8::1", "host")] == [
        "192.0.2.1", "", "", "", "", "2001:db8::1", "",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_every_two_hosts_entries_agree(seed: int) -> None:
    """Each frame from anywhere reaches the one host that has its receiver, at most one host away; a router is on exactly one host."""
    random = Random(seed)
    names = [f"h{number}" for number in range(random.randint(1, 5))]
    places = Places(router=random.choice(names), addresses={name: f"192.0.2.{number}" for number, name in enumerate(names, 1)})
    ports = [
        replace(one, mac_address=f"fa:16:3e:00:01:{number:02x}")
        for number, one in enumerate(rows().ports)
        if one.device_owner != "compute:nova"
    ]
    for number in range(random.randint(0, 12)):
        host, target = random.choice(names), random.choice([None, None, *names])
        guest = port(f"g{number}", "net", ("in", f"10.0.0.{10 + number}"), device_owner="compute:nova", host=host, device_id="s")
        ports.append(replace(guest, mac_address=f"fa:16:3e:00:00:{number:02x}", migrating_to=target if target != host else None))
    made = replace(rows(), ports=ports)
    domains = {name: domain_on(COMPONENT, made, name, places, PHYSICAL) for name in sorted(hosts_of(COMPONENT, made, places.router))}
    entries = {name: {one.mac: one.remote for one in build(domain, "t").forwarding if one.mac != FLOOD} for name, domain in domains.items()}
    for name, domain in domains.items():
        flooded = {one.remote for one in build(domain, "t").forwarding if one.mac == FLOOD}
        assert flooded == {places.addresses[other] for other in domains if other != name} == set(domain.remotes)
        assert bool(active_routers(domain)) == (name == places.router)
        for one in ports:
            holder = places.router if one.device_owner == ROUTER_INTERFACE else one.host
            if one.network_id != "net" or one.device_owner == DHCP or len(domains) == 1:
                continue
            assert entries[name].get(one.mac_address) == (None if name == holder else places.addresses[holder or ""])
