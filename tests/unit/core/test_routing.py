"""Routing domains from rows."""

from typing import Any

from pileus.core.routing import Component, DomainRows, components, digest, domain_on, gateway_host, hosts_of
from pileus.model.floating_ips import FloatingIp
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, AddressPair, FixedIp, Port
from pileus.model.routers import Router
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.model.subnets import Subnet

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
    domain = domain_on(COMPONENT, rows(), "h", True, PHYSICAL)
    (router,) = domain.routers
    assert router.gateway is not None
    assert (router.gateway.uplink, router.gateway.addresses, router.gateway.gateways) == ("public", ["172.24.4.9/24"], ["172.24.4.1"])
    assert [(one.floating_ip, one.fixed_ip) for one in router.floating] == [("172.24.4.20", "10.0.0.3")]
    assert [(one.name, one.addresses, one.masquerade, one.interface) for one in domain.uplinks] == [
        ("public", ["172.24.4.1/24"], True, None)
    ]


def test_another_host_is_told_of_its_guests_and_no_gateway() -> None:
    domain = domain_on(COMPONENT, rows(), "other", False, PHYSICAL)
    assert [one.id for one in domain.ports] == ["far"]
    assert domain.routers[0].gateway is None and domain.routers[0].floating == [] and domain.uplinks == []
    assert domain.security_groups[0].rules[0].remote_addresses == ["10.0.0.3", "10.0.0.4"]


def test_a_physical_network_on_a_nic_belongs_to_the_outside() -> None:
    (uplink,) = domain_on(COMPONENT, rows("wan"), "h", True, PHYSICAL).uplinks
    assert (uplink.interface, uplink.addresses, uplink.masquerade) == ("eth1", [], False)


def test_a_network_says_how_it_is_served() -> None:
    (network,) = domain_on(COMPONENT, rows(), "h", True, PHYSICAL).networks
    (subnet,) = network.subnets
    assert (network.vni, network.uplink, network.mtu, subnet.dhcp_ip, subnet.gateway_here) == (7, None, 1450, "10.0.0.2", True)
    (guest,) = domain_on(COMPONENT, rows(), "h", True, PHYSICAL).ports
    assert (guest.hostname, guest.allowed_pairs) == ("host-10-0-0-3", [{"ip_address": "10.0.0.50", "mac_address": ""}])


def test_an_external_network_without_a_physical_one_has_an_uplink_of_its_own() -> None:
    network = Network(id="0123456789", project_id="a", external=True)
    domain = domain_on(Component(id=network.id, networks=(network.id,)), DomainRows(networks={network.id: network}), "h", True, PHYSICAL)
    assert [one.name for one in domain.uplinks] == ["x012345"] == [domain.networks[0].uplink]


def test_a_domain_is_where_its_guests_and_its_gateway_are() -> None:
    hosts = ["h", "other", "third"]
    assert hosts_of(COMPONENT, rows(), hosts) == {"h", "other", gateway_host("r", hosts)}
    assert gateway_host("r", []) is None
    moved = [gateway_host(f"domain-{number}", hosts) for number in range(100)]
    assert sum(one != two for one, two in zip(moved, [gateway_host(f"domain-{n}", [*hosts, "new"]) for n in range(100)], strict=True)) < 50


def test_a_digest_follows_what_is_said() -> None:
    first = domain_on(COMPONENT, rows(), "h", True, PHYSICAL)
    assert digest(first) == digest(domain_on(COMPONENT, rows(), "h", True, PHYSICAL))
    assert digest(first) != digest(domain_on(COMPONENT, rows(), "h", False, PHYSICAL))
