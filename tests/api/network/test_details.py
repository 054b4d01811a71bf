"""What is rare but promised: odd bodies, other rights, lists of what is there, a real client."""

import pytest

from pileus.model.hosts import Host
from pileus.store.hosts import HOSTS
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron, outside


@pytest.fixture
def demo(cloud: TestCloud) -> Neutron:
    return Neutron(cloud)


def test_extensions_are_listed_and_shown(demo: Neutron) -> None:
    aliases = {one["alias"] for one in demo.get("extensions")}
    assert {"router", "security-group", "port-security", "dns-integration", "rbac-policies"} <= aliases
    assert not {"qos", "trunk", "dvr", "address-group"} & aliases
    assert demo.get("extensions/router")["alias"] == "router"
    assert demo.refuse(404, "GET", "extensions/trunk") == "HTTPNotFound"


def test_agents_are_found_by_their_fields(cloud: TestCloud) -> None:
    cloud.write(lambda tx: HOSTS.insert(tx, Host(id="h", name="h", number=1, service_id="s")))
    admin = Neutron(cloud, "admin")
    (agent,) = admin.get("agents?agent_type=L3%20agent&host=h")
    assert (agent["alive"], admin.get(f"agents/{agent['id']}")["binary"]) == (False, "neutron-l3-agent")
    assert admin.get("agents?alive=True") == [] == admin.get(f"agents/{agent['id']}/dhcp-networks")
    assert admin.refuse(404, "GET", "agents/none") == "AgentNotFound"
    assert admin.refuse(501, "DELETE", f"agents/{agent['id']}") == "HTTPNotImplemented"


def test_addresses_left_are_counted_for_every_network(cloud: TestCloud, demo: Neutron) -> None:
    network = demo.make("network", name="a")
    demo.subnet(network, "10.0.0.0/28")
    admin = Neutron(cloud, "admin")
    (counted,) = admin.get("network-ip-availabilities?network_name=a")
    assert (counted["total_ips"], counted["used_ips"]) == (13, 1)
    assert admin.get("network-ip-availabilities?network_name=a&ip_version=6") == []


def test_a_quota_that_is_wrong_is_refused(cloud: TestCloud) -> None:
    admin, project = Neutron(cloud, "admin"), cloud.project_id()
    assert admin.refuse(400, "PUT", f"quotas/{project}", {"quota": {"unicorns": 1}}) == "HTTPBadRequest"
    assert admin.refuse(400, "PUT", f"quotas/{project}", {"quota": {"port": "many"}}) == "HTTPBadRequest"
    assert admin.change("quota", project, port=-1)["port"] == -1


def test_a_default_group_keeps_its_name_and_a_stateless_one_is_made(demo: Neutron) -> None:
    (group,) = demo.get("security-groups")
    path = f"security-groups/{group['id']}"
    assert demo.refuse(409, "PUT", path, {"security_group": {"name": "x"}}) == "SecurityGroupCannotUpdateDefault"
    assert demo.change("security_group", group["id"], description="ours")["description"] == "ours"
    assert demo.make("security_group", name="s", stateful=False)["stateful"] is False


def test_a_rule_by_number_for_ipv6_from_a_group(demo: Neutron) -> None:
    (group,) = demo.get("security-groups")
    fields = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "ipv6"}
    rule = demo.make("security_group_rule", **fields, protocol=58, port_range_min=128, remote_group_id=group["id"])
    assert (rule["protocol"], rule["ethertype"], rule["port_range_min"]) == ("58", "IPv6", 128)
    assert demo.change("security_group_rule", rule["id"], description="ping")["description"] == "ping"
    both = {**fields, "remote_group_id": group["id"], "remote_ip_prefix": "fd00::/8"}
    assert demo.refuse(400, "POST", "security-group-rules", {"security_group_rule": both}) == "SecurityGroupMultipleRemoteEntites"
    wrong = {**fields, "ethertype": "IPv4", "protocol": "ipv6-icmp"}
    refused = demo.refuse(400, "POST", "security-group-rules", {"security_group_rule": wrong})
    assert refused == "SecurityGroupEthertypeConflictWithProtocol"


def test_the_gateway_of_a_subnet_stays_while_a_router_holds_it(demo: Neutron) -> None:
    network = demo.make("network")
    subnet = demo.subnet(network)
    router = demo.make("router")
    assert demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}).status == 200
    pools = [{"start": "10.0.0.10", "end": "10.0.0.20"}]
    body = {"subnet": {"gateway_ip": "10.0.0.254", "allocation_pools": pools}}
    assert demo.refuse(409, "PUT", f"subnets/{subnet['id']}", body) == "GatewayIpInUse"
    assert demo.refuse(409, "DELETE", f"subnets/{subnet['id']}") == "SubnetInUse"
    assert demo.change("subnet", subnet["id"], allocation_pools=pools)["allocation_pools"] == pools
    port = demo.make("port", network_id=network["id"])
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.10"


def test_a_subnet_of_an_automatic_prefix_goes_with_its_addresses(demo: Neutron) -> None:
    network = demo.make("network")
    six = demo.subnet(network, "fd00::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    port = demo.make("port", network_id=network["id"])
    assert len(port["fixed_ips"]) == 1
    demo.delete("subnet", six["id"])
    assert demo.get(f"ports/{port['id']}")["fixed_ips"] == []


def test_routers_join_two_ipv6_subnets_of_a_network_by_one_port(demo: Neutron) -> None:
    network, router = demo.make("network"), demo.make("router")
    legs = []
    for cidr in ("fd00:1::/64", "fd00:2::/64"):
        subnet = demo.subnet(network, cidr)
        answer = demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
        legs.append(answer.json)
    assert legs[0]["port_id"] == legs[1]["port_id"]
    assert len(demo.get(f"ports/{legs[0]['port_id']}")["fixed_ips"]) == 2
    answer = demo.call("PUT", f"routers/{router['id']}/remove_router_interface", {"subnet_id": legs[0]["subnet_id"]})
    assert answer.status == 200 and len(demo.get(f"ports/{legs[0]['port_id']}")["fixed_ips"]) == 1


def test_an_external_network_in_use_stays_external(cloud: TestCloud, demo: Neutron) -> None:
    public = outside(cloud)
    router = demo.make("router", external_gateway_info={"network_id": public["id"]})
    admin = Neutron(cloud, "admin")
    assert admin.refuse(409, "PUT", f"networks/{public['id']}", {"network": {"router:external": False}}) == "ExternalNetworkInUse"
    assert admin.refuse(409, "DELETE", f"networks/{public['id']}") == "NetworkInUse"
    closed = admin.change("router", router["id"], external_gateway_info={"network_id": public["id"], "enable_snat": False})
    assert closed["external_gateway_info"]["enable_snat"] is False and closed["external_gateway_info"]["external_fixed_ips"]
    fixed = {"network_id": public["id"], "external_fixed_ips": [{"ip_address": "172.24.4.77"}]}
    moved = admin.change("router", router["id"], external_gateway_info=fixed)["external_gateway_info"]
    assert (moved["external_fixed_ips"][0]["ip_address"], moved["enable_snat"]) == ("172.24.4.77", False)


def test_a_network_is_given_as_external_to_one_project(cloud: TestCloud) -> None:
    admin, other = Neutron(cloud, "admin"), Neutron(cloud, "other_project_member")
    network = admin.make("network", name="way-out")
    admin.subnet(network, "198.51.100.0/24")
    target = cloud.project_id("other")
    grant = {"object_type": "network", "object_id": network["id"], "action": "access_as_external"}
    policy = admin.make("rbac_policy", **grant, target_tenant=target)
    assert admin.refuse(409, "POST", "rbac-policies", {"rbac_policy": {**grant, "target_tenant": target}}) == "DuplicateRbacPolicy"
    assert [one["router:external"] for one in other.get("networks")] == [True]
    router = other.make("router", external_gateway_info={"network_id": network["id"]})
    assert admin.refuse(409, "PUT", f"rbac-policies/{policy['id']}", {"rbac_policy": {"target_tenant": "x"}}) == "RbacPolicyInUse"
    other.delete("router", router["id"])
    admin.change("rbac_policy", policy["id"], target_tenant="x")
    assert other.get("networks") == []
    assert admin.refuse(501, "POST", "rbac-policies", {"rbac_policy": {**grant, "object_type": "qos_policy", "target_tenant": "x"}})


def test_the_sdk_makes_a_site_and_takes_it_away(shared_cloud: TestCloud) -> None:
    pytest.importorskip("openstack", reason="openstacksdk is not installed")
    public = outside(shared_cloud)
    network = shared_cloud.connection().network
    inside = network.create_network(name="inside")
    subnet = network.create_subnet(network_id=inside.id, ip_version=4, cidr="10.0.0.0/24")
    router = network.create_router(name="r", external_gateway_info={"network_id": public["id"]})
    network.add_interface_to_router(router, subnet=subnet.id)
    port = network.create_port(network_id=inside.id, name="web")
    floating = network.create_ip(floating_network_id=public["id"], port_id=port.id)
    assert floating.fixed_ip_address == port.fixed_ips[0]["ip_address"]
    assert [one.name for one in network.ports(network_id=inside.id, name="web", limit=1)] == ["web"]
    network.delete_ip(floating)
    network.remove_interface_from_router(router, subnet=subnet.id)
    for remove, one in ((network.delete_port, port), (network.delete_router, router), (network.delete_network, inside)):
        remove(one, ignore_missing=False)
    assert list(network.networks(name="inside")) == []


def test_who_may_see_no_agents_gets_an_empty_list(cloud: TestCloud, demo: Neutron) -> None:
    cloud.write(lambda tx: HOSTS.insert(tx, Host(id="h", name="h", number=1, service_id="s")))
    assert (demo.get("agents"), len(Neutron(cloud, "admin").get("agents"))) == ([], 4)


def test_a_network_that_no_guest_needs_yet_stands_at_the_host_that_would_be_the_first(cloud: TestCloud, demo: Neutron) -> None:
    cloud.write(lambda tx: HOSTS.insert(tx, Host(id="h", name="h", number=1, service_id="s")))
    network = demo.make("network")
    admin = Neutron(cloud, "admin")
    (agent,) = admin.get(f"networks/{network['id']}/dhcp-agents")
    assert (agent["host"], agent["agent_type"]) == ("h", "DHCP agent")
    assert [one["id"] for one in admin.get(f"agents/{agent['id']}/dhcp-networks")] == [network["id"]]


def test_an_external_network_goes_with_the_floating_ips_that_point_nowhere(cloud: TestCloud, demo: Neutron) -> None:
    public = outside(cloud)
    demo.make("floatingip", floating_network_id=public["id"])
    Neutron(cloud, "admin").delete("network", public["id"])
    assert demo.get("floatingips") == []


def test_no_group_takes_the_default_groups_name_and_a_remote_group_must_be_there(demo: Neutron) -> None:
    group = demo.make("security_group", name="a")
    wrong = {"security_group": {"name": "default"}}
    assert demo.refuse(409, "PUT", f"security-groups/{group['id']}", wrong) == "SecurityGroupDefaultAlreadyExists"
    rule = {"security_group_id": group["id"], "direction": "ingress", "remote_group_id": "none"}
    assert demo.refuse(404, "POST", "security-group-rules", {"security_group_rule": rule}) == "SecurityGroupNotFound"
