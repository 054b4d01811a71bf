"""Ports and security groups through the API."""

from typing import Any

import pytest

from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron


@pytest.fixture
def demo(cloud: TestCloud) -> Neutron:
    return Neutron(cloud)


@pytest.fixture
def network(demo: Neutron) -> Any:
    found = demo.make("network")
    demo.subnet(found)
    return found


def addresses(port: Any) -> list[str]:
    return [one["ip_address"] for one in port["fixed_ips"]]


def test_a_port_gets_address_mac_and_default_group(cloud: TestCloud, demo: Neutron, network: Any) -> None:
    port = demo.make("port", network_id=network["id"], name="web")
    assert addresses(port) == ["10.0.0.3"] and port["mac_address"].startswith("fa:16:3e:") and port["status"] == "DOWN"
    (group,) = demo.get("security-groups?name=default")
    assert port["security_groups"] == [group["id"]]
    assert port["dns_assignment"] == [{"hostname": "host-10-0-0-3", "ip_address": "10.0.0.3", "fqdn": "host-10-0-0-3.openstacklocal."}]
    assert "binding:host_id" not in port and port["binding:vnic_type"] == "normal"
    assert Neutron(cloud, "admin").get(f"ports/{port['id']}")["binding:vif_type"] == "unbound"
    assert ("routing", network["id"]) in cloud.woken


def test_addresses_are_chosen_kept_and_changed(demo: Neutron, network: Any) -> None:
    (subnet,) = demo.get("subnets")
    port = demo.make("port", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.9"}, {"subnet_id": subnet["id"]}])
    assert addresses(port) == ["10.0.0.9", "10.0.0.3"]
    port = demo.change("port", port["id"], fixed_ips=[{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.20"}])
    assert addresses(port) == ["10.0.0.9", "10.0.0.20"]
    body = {"port": {"network_id": network["id"], "fixed_ips": [{"ip_address": "10.0.0.9"}]}}
    assert demo.refuse(409, "POST", "ports", body) == "IpAddressAlreadyAllocated"
    body = {"port": {"network_id": network["id"], "fixed_ips": [{"ip_address": "10.7.0.9"}]}}
    assert demo.refuse(400, "POST", "ports", body) == "InvalidIpForNetwork"
    assert addresses(demo.change("port", port["id"], fixed_ips=[])) == []


def test_ports_are_found_by_their_addresses(demo: Neutron, network: Any) -> None:
    (subnet,) = demo.get("subnets")
    one = demo.make("port", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.77"}])
    demo.make("port", network_id=network["id"])
    assert [port["id"] for port in demo.get("ports?fixed_ips=ip_address=10.0.0.77")] == [one["id"]]
    assert [port["id"] for port in demo.get("ports?fixed_ips=ip_address_substr=0.77")] == [one["id"]]
    assert len(demo.get(f"ports?fixed_ips=subnet_id={subnet['id']}")) == 3
    assert [port["id"] for port in demo.get(f"ports?mac_address={one['mac_address'].upper()}")] == [one["id"]]


def test_ipv6_addresses_are_made_of_the_mac(demo: Neutron, network: Any) -> None:
    before = demo.make("port", network_id=network["id"], mac_address="fa:16:3e:00:00:01")
    demo.subnet(network, "fd00::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    assert addresses(demo.get(f"ports/{before['id']}")) == ["10.0.0.3", "fd00::f816:3eff:fe00:1"]
    after = demo.make("port", network_id=network["id"], mac_address="fa:16:3e:00:00:02")
    assert addresses(after)[1] == "fd00::f816:3eff:fe00:2"
    (six,) = demo.get("subnets?ip_version=6")
    body = {"port": {"network_id": network["id"], "fixed_ips": [{"subnet_id": six["id"], "ip_address": "fd00::5"}]}}
    assert demo.refuse(400, "POST", "ports", body) == "AllocationOnAutoAddressSubnet"


def test_a_port_without_security_has_no_groups(demo: Neutron, network: Any) -> None:
    port = demo.make("port", network_id=network["id"], port_security_enabled=False)
    assert (port["security_groups"], port["port_security_enabled"]) == ([], False)
    (group,) = demo.get("security-groups")
    body = {"port": {"network_id": network["id"], "port_security_enabled": False, "security_groups": [group["id"]]}}
    assert demo.refuse(400, "POST", "ports", body) == "PortSecurityAndIPRequiredForSecurityGroups"
    pairs = {"port": {"allowed_address_pairs": [{"ip_address": "10.0.0.200"}]}}
    assert demo.refuse(409, "PUT", f"ports/{port['id']}", pairs) == "AddressPairAndPortSecurityRequired"


def test_pairs_options_and_names_are_kept(demo: Neutron, network: Any) -> None:
    port = demo.make(
        "port", network_id=network["id"], dns_name="web", allowed_address_pairs=[{"ip_address": "10.0.0.200"}],
        extra_dhcp_opts=[{"opt_name": "bootfile-name", "opt_value": "pxelinux.0"}],
    )  # fmt: skip
    assert port["allowed_address_pairs"] == [{"ip_address": "10.0.0.200", "mac_address": port["mac_address"]}]
    assert port["extra_dhcp_opts"] == [{"opt_name": "bootfile-name", "opt_value": "pxelinux.0", "ip_version": 4}]
    assert port["dns_assignment"][0]["fqdn"] == "web.openstacklocal."
    assert demo.change("port", port["id"], extra_dhcp_opts=[{"opt_name": "bootfile-name", "opt_value": None}])["extra_dhcp_opts"] == []


def test_on_a_shared_network_a_guest_of_it_may_less(cloud: TestCloud, demo: Neutron) -> None:
    admin = Neutron(cloud, "admin")
    shared = admin.make("network", shared=True)
    subnet = admin.subnet(shared)
    for fields in (
        {"mac_address": "fa:16:3e:00:00:09"},
        {"fixed_ips": [{"ip_address": "10.0.0.50"}]},
        {"port_security_enabled": False},
        {"device_owner": "network:dhcp"},
        {"binding:host_id": "h"},
    ):
        assert demo.refuse(403, "POST", "ports", {"port": {"network_id": shared["id"], **fields}}) == "PolicyNotAuthorized", fields
    port = demo.make("port", network_id=shared["id"], fixed_ips=[{"subnet_id": subnet["id"]}])
    assert port["id"] in {one["id"] for one in admin.get("ports")}
    assert [one["id"] for one in demo.get("ports")] == [port["id"]]


def test_a_network_that_is_full_says_so(demo: Neutron) -> None:
    network = demo.make("network")
    demo.subnet(network, "10.3.0.0/30", enable_dhcp=False)
    demo.make("port", network_id=network["id"])
    assert demo.refuse(409, "POST", "ports", {"port": {"network_id": network["id"]}}) == "IpAddressGenerationFailure"


def test_the_default_group_is_there_and_stays(demo: Neutron) -> None:
    (group,) = demo.get("security-groups")
    assert group["name"] == "default" and len(group["security_group_rules"]) == 4
    assert demo.refuse(409, "DELETE", f"security-groups/{group['id']}") == "SecurityGroupCannotRemoveDefault"
    assert demo.refuse(409, "POST", "security-groups", {"security_group": {"name": "default"}}) == "SecurityGroupDefaultAlreadyExists"


def test_a_group_in_use_stays(demo: Neutron, network: Any) -> None:
    group = demo.make("security_group", name="web", description="http")
    assert sorted(one["ethertype"] for one in group["security_group_rules"]) == ["IPv4", "IPv6"]
    port = demo.make("port", network_id=network["id"], security_groups=[group["id"]])
    assert demo.refuse(409, "DELETE", f"security-groups/{group['id']}") == "SecurityGroupInUse"
    demo.change("port", port["id"], security_groups=[])
    demo.delete("security_group", group["id"])
    body = {"port": {"security_groups": [group["id"]]}}
    assert demo.refuse(404, "PUT", f"ports/{port['id']}", body) == "SecurityGroupNotFound"


def test_a_rule_is_made_once_and_wakes_the_networks_of_its_group(cloud: TestCloud, demo: Neutron, network: Any) -> None:
    group = demo.make("security_group", name="web")
    demo.make("port", network_id=network["id"], security_groups=[group["id"]])
    cloud.woken.clear()
    fields = {"security_group_id": group["id"], "direction": "ingress", "protocol": "TCP", "port_range_min": 80, "port_range_max": 81}
    rule = demo.make("security_group_rule", **fields, remote_ip_prefix="192.0.2.7")
    assert (rule["protocol"], rule["remote_ip_prefix"], rule["ethertype"]) == ("tcp", "192.0.2.7/32", "IPv4")
    assert cloud.woken == [("routing", network["id"])]
    body = {"security_group_rule": {**fields, "remote_ip_prefix": "192.0.2.7/32"}}
    assert demo.refuse(409, "POST", "security-group-rules", body) == "SecurityGroupRuleExists"
    assert rule["id"] in {one["id"] for one in demo.get(f"security-group-rules?security_group_id={group['id']}&direction=ingress")}
    demo.delete("security_group_rule", rule["id"])


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"protocol": "bogus"}, 400, "HTTPBadRequest"),
        ({"protocol": "256"}, 400, "HTTPBadRequest"),
        ({"port_range_min": 22, "port_range_max": 22}, 400, "SecurityGroupProtocolRequiredWithPorts"),
        ({"protocol": "tcp", "port_range_min": 30, "port_range_max": 22}, 400, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_range_min": 70000, "port_range_max": 70000}, 400, "SecurityGroupInvalidPortValue"),
        ({"protocol": "icmp", "port_range_min": 300}, 400, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmp", "port_range_min": -1, "port_range_max": 25}, 400, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmp", "port_range_max": 0}, 400, "SecurityGroupMissingIcmpType"),
        ({"remote_ip_prefix": "fd00::/8"}, 400, "SecurityGroupRuleParameterConflict"),
        ({"direction": "sideways"}, 400, "HTTPBadRequest"),
        ({"security_group_id": "00000000-0000-0000-0000-000000000000"}, 404, "SecurityGroupNotFound"),
    ],
)
def test_a_rule_that_is_wrong_is_refused(demo: Neutron, fields: dict[str, object], status: int, kind: str) -> None:
    (group,) = demo.get("security-groups")
    body = {"security_group_id": group["id"], "direction": "ingress", **fields}
    assert demo.refuse(status, "POST", "security-group-rules", {"security_group_rule": body}) == kind
