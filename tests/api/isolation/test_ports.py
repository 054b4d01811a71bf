"""A port that a tenant makes can't reach into another's router, server or network."""

from typing import Any

import pytest

from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron


class Two:
    """Project demo with a router, a server and a shared network, and another project with a network of its own."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        self.compute = Compute(cloud)
        self.server = self.compute.running()
        self.demo = Neutron(cloud)
        self.other = Neutron(cloud, "other_project_member")
        self.router = self.demo.make("router")
        self.network = self.other.make("network")
        self.other.subnet(self.network, "10.66.0.0/24")
        self.shared = self.demo.make("network", name="shared")
        self.subnet = self.demo.subnet(self.shared, "10.77.0.0/24")
        policy = {"object_type": "network", "object_id": self.shared["id"], "action": "access_as_shared"}
        self.demo.make("rbac_policy", **policy, target_tenant=cloud.project_id("other"))

    def port(self, **fields: Any) -> Any:
        return self.other.call("POST", "ports", {"port": {"network_id": self.network["id"], **fields}})


@pytest.fixture
def two(cloud: TestCloud) -> Two:
    return Two(cloud)


@pytest.mark.parametrize("owner", ["network:router_interface", "network:router_gateway", "network:floatingip"])
def test_a_port_does_not_become_a_leg_of_anothers_router(owner: str, two: Two) -> None:
    assert two.port(device_owner=owner, device_id=two.router["id"]).status == 403
    port = two.other.make("port", network_id=two.network["id"])
    for fields in ({"device_owner": owner, "device_id": two.router["id"]}, {"device_owner": owner}, {"device_id": two.router["id"]}):
        assert two.other.call("PUT", f"ports/{port['id']}", {"port": fields}).status in (403, 409)


def test_a_port_is_not_plugged_into_anothers_server(two: Two) -> None:
    assert two.port(device_owner="compute:nova", device_id=two.server).status == 409
    port = two.other.make("port", network_id=two.network["id"])
    assert two.other.call("PUT", f"ports/{port['id']}", {"port": {"device_id": two.server}}).status == 409
    assert two.compute.show(two.server)["addresses"].keys() == {"private"}


def test_a_routers_leg_on_a_shared_network_does_not_become_an_unfiltered_port_of_a_guest(two: Two) -> None:
    port = two.other.make("port", network_id=two.shared["id"])
    router = two.other.make("router")
    assert two.other.call("PUT", f"routers/{router['id']}/add_router_interface", {"port_id": port["id"]}).status == 200
    path = f"ports/{port['id']}"
    assert two.other.call("PUT", path, {"port": {"device_owner": "compute:nova"}}).status == 409
    assert two.other.call("PUT", path, {"port": {"device_owner": ""}}).status == 409
    assert two.other.call("PUT", path, {"port": {"device_id": ""}}).status == 409


def test_on_a_shared_network_a_guest_keeps_to_the_addresses_that_it_was_given(two: Two) -> None:
    for fields in (
        {"port_security_enabled": False}, {"mac_address": "fa:16:3e:01:02:03"}, {"fixed_ips": [{"ip_address": "10.77.0.1"}]},
        {"allowed_address_pairs": [{"ip_address": "10.77.0.0/24"}]}, {"device_owner": "network:dhcp"}, {"binding:host_id": "one"},
    ):  # fmt: skip
        assert two.port(network_id=two.shared["id"], **fields).status == 403, fields
    port = two.other.make("port", network_id=two.shared["id"])
    for fields in ({"port_security_enabled": False}, {"allowed_address_pairs": [{"ip_address": "10.77.0.0/24"}]}):
        assert two.other.call("PUT", f"ports/{port['id']}", {"port": fields}).status == 403, fields


def test_ids_of_another_project_do_not_work_inside_bodies(two: Two) -> None:
    private = two.compute.network
    group = two.demo.make("security_group", name="mine")
    port = two.demo.make("port", network_id=private)
    leg = two.demo.get(f"subnets?network_id={private}")[0]
    own = two.other.make("security_group", name="own")
    mine = two.other.make("port", network_id=two.network["id"])
    router = two.other.make("router")
    rule = {"security_group_id": own["id"], "direction": "ingress"}
    tries: list[tuple[str, str, Any]] = [
        ("POST", "ports", {"port": {"network_id": private}}),
        ("POST", "subnets", {"subnet": {"network_id": private, "cidr": "10.9.0.0/24", "ip_version": 4}}),
        ("POST", "ports", {"port": {"network_id": two.network["id"], "security_groups": [group["id"]]}}),
        ("PUT", f"ports/{mine['id']}", {"port": {"security_groups": [group["id"]]}}),
        ("POST", "ports", {"port": {"network_id": two.network["id"], "fixed_ips": [{"subnet_id": leg["id"]}]}}),
        ("POST", "security-group-rules", {"security_group_rule": {**rule, "remote_group_id": group["id"]}}),
        ("POST", "security-group-rules", {"security_group_rule": {**rule, "security_group_id": group["id"]}}),
        ("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": leg["id"]}),
        ("PUT", f"routers/{router['id']}/add_router_interface", {"port_id": port["id"]}),
        ("PUT", f"routers/{router['id']}", {"router": {"external_gateway_info": {"network_id": private}}}),
        ("POST", "floatingips", {"floatingip": {"floating_network_id": private}}),
        ("POST", "rbac-policies", {"rbac_policy": {
            "object_type": "network", "object_id": private, "action": "access_as_shared", "target_tenant": two.cloud.project_id("other")}}),
        *(
            ("POST", Neutron.path(kind), {kind: {"name": "x", name: two.cloud.project_id(), **more}})
            for name in ("project_id", "tenant_id")
            for kind, more in (
                ("network", {}), ("router", {}), ("security_group", {}), ("port", {"network_id": two.network["id"]}),
                ("subnet", {"network_id": two.network["id"], "cidr": "10.9.0.0/24", "ip_version": 4}),
            )
        ),
    ]  # fmt: skip
    taken = [f"{method} {path} {body}: {one}" for method, path, body in tries if (one := two.other.call(method, path, body)).status < 400]
    assert not taken, "\n".join(taken)
