"""What a guest may learn of itself."""

import base64
import json

from pileus.core.metadata import Facts, documents
from pileus.model.ports import FixedIp, ServerPort
from pileus.model.servers import Server, ServerFlavor
from pileus.model.subnets import HostRoute, Pool, Subnet

FLAVOR = ServerFlavor(id="1", name="m1.tiny", vcpus=1, ram=512, disk=1)
SERVER = Server(
    id="11111111-2222-3333-4444-555555555555", project_id="p", user_id="u", name="Web 1", hostname="web-1", flavor=FLAVOR, vcpus=1,
    memory_mib=512,
    metadata={"role": "web"},
    key_name="mine", public_key="ssh-ed25519 AAAA me", user_data=base64.b64encode(b"#!/bin/sh\n").decode(),
    personality={"/etc/motd": base64.b64encode(b"hello").decode()}, reservation_id="r-1", image_id="i",
)  # fmt: skip
V4 = Subnet(
    id="s4", project_id="p", network_id="n", cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1", dns_nameservers=["9.9.9.9"],
    enable_dhcp=False, allocation_pools=[Pool(start="10.0.0.2", end="10.0.0.9")],
    host_routes=[HostRoute(destination="10.9.0.0/16", nexthop="10.0.0.2")],
)  # fmt: skip
V6 = Subnet(id="s6", project_id="p", network_id="n", cidr="fd00::/64", ip_version=6, ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
PORT = ServerPort(
    id="99999999-2222-3333-4444-555555555555", server_id=SERVER.id, network_id="n", network_name="net", mac_address="fa:16:3e:00:00:01",
    status="ACTIVE", mtu=1450, fixed_ips=[FixedIp(subnet_id="s4", ip_address="10.0.0.5"), FixedIp(subnet_id="s6", ip_address="fd00::5")],
    floating_ips=[("10.0.0.5", "172.24.4.9")],
)  # fmt: skip
FACTS = Facts(server=SERVER, ports=[PORT], subnets={"s4": V4, "s6": V6}, groups=["default"], password="secret", tags={PORT.id: "front"})


def test_the_openstack_document_names_the_server_its_key_and_its_devices() -> None:
    found = json.loads(documents(FACTS)["openstack/latest/meta_data.json"])
    assert found["uuid"] == SERVER.id
    assert found["name"] == "Web 1"
    assert found["hostname"] == "web-1"
    assert found["meta"] == {"role": "web"}
    assert found["public_keys"] == {"mine": "ssh-ed25519 AAAA me"}
    assert found["admin_pass"] == "secret"
    assert found["devices"] == [{"type": "nic", "mac": "fa:16:3e:00:00:01", "tags": ["front"]}]


def test_files_of_old_requests_are_listed_and_there() -> None:
    found = documents(FACTS)
    assert json.loads(found["openstack/latest/meta_data.json"])["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
    assert found["openstack/content/0000"] == "hello"


def test_the_network_is_described_with_its_routes_and_name_servers() -> None:
    found = json.loads(documents(FACTS)["openstack/latest/network_data.json"])
    assert found["links"][0]["ethernet_mac_address"] == "fa:16:3e:00:00:01"
    v4, v6 = found["networks"]
    assert (v4["type"], v4["ip_address"], v4["netmask"]) == ("ipv4", "10.0.0.5", "255.255.255.0")
    assert v4["routes"][0] == {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}
    assert {"network": "10.9.0.0", "netmask": "255.255.0.0", "gateway": "10.0.0.2"} in v4["routes"]
    assert v6["type"] == "ipv6_slaac"
    assert found["services"] == [{"type": "dns", "address": "9.9.9.9"}]


def test_ec2_documents_have_addresses_and_the_key() -> None:
    found = documents(FACTS)
    assert found["2009-04-04/meta-data/local-ipv4"] == "10.0.0.5"
    assert found["latest/meta-data/public-ipv4"] == "172.24.4.9"
    assert found["latest/meta-data/public-keys/0/openssh-key"] == "ssh-ed25519 AAAA me"
    assert found["latest/user-data"] == "#!/bin/sh\n"
    assert found["openstack/latest/user_data"] == "#!/bin/sh\n"


def test_a_server_without_user_data_has_no_such_document() -> None:
    bare = Facts(server=Server(id="x", project_id="p", user_id="u", name="n", hostname="n", flavor=FLAVOR, vcpus=1, memory_mib=512))
    assert not [path for path in documents(bare) if "user" in path]


def test_a_certificate_is_a_key_of_its_own_type() -> None:
    server = Server(
        id="x", project_id="p", user_id="u", name="n", hostname="n", flavor=FLAVOR, vcpus=1, memory_mib=512, key_name="c",
        public_key="-----BEGIN CERTIFICATE-----\n",
    )  # fmt: skip
    assert json.loads(documents(Facts(server=server))["openstack/latest/meta_data.json"])["keys"][0]["type"] == "x509"
