"""What tenants say of networks: no line for dnsmasq, no rule that stops others' rules, no trusted port, no tag on others' things."""

import re
import shutil
import subprocess
from typing import Any

import pytest

from pileus.core.dnsmasq import instances
from pileus.core.nft import ruleset
from pileus.model.routing import RoutingDomain
from pileus.store.routing import domains_of
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron, outside

LINES = ["1\nserver-ip-address,6.6.6.6", "1\r\ndhcp-script=/bin/sh", "x\nconf-file=/etc/shadow", "a\x0bb", "a\x0cb", "a\x1cb", "a\x85b",
         "a\u2028b", "a\u2029b", "\n", "a\0b", "a\tb", "x" * 256]  # fmt: skip
NAMES = ["bootfile-name\ndhcp-script", "tag:other,1", "1,x", "option:1", "..", "a b", "", "-1", "1\n"]
SHARED = "10.77.0.0/24"


class Shared:
    """A network of demo's that project other may use."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        self.demo, self.other = Neutron(cloud), Neutron(cloud, "other_project_member")
        cloud.grant("other_project_member", "manager", "other")
        self.manager = Neutron(cloud, "other_project_member", None)
        self.manager.token = cloud.token("other_project_member", roles={"manager", "member", "reader"})
        self.network = self.demo.make("network", name="shared")
        self.subnet = self.demo.subnet(self.network, SHARED)
        policy = {"object_type": "network", "object_id": self.network["id"], "action": "access_as_shared"}
        self.demo.make("rbac_policy", **policy, target_tenant=cloud.project_id("other"))


@pytest.fixture
def shared(cloud: TestCloud) -> Shared:
    return Shared(cloud)


def domain(cloud: TestCloud, network: Any) -> RoutingDomain:
    """What a host is told of a network."""
    found = cloud.run(domains_of(cloud.db, [network["id"]], "one"))
    assert len(found) == 1
    return found[0]


def test_a_dhcp_option_adds_no_line_to_dnsmasqs_files(cloud: TestCloud) -> None:
    demo = Neutron(cloud)
    network = demo.make("network")
    demo.subnet(network)
    good = {"opt_name": "bootfile-name", "opt_value": "pxelinux.0"}
    port = demo.make("port", network_id=network["id"], extra_dhcp_opts=[good])
    tried = [{**good, "opt_value": value} for value in LINES] + [{**good, "opt_name": name} for name in NAMES]
    for option in tried:
        for method, path, body in (
            ("POST", "ports", {"port": {"network_id": network["id"], "extra_dhcp_opts": [option]}}),
            ("PUT", f"ports/{port['id']}", {"port": {"extra_dhcp_opts": [option]}}),
        ):
            answer = demo.call(method, path, body)
            assert answer.status in (200, 201, 400), answer
    cloud.write(
        lambda tx: tx.execute("UPDATE ports SET host = 'one', device_owner = 'compute:nova', device_id = id WHERE device_owner = ''")
    )
    made = domain(cloud, network)
    lines = [line for part in instances(made, made.networks[0], []) for line in re.split(r"[\r\n]", part.extra)]
    assert any(lines) and all(line.startswith("tag:port-") for line in lines if line)
    assert not [line for line in lines if "dhcp-script" in line.partition(",")[0] or "conf-file" in line or "6.6.6.6" in line]


@pytest.mark.parametrize("protocol", ["vrrp", "112", "ah", "esp", "gre", "igmp", "ospf", "pgm", "255", "ipip"])
def test_a_rule_with_ports_is_of_a_protocol_that_has_them(protocol: str, cloud: TestCloud) -> None:
    demo = Neutron(cloud)
    group = demo.make("security_group", name="g")
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": protocol, "port_range_min": 1, "port_range_max": 9}
    assert demo.refuse(400, "POST", "security-group-rules", {"security_group_rule": rule}) == "SecurityGroupInvalidProtocolForPort"


def test_any_rules_that_the_api_takes_are_rules_that_the_host_takes(cloud: TestCloud) -> None:
    """Overlapping, nested and equal ranges in several groups of one port, each protocol with and without ports, both families."""
    if not shutil.which("nft"):
        pytest.skip("nft is missing")
    demo = Neutron(cloud)
    network = demo.make("network")
    demo.subnet(network)
    groups = [demo.make("security_group", name=f"g{number}")["id"] for number in range(3)]
    ranges = [(1, 65535), (22, 22), (20, 80), (80, 443), (443, 444), (1, 22), (65535, 65535)]
    taken = 0
    for number, group in enumerate(groups):
        for protocol in ("tcp", "udp", "sctp", "dccp", "udplite", "icmp", "vrrp", "esp", "0", "255", None):
            for low, high in [(None, None), *ranges[number:]]:
                for ethertype in ("IPv4", "IPv6"):
                    rule = {"security_group_id": group, "direction": "ingress", "protocol": protocol, "ethertype": ethertype,
                            "port_range_min": low, "port_range_max": high}  # fmt: skip
                    answer = demo.call("POST", "security-group-rules", {"security_group_rule": rule})
                    assert answer.status in (201, 400, 409), answer
                    taken += answer.status == 201
    assert taken > 60
    compute = Compute(cloud)
    port = demo.make("port", network_id=network["id"], security_groups=groups)
    compute.running(networks=[{"port": port["id"]}])
    cloud.write(lambda tx: tx.execute("UPDATE ports SET host = 'one' WHERE id = ?", port["id"]))
    text = ruleset(domain(cloud, network))
    assert text.count("dport") >= len(ranges) and port["mac_address"] in text
    checked = subprocess.run(["nft", "--check", "--file", "-"], input=text, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr[:2000]


@pytest.mark.parametrize("owner", ["network:dhcp", "network:router_interface", "network:ha_router_replicated_interface",
                                   "network:distributed", "network:floatingip", "network:anything", "network:"])  # fmt: skip
def test_nobody_on_a_shared_network_makes_a_port_that_is_trusted(owner: str, shared: Shared) -> None:
    for who in (shared.other, shared.manager):
        own = who.make("port", network_id=shared.network["id"])
        for method, path, body in (
            ("POST", "ports", {"port": {"network_id": shared.network["id"], "device_owner": owner}}),
            ("PUT", f"ports/{own['id']}", {"port": {"device_owner": owner}}),
        ):
            assert who.call(method, path, body).status == 403, (method, owner)


def test_tags_of_others_things_stay_and_a_reader_changes_none(shared: Shared) -> None:
    cloud, public = shared.cloud, outside(shared.cloud)
    reader = Neutron(cloud, "reader")
    router = shared.demo.make("router")
    port = shared.demo.make("port", network_id=shared.network["id"])
    group = shared.demo.make("security_group", name="mine")
    things = {"networks": shared.network, "subnets": shared.subnet, "ports": port, "routers": router, "security-groups": group}
    for kind, one in things.items():
        shared.demo.call("PUT", f"{kind}/{one['id']}/tags", {"tags": ["mine"]})
        for who, refused in ((shared.other, (403, 404)), (shared.manager, (403, 404)), (reader, (403,))):
            for method, tail, body in (
                ("PUT", "/theirs", None),
                ("PUT", "", {"tags": ["theirs"]}),
                ("DELETE", "", None),
                ("DELETE", "/mine", None),
            ):
                assert who.call(method, f"{kind}/{one['id']}/tags{tail}", body).status in refused, f"{method} {kind}{tail}"
        assert shared.demo.get(f"{kind}/{one['id']}/tags") == ["mine"], kind
    assert shared.other.call("PUT", f"networks/{public['id']}/tags/theirs").status in (403, 404)
    assert Neutron(cloud, "admin").get(f"networks/{public['id']}/tags") == []


def test_a_shared_networks_subnets_are_not_taken_into_a_pool_of_ones_own(shared: Shared) -> None:
    pool = shared.other.make("subnetpool", name="p", prefixes=["10.0.0.0/8"], default_prefixlen=24)
    body = {"network_id": shared.network["id"]}
    assert shared.other.call("PUT", f"subnetpools/{pool['id']}/onboard_network_subnets", body).status in (403, 404, 405, 501)
    change = {"subnet": {"subnetpool_id": pool["id"]}}
    assert shared.other.call("PUT", f"subnets/{shared.subnet['id']}", change).status in (400, 403, 404)
    assert shared.demo.get(f"subnets/{shared.subnet['id']}")["subnetpool_id"] is None


def test_a_port_of_a_kind_that_is_not_there_is_refused(cloud: TestCloud) -> None:
    demo = Neutron(cloud)
    network = demo.make("network")
    port = demo.make("port", network_id=network["id"])
    for kind in (
        "direct",
        "macvtap",
        "direct-physical",
        "baremetal",
        "virtio-forwarder",
        "smart-nic",
        "vdpa",
        "accelerator-direct",
        "none",
    ):
        assert demo.call("PUT", f"ports/{port['id']}", {"port": {"binding:vnic_type": kind}}).status == 400
        assert demo.call("POST", "ports", {"port": {"network_id": network["id"], "binding:vnic_type": kind}}).status == 400
    assert demo.get(f"ports/{port['id']}")["binding:vnic_type"] == "normal"
