"""Routers and floating IPs through the API."""

from typing import Any

import pytest

from pileus.model.hosts import Host
from pileus.store.hosts import HOSTS
from pileus.store.ports import bind_ports
from pileus.store.routing import all_domains
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron, outside


@pytest.fixture
def demo(cloud: TestCloud) -> Neutron:
    return Neutron(cloud)


class Site:
    """A network behind a router to `public`, with one port."""

    def __init__(self, cloud: TestCloud, demo: Neutron) -> None:
        self.demo = demo
        self.public = outside(cloud)
        self.network = demo.make("network")
        self.subnet = demo.subnet(self.network)
        self.router = demo.make("router", external_gateway_info={"network_id": self.public["id"]})
        self.leg = self.attach()
        self.port = demo.make("port", network_id=self.network["id"])

    def attach(self, **leg: str) -> Any:
        return self.interface("add", 200, **(leg or {"subnet_id": self.subnet["id"]}))

    def interface(self, verb: str, status: int, **leg: str) -> Any:
        answer = self.demo.call("PUT", f"routers/{self.router['id']}/{verb}_router_interface", leg)
        assert answer.status == status, answer
        return answer.json if status == 200 else answer.json["NeutronError"]["type"]

    def floating(self, **fields: Any) -> Any:
        return self.demo.make("floatingip", floating_network_id=self.public["id"], **fields)


@pytest.fixture
def site(cloud: TestCloud, demo: Neutron) -> Site:
    return Site(cloud, demo)


def test_a_router_has_a_gateway_and_legs(demo: Neutron, site: Site) -> None:
    gateway = site.router["external_gateway_info"]
    assert (gateway["network_id"], gateway["enable_snat"]) == (site.public["id"], True)
    assert gateway["external_fixed_ips"][0]["ip_address"] == "172.24.4.10"
    assert site.leg["subnet_id"] == site.subnet["id"] and site.leg["id"] == site.router["id"]
    (leg,) = demo.get(f"ports?device_id={site.router['id']}&device_owner=network:router_interface")
    assert (leg["fixed_ips"][0]["ip_address"], leg["id"]) == ("10.0.0.1", site.leg["port_id"])
    assert demo.refuse(409, "DELETE", f"ports/{leg['id']}") == "ServicePortInUse"
    assert demo.refuse(409, "DELETE", f"routers/{site.router['id']}") == "RouterInUse"
    site.interface("remove", 200, subnet_id=site.subnet["id"])
    assert site.interface("remove", 404, subnet_id=site.subnet["id"]) == "RouterInterfaceNotFoundForSubnet"
    demo.delete("router", site.router["id"])


def test_a_router_refuses_what_does_not_fit(demo: Neutron, site: Site) -> None:
    assert site.interface("add", 400, subnet_id=site.subnet["id"]) == "BadRequest"
    assert site.interface("add", 400) == "BadRequest"
    twin = demo.make("network")
    assert site.interface("add", 400, subnet_id=demo.subnet(twin, "10.0.0.0/16")["id"]) == "BadRequest"
    closed = demo.subnet(twin, "10.5.0.0/24", gateway_ip=None)
    assert site.interface("add", 400, subnet_id=closed["id"]) == "BadRequest"
    assert site.interface("add", 409, port_id=demo.make("port", network_id=twin["id"], device_id="x")["id"]) == "PortInUse"
    inner = {"router": {"external_gateway_info": {"network_id": twin["id"]}}}
    assert demo.refuse(400, "PUT", f"routers/{site.router['id']}", inner) == "BadRequest"
    rights = {"router": {"external_gateway_info": {"network_id": site.public["id"], "enable_snat": False}}}
    assert demo.refuse(403, "PUT", f"routers/{site.router['id']}", rights) == "PolicyNotAuthorized"


def test_a_leg_may_be_a_port_of_ones_own(demo: Neutron, site: Site) -> None:
    network = demo.make("network")
    demo.subnet(network, "10.6.0.0/24")
    port = demo.make("port", network_id=network["id"], fixed_ips=[{"ip_address": "10.6.0.99"}])
    assert site.attach(port_id=port["id"])["port_id"] == port["id"]
    site.interface("remove", 200, port_id=port["id"])
    assert demo.refuse(404, "GET", f"ports/{port['id']}") == "PortNotFound"


def test_static_routes_are_checked_and_protect_their_leg(demo: Neutron, site: Site) -> None:
    path, id = f"routers/{site.router['id']}", site.router["id"]
    route = {"destination": "10.99.0.0/16", "nexthop": "10.0.0.9"}
    assert demo.change("router", id, routes=[route])["routes"] == [route]
    assert demo.refuse(400, "PUT", path, {"router": {"routes": [{**route, "nexthop": "10.7.0.9"}]}}) == "InvalidRoutes"
    assert site.interface("remove", 409, subnet_id=site.subnet["id"]) == "RouterInterfaceInUseByRoute"
    more = {"destination": "10.98.0.0/16", "nexthop": "10.0.0.8"}
    answer = demo.call("PUT", f"{path}/add_extraroutes", {"router": {"routes": [more]}})
    assert answer.json["router"]["routes"] == [route, more]
    answer = demo.call("PUT", f"{path}/remove_extraroutes", {"router": {"routes": [route]}})
    assert answer.json["router"]["routes"] == [more]


def test_a_floating_ip_follows_its_port(cloud: TestCloud, demo: Neutron, site: Site) -> None:
    floating = site.floating()
    assert (floating["status"], floating["port_id"], floating["floating_ip_address"]) == ("DOWN", None, "172.24.4.11")
    cloud.woken.clear()
    floating = demo.change("floatingip", floating["id"], port_id=site.port["id"])
    assert (floating["fixed_ip_address"], floating["router_id"]) == ("10.0.0.3", site.router["id"])
    assert cloud.woken == [("routing", site.router["id"])]
    assert floating["port_details"]["network_id"] == site.network["id"]
    twin = {"floatingip": {"floating_network_id": site.public["id"], "port_id": site.port["id"]}}
    assert demo.refuse(409, "POST", "floatingips", twin) == "FloatingIPPortAlreadyAssociated"
    assert site.interface("remove", 409, subnet_id=site.subnet["id"]) == "RouterInterfaceInUseByFloatingIP"
    nothing = {"router": {"external_gateway_info": None}}
    assert demo.refuse(409, "PUT", f"routers/{site.router['id']}", nothing) == "RouterExternalGatewayInUseByFloatingIp"
    demo.delete("port", site.port["id"])
    floating = demo.get(f"floatingips/{floating['id']}")
    assert (floating["port_id"], floating["router_id"], floating["status"]) == (None, None, "DOWN")
    demo.delete("floatingip", floating["id"])
    assert demo.change("router", site.router["id"], external_gateway_info={})["external_gateway_info"] is None


def test_a_floating_ip_needs_a_way_to_its_port(cloud: TestCloud, demo: Neutron, site: Site) -> None:
    alone = demo.make("network")
    demo.subnet(alone, "10.7.0.0/24")
    port = demo.make("port", network_id=alone["id"])
    body = {"floatingip": {"floating_network_id": site.public["id"], "port_id": port["id"]}}
    assert demo.refuse(404, "POST", "floatingips", body) == "ExternalGatewayForFloatingIPNotFound"
    inner = {"floatingip": {"floating_network_id": alone["id"]}}
    assert demo.refuse(400, "POST", "floatingips", inner) == "BadRequest"
    chosen = {"floatingip": {"floating_network_id": site.public["id"], "floating_ip_address": "172.24.4.99"}}
    assert demo.refuse(403, "POST", "floatingips", chosen) == "PolicyNotAuthorized"
    made = Neutron(cloud, "admin").make("floatingip", **chosen["floatingip"])
    assert made["floating_ip_address"] == "172.24.4.99"
    assert len(demo.get("ports")) == 5, "what was refused left no port"


def test_the_domain_of_a_site_has_all_of_it(cloud: TestCloud, demo: Neutron, site: Site) -> None:
    floating = site.floating(port_id=site.port["id"])
    cloud.write(lambda tx: HOSTS.insert(tx, Host(id="h", name="h", number=1, service_id="s")))
    demo.change("port", site.port["id"], device_id="server")
    cloud.write(lambda tx: bind_ports(tx, "server", "h"))
    (domain,) = cloud.run(all_domains(cloud.db, "h"))
    (router,) = domain.routers
    assert domain.id == site.router["id"] and router.gateway is not None
    assert (router.gateway.uplink, router.gateway.addresses, router.gateway.gateways) == ("public", ["172.24.4.10/24"], ["172.24.4.1"])
    assert [(one.floating_ip, one.fixed_ip) for one in router.floating] == [(floating["floating_ip_address"], "10.0.0.3")]
    (uplink,) = domain.uplinks
    assert (uplink.name, uplink.addresses, uplink.masquerade, uplink.interface) == ("public", ["172.24.4.1/24"], True, None)
    assert domain.networks[0].subnets[0].gateway_here and domain.ports[0].guest_id == "server"
    admin = Neutron(cloud, "admin")
    assert {one["agent_type"] for one in admin.get("agents")} == {"DHCP agent", "L3 agent", "Linux bridge agent", "Metadata agent"}
    (agent,) = admin.get(f"routers/{site.router['id']}/l3-agents")
    assert [one["id"] for one in admin.get(f"agents/{agent['id']}/l3-routers")] == [site.router["id"]]
    assert [one["agent_type"] for one in admin.get(f"networks/{site.network['id']}/dhcp-agents")] == ["DHCP agent"]
    assert {one["name"] for one in demo.get("availability_zones")} == {"nova"}
    counted = admin.get(f"network-ip-availabilities/{site.network['id']}")
    assert (counted["total_ips"], counted["used_ips"]) == (253, 3)
