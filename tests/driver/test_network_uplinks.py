"""Physical networks on a host: NICs that are bridged, NICs that must not be, and the host's own settings."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pileus.model.errors import NodeFailed
from pileus.model.routing import DomainNetwork, DomainSubnet, RoutingDomain, Uplink
from pileus.node.network import namespaces
from tests.driver import network_domains as domains
from tests.driver.network_domains import Host

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")


@pytest.fixture
def nic() -> Iterator[tuple[str, str]]:
    """A NIC of the host, and the namespace of the machine at the other end of its cable (192.0.2.99)."""
    tag = secrets.token_hex(3)
    name, far = f"plnic{tag}", f"plfar-{tag}"
    namespaces.create(far)
    for command in (
        f"ip link add {name} type veth peer name eth0 netns {far}",
        f"ip -n {far} addr add 192.0.2.99/24 dev eth0",
        f"ip -n {far} link set eth0 up",
        f"ip link set {name} up",
    ):
        subprocess.run(command.split(), check=True)
    yield name, far
    subprocess.run(["ip", "link", "del", name], check=True)
    namespaces.remove(far)


def provider(name: str) -> RoutingDomain:
    """A provider network on a NIC, with a guest's port at 192.0.2.60."""
    group = domains.open_group(domains.SSH)
    subnet = DomainSubnet(id=domains.identifier("subnet"), cidr="192.0.2.0/24", ip_version=4, dhcp=False)
    net = DomainNetwork(id=domains.identifier("net"), uplink="provider", subnets=[subnet])
    uplink = Uplink(name="provider", masquerade=False, interface=name)
    port = domains.port(net, 60, [group])
    return RoutingDomain(id=domains.identifier("domain"), networks=[net], ports=[port], security_groups=[group], uplinks=[uplink])


def test_a_guest_on_a_provider_network_reaches_machines_on_the_wire(host: Host, nic: tuple[str, str]) -> None:
    domain = provider(nic[0])
    host.apply(domain)
    guest = host.guest(domain, 0, lease=False)
    guest.static("192.0.2.60/24")
    assert guest.pings("192.0.2.99")


def test_a_nic_with_addresses_is_not_taken_away_from_the_host(host: Host, nic: tuple[str, str]) -> None:
    subprocess.run(["ip", "addr", "add", "192.0.2.1/24", "dev", nic[0]], check=True)
    with pytest.raises(NodeFailed, match="addresses"):
        host.apply(provider(nic[0]))


def test_a_nic_that_is_not_there_is_named(host: Host) -> None:
    with pytest.raises(NodeFailed, match="plnone0"):
        host.apply(provider("plnone0"))


def test_the_uplinks_come_back_when_a_host_starts_again(host: Host) -> None:
    domain = domains.routed(host)
    digest = host.apply(domain)
    subprocess.run(["ip", "link", "del", f"pu{host.tag}-public"], check=True)  # as a reboot does
    assert host.restart() == {domain.id: digest}
    assert f"pu{host.tag}-public" in host.driver.devices()
    assert host.guest(domain, 0).pings(f"{host.public}.1")


def test_a_second_address_of_an_uplink_is_added_and_taken_away(host: Host) -> None:
    domain = domains.routed(host)
    host.apply(domain)
    more = replace(host.uplink, addresses=[*host.uplink.addresses, "192.0.2.1/24"])
    host.apply(replace(domain, uplinks=[more]))
    shown = subprocess.run(["ip", "-br", "addr", "show", f"pu{host.tag}-public"], capture_output=True, text=True, check=True).stdout
    assert "192.0.2.1/24" in shown and f"{host.public}.1/24" in shown
    host.apply(domain)
    shown = subprocess.run(["ip", "-br", "addr", "show", f"pu{host.tag}-public"], capture_output=True, text=True, check=True).stdout
    assert "192.0.2.1/24" not in shown and f"{host.public}.1/24" in shown


def test_forwarding_of_the_host_is_set_back_when_the_cloud_is_destroyed(tmp_path: Path) -> None:
    def settings() -> dict[str, str]:
        return {path.parent.name: path.read_text() for path in Path("/proc/sys/net/ipv4/conf").glob("*/forwarding")}

    if any(name.startswith("pu") for name in os.listdir("/sys/class/net")):
        pytest.skip("missing: a machine to ourselves; another cloud's uplinks are here")
    before = settings()
    host = Host(tmp_path)
    host.apply(domains.routed(host))
    assert settings() != before
    host.close()
    after = settings()
    assert {name: after[name] for name in before if name in after} == {name: before[name] for name in before if name in after}
