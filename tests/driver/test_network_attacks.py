"""Attacks on neighbours that were published for other clouds, and are not tried in test_network_security.py."""

import pytest
from msgspec.structs import replace

from tests.driver import network_domains as domains
from tests.driver.network_domains import ANY, Host
from tests.driver.network_guests import eventually

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")

EVERYTHING = [*ANY, *(replace(rule, direction="ingress") for rule in ANY)]
OVERHEAR = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
print("ready", flush=True)
while True:
    frame = s.recv(2000)
    for text in sys.argv[1:]:
        if text.encode() in frame:
            print(text, flush=True)
"""
SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(5):
    s.sendto(sys.argv[2].encode(), (sys.argv[1], 9))
"""


def test_a_guest_overhears_nothing_of_its_neighbours(host: Host) -> None:
    domain = domains.with_rules(domains.isolated(22, 3), *EVERYTHING)
    host.apply(domain)
    first, second, third = (host.guest(domain, number) for number in range(3))
    assert eventually(lambda: first.pings("10.22.0.12", wait=1)), "the bridge has learnt both addresses"
    assert eventually(lambda: first.pings("10.22.0.13", wait=1))
    ear = third.serve("python3", "-c", OVERHEAR, "between-us", "for-all")
    assert ear.stdout is not None and ear.stdout.readline() == "ready\n"
    first.run("python3", "-c", SEND, "10.22.0.12", "between-us")
    second.run("python3", "-c", SEND, "10.22.0.11", "between-us")
    first.run("python3", "-c", SEND, "10.22.0.13", "for-all")
    assert ear.stdout.readline() == "for-all\n"


def test_a_guest_that_takes_anothers_ipv6_address_is_not_heard(host: Host) -> None:
    domain = domains.with_rules(domains.routed(host), *EVERYTHING)
    host.apply(domain)
    first, second = host.guest(domain, 0), host.guest(domain, 1)
    target = domain.ports[1].fixed_ips[1][1]
    assert eventually(lambda: first.pings(target, wait=1))
    own, forged = domain.ports[0].fixed_ips[1][1], "fd00:11::bad"
    first.static(f"{forged}/64")
    second.run("ip", "-6", "neigh", "replace", forged, "lladdr", first.mac, "dev", "eth0")  # its answer would find the way

    def heard(source: str) -> bool:
        return first.run("busybox", "ping", "-6", "-c", "1", "-W", "1", "-I", source, target, check=False).returncode == 0

    assert eventually(lambda: heard(own))
    assert not heard(forged)
    host.apply(domains.with_port(domain, 0, port_security=False))
    assert eventually(lambda: heard(forged)), "the forged address of this test would not have worked anyway"
