"""Text of tenants that ends in files and command lines of the host: it can't say more there than what it is."""

from typing import Any

import msgspec
import pytest

from pileus.core.dnsmasq import instances
from pileus.core.nft import ruleset
from pileus.core.qemu_argv import Launch, qemu_argv
from pileus.model.errors import Invalid
from pileus.model.guests import Guest
from pileus.model.routing import DomainNetwork, DomainPort, DomainSubnet, RoutingDomain
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron

ZONE = "fd00::9%x\nconf-script=id #"
"""Python's ipaddress takes an IPv6 address with a zone, and any text as a zone."""


@pytest.mark.parametrize("text", [ZONE, "fe80::1%eth0", "fd00::9%x } ; flush ruleset ;"])
def test_an_address_with_a_zone_is_refused_wherever_one_may_stand(text: str, cloud: TestCloud) -> None:
    demo = Neutron(cloud)
    network = demo.make("network")
    subnet = demo.subnet(network, "fd00::/64")
    router = demo.make("router")
    group = demo.make("security_group", name="mine")
    port = demo.make("port", network_id=network["id"])
    new = {"network_id": network["id"], "cidr": "fd01::/64", "ip_version": 6}
    tries: list[tuple[str, str, Any]] = [
        ("POST", "ports", {"port": {"network_id": network["id"], "fixed_ips": [{"ip_address": text}]}}),
        ("PUT", f"ports/{port['id']}", {"port": {"fixed_ips": [{"ip_address": text, "subnet_id": subnet["id"]}]}}),
        ("PUT", f"ports/{port['id']}", {"port": {"allowed_address_pairs": [{"ip_address": text}]}}),
        ("PUT", f"ports/{port['id']}", {"port": {"allowed_address_pairs": [{"ip_address": f"{text}/128"}]}}),
        ("PUT", f"subnets/{subnet['id']}", {"subnet": {"gateway_ip": text}}),
        ("PUT", f"subnets/{subnet['id']}", {"subnet": {"dns_nameservers": [text]}}),
        ("PUT", f"subnets/{subnet['id']}", {"subnet": {"host_routes": [{"destination": "fd05::/64", "nexthop": text}]}}),
        ("PUT", f"subnets/{subnet['id']}", {"subnet": {"host_routes": [{"destination": f"{text}/128", "nexthop": "fd00::2"}]}}),
        ("PUT", f"subnets/{subnet['id']}", {"subnet": {"allocation_pools": [{"start": text, "end": "fd00::ff"}]}}),
        ("POST", "subnets", {"subnet": {**new, "gateway_ip": text}}),
        ("POST", "subnets", {"subnet": {**new, "cidr": f"{text}/64"}}),
        ("POST", "subnets", {"subnet": {**new, "dns_nameservers": [text]}}),
        ("PUT", f"routers/{router['id']}", {"router": {"routes": [{"destination": "fd05::/64", "nexthop": text}]}}),
        ("PUT", f"routers/{router['id']}/add_extraroutes", {"router": {"routes": [{"destination": "fd05::/64", "nexthop": text}]}}),
        *(
            ("POST", "security-group-rules", {"security_group_rule": {
                "security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv6", "remote_ip_prefix": prefix}})
            for prefix in (text, f"{text}/128")
        ),
    ]  # fmt: skip
    taken = [f"{method} {path} {body}" for method, path, body in tries if demo.call(method, path, body).status != 400]
    assert not taken, "\n".join(taken)


def test_a_server_takes_no_address_with_a_zone(cloud: TestCloud) -> None:
    compute = Compute(cloud)
    server = {"name": "x", "imageRef": compute.image, "flavorRef": "1"}
    nic = {"networks": [{"uuid": compute.network, "fixed_ip": ZONE}]}
    for fields in (nic, {"networks": "none", "accessIPv6": ZONE}):
        assert compute.call("POST", "/servers", {"server": {**server, **fields}}).status == 400


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("port", {"mac_address": "fa:16:3e:00:00:01\n"}),
        ("port", {"dns_name": "web\n"}),
        ("port", {"dns_name": "web,10.0.0.1"}),
        ("network", {"dns_domain": "example.org\n"}),
        ("network", {"dns_domain": "a\n.b"}),
    ],
)
def test_a_name_or_mac_of_more_than_one_line_is_refused(kind: str, fields: dict[str, str], cloud: TestCloud) -> None:
    demo = Neutron(cloud)
    more = {"network_id": demo.make("network")["id"]} if kind == "port" else {}
    assert demo.call("POST", Neutron.path(kind), {kind: {**more, **fields}}).status == 400


def _domain(**subnet: Any) -> RoutingDomain:
    one = DomainSubnet(**{"id": "s", "cidr": "fd00::/64", "ip_version": 6, "gateway_ip": None, "gateway_here": False, "dhcp": True,
                          "dhcp_ip": "fd00::2", "ipv6_address_mode": "dhcpv6-stateful", **subnet})  # fmt: skip
    port = DomainPort(id="p" * 36, network_id="n" * 36, mac="fa:16:3e:00:00:01", fixed_ips=[("s", "fd00::9")], local=True)
    return RoutingDomain(id="n" * 36, networks=[DomainNetwork(id="n" * 36, mtu=1450, subnets=[one])], ports=[port])


def test_what_the_api_should_have_refused_is_refused_again_where_the_hosts_files_are_made() -> None:
    good = _domain()
    assert ruleset(good) and instances(good, good.networks[0], [])
    bad = _domain(dns_nameservers=[ZONE])
    with pytest.raises(Invalid):
        instances(bad, bad.networks[0], [])
    ports = [msgspec.structs.replace(good.ports[0], allowed_pairs=[{"ip_address": "fd00::8%x } ; flush ruleset", "mac_address": ""}])]
    with pytest.raises(Invalid):
        ruleset(msgspec.structs.replace(good, ports=ports))


@pytest.mark.parametrize("machine", ["q35,kernel=/etc/passwd", "q35,dumpdtb=x", "pc\n", "q35 -s", "none,memory-backend=x", ",", "a" * 99])
def test_an_images_machine_type_is_a_machines_name_and_no_option(machine: str) -> None:
    guest = Guest(id="g", name="g", project_id="p", user_id="u", generation=1, vcpus=1, memory_mib=64, machine=machine)
    with pytest.raises(Invalid):
        qemu_argv(guest, Launch(accelerator="tcg", qmp_fd=3, serial_fd=4))
