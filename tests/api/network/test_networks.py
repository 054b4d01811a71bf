"""Networks and subnets through the API."""

import pytest

from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron, outside


@pytest.fixture
def demo(cloud: TestCloud) -> Neutron:
    return Neutron(cloud)


def test_a_network_is_made_shown_changed_and_removed(cloud: TestCloud, demo: Neutron) -> None:
    network = demo.make("network", name="private")
    assert (network["mtu"], network["status"], network["shared"], network["router:external"]) == (1450, "ACTIVE", False, False)
    assert network["project_id"] == network["tenant_id"] == cloud.project_id()
    assert "provider:network_type" not in network
    assert demo.get(f"networks/{network['id']}") == network
    assert demo.change("network", network["id"], name="other")["revision_number"] == network["revision_number"] + 1
    assert ("routing", network["id"]) in cloud.woken
    demo.delete("network", network["id"])
    assert demo.refuse(404, "GET", f"networks/{network['id']}") == "NetworkNotFound"


def test_an_administrator_sees_what_a_network_is_made_of(cloud: TestCloud) -> None:
    admin = Neutron(cloud, "admin")
    one, two = admin.make("network"), admin.make("network")
    assert (one["provider:network_type"], two["provider:segmentation_id"] - one["provider:segmentation_id"]) == ("vxlan", 1)
    public = outside(cloud)
    assert (public["mtu"], public["provider:physical_network"]) == (1500, "public")
    flat = {"provider:network_type": "flat", "provider:physical_network": "public"}
    assert admin.refuse(409, "POST", "networks", {"network": flat}) == "FlatNetworkInUse"
    assert admin.refuse(400, "POST", "networks", {"network": {**flat, "provider:physical_network": "nowhere"}}) == "InvalidInput"


@pytest.mark.parametrize("name", ["shared", "router:external", "provider:segmentation_id"])
def test_only_an_administrator_may_give_some_attributes(demo: Neutron, name: str) -> None:
    value = 7 if "id" in name else True
    assert demo.refuse(403, "POST", "networks", {"network": {name: value}}) == "PolicyNotAuthorized"


def test_a_body_that_is_wrong_is_told_what_is_wrong(demo: Neutron) -> None:
    for body, words in (
        ({"network": {"nonsense": 1}}, "Unrecognized attribute(s) 'nonsense'"),
        ({"network": {"id": "x"}}, "Attribute 'id' not allowed in POST"),
        ({"network": {"name": 7}}, "Invalid input for name. Reason: '7' is not a valid string."),
        ({"network": {"admin_state_up": "perhaps"}}, "Invalid input for admin_state_up"),
        ({"net": {}}, "Unable to find 'network' in request body"),
        ({"network": {"tenant_id": "other"}}, "requires admin privileges"),
        (["network"], "Resource body required"),
    ):
        answer = demo.call("POST", "networks", body)
        assert answer.status == 400 and words in answer.json["NeutronError"]["message"], answer


def test_many_are_made_or_none(demo: Neutron) -> None:
    answer = demo.call("POST", "networks", {"networks": [{"name": "a"}, {"name": "b"}]})
    assert answer.status == 201 and [one["name"] for one in answer.json["networks"]] == ["a", "b"]
    assert demo.refuse(400, "POST", "networks", {"networks": [{"name": "c"}, {"mtu": 99999}]}) == "HTTPBadRequest"
    assert [one["name"] for one in demo.get("networks")] == ["a", "b"]


def test_a_list_is_filtered_sorted_and_paged(demo: Neutron) -> None:
    for name in "cab":
        demo.make("network", name=name, admin_state_up=name != "a")
    names = lambda path: [one["name"] for one in demo.get(path)]  # noqa: E731
    assert names("networks?sort_key=name") == ["a", "b", "c"]
    assert names("networks?sort_key=name&sort_dir=desc&admin_state_up=True") == ["c", "b"]
    assert names("networks?name=a&name=b&sort_key=name") == ["a", "b"]
    assert demo.get("networks?fields=name&sort_key=name")[0] == {"name": "a"}
    page = demo.get("networks?sort_key=name&limit=2")
    assert [one["name"] for one in page["networks"]] == ["a", "b"]
    following = next(one["href"] for one in page["networks_links"] if one["rel"] == "next")
    page = demo.get(following.split("/v2.0/")[1])
    assert [one["name"] for one in page["networks"]] == ["c"]
    before = next(one["href"] for one in page["networks_links"] if one["rel"] == "previous")
    assert [one["name"] for one in demo.get(before.split("/v2.0/")[1])["networks"]] == ["a", "b"]
    assert demo.refuse(400, "GET", "networks?colour=red") == "HTTPBadRequest"
    assert demo.refuse(400, "GET", "networks?limit=-1") == "HTTPBadRequest"
    assert demo.refuse(400, "GET", "networks?sort_key=subnets") == "HTTPBadRequest"


def test_projects_see_their_own_shared_and_external_networks(cloud: TestCloud, demo: Neutron) -> None:
    other = Neutron(cloud, "other_project_member")
    admin = Neutron(cloud, "admin")
    mine = demo.make("network", name="mine")
    shared = admin.make("network", name="shared", shared=True)
    public = outside(cloud)
    assert {one["name"] for one in other.get("networks")} == {"shared", "public"}
    assert other.refuse(404, "GET", f"networks/{mine['id']}") == "NetworkNotFound"
    assert other.refuse(404, "DELETE", f"networks/{mine['id']}") == "NetworkNotFound"
    assert other.refuse(403, "PUT", f"networks/{shared['id']}", {"network": {"name": "x"}}) == "PolicyNotAuthorized"
    other.make("port", network_id=shared["id"])
    assert other.refuse(403, "POST", "ports", {"port": {"network_id": public["id"]}}) == "PolicyNotAuthorized"
    assert other.refuse(404, "POST", "ports", {"port": {"network_id": mine["id"]}}) == "NetworkNotFound"
    assert admin.refuse(409, "PUT", f"networks/{shared['id']}", {"network": {"shared": False}}) == "InvalidSharedSetting"


def test_a_network_is_given_to_one_project(cloud: TestCloud, demo: Neutron) -> None:
    other = Neutron(cloud, "other_project_member")
    network = demo.make("network", name="mine")
    policy = demo.make(
        "rbac_policy", object_type="network", object_id=network["id"], action="access_as_shared", target_tenant=cloud.project_id("other")
    )
    assert [(one["name"], one["shared"]) for one in other.get("networks")] == [("mine", True)]
    port = other.make("port", network_id=network["id"])
    assert demo.refuse(409, "DELETE", f"rbac-policies/{policy['id']}") == "RbacPolicyInUse"
    demo.delete("port", port["id"])  # the network's owner may
    demo.delete("rbac_policy", policy["id"])
    assert other.get("networks") == []
    everyone = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared", "target_tenant": "*"}
    assert demo.refuse(403, "POST", "rbac-policies", {"rbac_policy": everyone}) == "PolicyNotAuthorized"


def test_a_change_can_name_the_revision_that_it_expects(demo: Neutron) -> None:
    network = demo.make("network")
    seen = f"revision_number={network['revision_number']}"
    path = f"networks/{network['id']}"
    assert demo.call("PUT", path, {"network": {"name": "a"}}, if_match=seen).status == 200
    assert demo.refuse(412, "PUT", path, {"network": {"name": "b"}}, if_match=seen) == "RevisionNumberConstraintFailed"
    assert demo.refuse(412, "DELETE", path, if_match=seen) == "RevisionNumberConstraintFailed"


def test_quota_is_a_conflict_that_names_the_resource(cloud: TestCloud, demo: Neutron) -> None:
    admin, project = Neutron(cloud, "admin"), cloud.project_id()
    admin.change("quota", project, network=1)
    demo.make("network")
    assert demo.refuse(409, "POST", "networks", {"network": {}}) == "OverQuota"
    assert demo.get(f"quotas/{project}")["network"] == 1
    assert demo.get(f"quotas/{project}/details")["network"] == {"limit": 1, "used": 1, "reserved": 0}
    assert demo.refuse(403, "GET", f"quotas/{cloud.project_id('other')}") == "NotAuthorized"
    assert [one["project_id"] for one in admin.get("quotas")] == [project]
    admin.delete("quota", project)
    assert demo.get(f"quotas/{project}/default")["network"] == demo.get(f"quotas/{project}")["network"] == 100


def test_a_subnet_works_out_its_gateway_and_pools(demo: Neutron) -> None:
    network = demo.make("network")
    subnet = demo.subnet(network)
    assert (subnet["gateway_ip"], subnet["allocation_pools"]) == ("10.0.0.1", [{"start": "10.0.0.2", "end": "10.0.0.254"}])
    assert demo.get(f"networks/{network['id']}")["subnets"] == [subnet["id"]]
    middle = demo.subnet(network, "10.1.0.0/24", gateway_ip="10.1.0.9")
    assert [one["start"] for one in middle["allocation_pools"]] == ["10.1.0.1", "10.1.0.10"]
    bare = demo.subnet(network, "10.2.0.0/24", gateway_ip=None, enable_dhcp=False)
    assert (bare["gateway_ip"], bare["allocation_pools"][0]["start"]) == (None, "10.2.0.1")
    six = demo.subnet(network, "fd00:1::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    assert (six["gateway_ip"], six["ipv6_address_mode"]) == ("fd00:1::1", "slaac")


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"cidr": "10.0.0.5/24"}, 400, "HTTPBadRequest"),
        ({"cidr": "fd00::/64"}, 400, "InvalidInput"),
        ({"gateway_ip": "10.0.0.255"}, 400, "InvalidInput"),
        ({"gateway_ip": "10.0.0.255"}, 400, "InvalidInput"),
        ({"allocation_pools": [{"start": "10.0.0.20", "end": "10.0.0.10"}]}, 400, "InvalidAllocationPool"),
        ({"allocation_pools": [{"start": "10.0.0.20", "end": "10.0.1.10"}]}, 400, "OutOfBoundsAllocationPool"),
        ({"allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}]}, 409, "GatewayConflictWithAllocationPools"),
        ({"allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}, {"start": "10.0.0.9", "end": "10.0.0.10"}]}, 409,
         "OverlappingAllocationPools"),
        ({"ipv6_ra_mode": "slaac"}, 400, "InvalidInput"),
        ({"dns_nameservers": ["nowhere"]}, 400, "HTTPBadRequest"),
        ({"host_routes": [{"destination": "10.8.0.0/16"}]}, 400, "HTTPBadRequest"),
        ({"ip_version": 5}, 400, "HTTPBadRequest"),
    ],
)  # fmt: skip
def test_a_subnet_that_is_wrong_is_refused(demo: Neutron, fields: dict[str, object], status: int, kind: str) -> None:
    network = demo.make("network")
    body = {"network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4, **fields}
    assert demo.refuse(status, "POST", "subnets", {"subnet": body}) == kind


def test_subnets_of_a_network_do_not_overlap(demo: Neutron) -> None:
    network = demo.make("network")
    demo.subnet(network)
    body = {"network_id": network["id"], "cidr": "10.0.0.128/25", "ip_version": 4}
    assert demo.refuse(400, "POST", "subnets", {"subnet": body}) == "InvalidInput"
    demo.subnet(demo.make("network"))


def test_a_subnet_in_use_stays(demo: Neutron) -> None:
    network = demo.make("network")
    subnet = demo.subnet(network)
    port = demo.make("port", network_id=network["id"])
    assert demo.refuse(409, "DELETE", f"subnets/{subnet['id']}") == "SubnetInUse"
    assert demo.refuse(409, "DELETE", f"networks/{network['id']}") == "NetworkInUse"
    demo.delete("port", port["id"])
    demo.delete("subnet", subnet["id"])
    assert demo.get("ports") == []
    demo.subnet(network)
    demo.delete("network", network["id"])
    assert demo.get("subnets") == []


def test_dhcp_takes_an_address_while_it_is_on(demo: Neutron) -> None:
    network = demo.make("network")
    subnet = demo.subnet(network)
    (dhcp,) = demo.get(f"ports?device_owner=network:dhcp&network_id={network['id']}")
    assert dhcp["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.2"}]
    demo.change("subnet", subnet["id"], enable_dhcp=False)
    assert demo.get("ports") == []


def test_tags_are_set_and_found(demo: Neutron) -> None:
    network = demo.make("network", name="a", tags=["blue"])
    demo.make("network", name="b")
    path = f"networks/{network['id']}/tags"
    assert demo.call("PUT", path, {"tags": ["red", "blue"]}).json == {"tags": ["blue", "red"]}
    assert demo.call("PUT", f"{path}/green").status == 201
    assert demo.call("GET", f"{path}/green").status == 204
    for query, names in (
        ("tags=red,blue", ["a"]),
        ("tags=red,grey", []),
        ("tags-any=red,grey", ["a"]),
        ("not-tags=red", ["b"]),
        ("not-tags-any=grey", ["a", "b"]),
    ):
        assert [one["name"] for one in demo.get(f"networks?{query}&sort_key=name")] == names, query
    assert demo.call("DELETE", f"{path}/red").status == 204
    assert demo.refuse(404, "DELETE", f"{path}/red") == "TagNotFound"
    assert demo.call("DELETE", path).status == 204
    assert demo.get(f"networks/{network['id']}")["tags"] == []


def test_what_is_not_there_says_so(demo: Neutron) -> None:
    assert demo.refuse(501, "GET", "address-scopes") == "HTTPNotImplemented"
    assert demo.refuse(501, "POST", "qos/policies", {"policy": {}}) == "HTTPNotImplemented"


def test_discovery_needs_no_token(cloud: TestCloud) -> None:
    answer = cloud.call("GET", "/network/")
    assert answer.json["versions"][0]["links"][0]["href"] == "http://cloud.test/network/v2.0/"
    names = {one["name"] for one in cloud.call("GET", "/network/v2.0/").json["resources"]}
    assert {"network", "port", "security_group"} <= names


def test_a_topology_is_made_on_demand(cloud: TestCloud, demo: Neutron) -> None:
    assert demo.refuse(409, "GET", "auto-allocated-topology/null") == "AutoAllocationFailure"
    Neutron(cloud, "admin").change("network", outside(cloud)["id"], is_default=True)
    assert demo.get("auto-allocated-topology/null?fields=dry-run")["id"] == "dry-run=pass"
    first = demo.get("auto-allocated-topology/null")
    assert demo.get("auto-allocated-topology/null") == first
    assert demo.get(f"networks/{first['id']}")["name"] == "auto_allocated_network"
    assert demo.call("DELETE", "auto-allocated-topology/null").status == 204
    assert demo.get("routers") == []


def test_a_gateway_may_lie_outside_its_subnet(demo: Neutron) -> None:
    network = demo.make("network")
    subnet = demo.subnet(network, "10.5.0.0/24", gateway_ip="192.168.7.1")
    assert (subnet["gateway_ip"], subnet["allocation_pools"]) == ("192.168.7.1", [{"start": "10.5.0.1", "end": "10.5.0.254"}])
    assert demo.change("subnet", subnet["id"], gateway_ip="10.10.11.1")["gateway_ip"] == "10.10.11.1"
    router = demo.make("router")
    demo.refuse(400, "PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    for edge in ("10.5.0.0", "10.5.0.255"):
        demo.refuse(400, "PUT", f"subnets/{subnet['id']}", {"subnet": {"gateway_ip": edge}})


def test_a_gateway_to_the_outside_lies_in_its_subnet(cloud: TestCloud) -> None:
    admin = Neutron(cloud, "admin")
    body = {"subnet": {"network_id": outside(cloud)["id"], "ip_version": 4, "cidr": "203.0.113.0/24", "gateway_ip": "10.10.11.1"}}
    assert admin.refuse(400, "POST", "subnets", body) == "InvalidInput"


def test_routers_have_one_provider(demo: Neutron) -> None:
    assert [one["service_type"] for one in demo.get("service-providers")] == ["L3_ROUTER_NAT"]
    demo.refuse(501, "GET", "service_profiles")
