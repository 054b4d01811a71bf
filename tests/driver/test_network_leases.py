"""DHCP leases as ports come and go: an address that is free again is its next owner's, whoever had it before and whatever was killed."""

import os
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from pileus.model.routing import RoutingDomain
from pileus.node.network import dnsmasq
from tests.driver import network_domains as domains
from tests.driver.network_domains import Host
from tests.driver.network_guests import Guest, eventually

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")


def directory(host: Host, domain: RoutingDomain) -> Path:
    """Of the dnsmasq on the domain's only bridge."""
    return next((host.state / "domains" / domain.id / "dnsmasq").glob("br*"))


def inherits(host: Host, domain: RoutingDomain) -> Guest:
    """The guest of the domain's second port, which has the addresses that the first one had, now deleted."""
    heir = replace(domain.ports[1], fixed_ips=domain.ports[0].fixed_ips)
    host.apply(replace(domain, ports=domain.ports[2:]))
    after = replace(domain, ports=[heir, *domain.ports[2:]])
    host.apply(after)
    return host.guest(after, 0, lease=False)


def test_a_new_port_gets_its_lease_without_a_restart_of_dnsmasq(host: Host) -> None:
    domain = domains.isolated(21, 3)
    host.apply(replace(domain, ports=domain.ports[:1]))
    before = dnsmasq.running(directory(host, domain))
    host.apply(domain)
    assert dnsmasq.running(directory(host, domain)) == before
    assert host.guest(domain, 2, lease=False).lease()["ip"] == "10.21.0.13"


def test_the_address_of_a_deleted_port_is_leased_to_the_next_that_has_it(host: Host) -> None:
    domain = domains.isolated(21, 3)
    host.apply(domain)
    assert host.guest(domain, 0, lease=False).lease()["ip"] == "10.21.0.11"
    other = host.guest(domain, 2)
    before = dnsmasq.running(directory(host, domain))
    assert inherits(host, domain).lease()["ip"] == "10.21.0.11"
    assert dnsmasq.running(directory(host, domain)) == before
    assert other.lease()["ip"] == "10.21.0.13"


def test_two_ports_that_swap_their_addresses_get_the_new_ones(host: Host) -> None:
    domain = domains.isolated(21)
    host.apply(domain)
    guests = [host.guest(domain, number) for number in (0, 1)]
    one, two = domain.ports
    host.apply(replace(domain, ports=[replace(one, fixed_ips=two.fixed_ips), replace(two, fixed_ips=one.fixed_ips)]))
    assert [guest.lease()["ip"] for guest in guests] == ["10.21.0.12", "10.21.0.11"]


def test_an_ipv6_address_of_a_deleted_port_is_leased_to_the_next_that_has_it(host: Host) -> None:
    domain = domains.isolated(21)
    network = domains.with_ipv6(domain.networks[0], 21)
    subnet = replace(network.subnets[1], ipv6_ra_mode=None, ipv6_address_mode="dhcpv6-stateful", dhcp=True, dhcp_ip="fd00:21::2")
    ports = [replace(port, fixed_ips=[(subnet.id, f"fd00:21::7{number}")]) for number, port in enumerate(domain.ports)]
    domain = replace(domain, networks=[replace(network, subnets=[network.subnets[0], subnet])], ports=ports)
    host.apply(domain)
    first = host.guest(domain, 0, lease=False)
    assert eventually(lambda: first.lease6() == "fd00:21::70")
    heir = inherits(host, domain)
    assert eventually(lambda: heir.lease6() == "fd00:21::70")


@pytest.mark.parametrize("killed", ["before dnsmasq is told", "before it is written down that it was"])
def test_killed_on_the_way_the_next_attempt_tells_dnsmasq_again(host: Host, killed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = domains.isolated(21, 3)
    host.apply(replace(domain, ports=domain.ports[:1]))

    class Killed(BaseException):
        pass

    def dies(pid: int, number: int) -> None:
        if number != signal.SIGHUP:
            real(pid, number)
            return
        if killed != "before dnsmasq is told":
            real(pid, number)
        raise Killed

    real = os.kill
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", dies)
        with pytest.raises(Killed):
            host.apply(domain)
    host.apply(domain)
    assert host.guest(domain, 2, lease=False).lease()["ip"] == "10.21.0.13"
