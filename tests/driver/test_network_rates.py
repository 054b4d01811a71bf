"""A guest's bandwidth: what its flavor's rates let through, measured as bytes that arrive while a flood is sent; and nothing else slows."""

import sys

import pytest
from msgspec.structs import replace

from pileus.model.ports import PortRates, Rate
from pileus.model.routing import RoutingDomain
from tests.driver import network_domains as domains
from tests.driver.network_domains import Host
from tests.driver.network_guests import Guest
from tests.driver.test_network_security import EVERYTHING

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")

SLOW = Rate(average=20_000, burst=131_072)
DATAGRAM, COUNT = 1000, 1500
HEAR = """
import select, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9000))
print("ready", flush=True)
bytes_, began = 0, None
while select.select([s], [], [], 20 if began is None else 1)[0]:
    data = s.recv(2000)
    began = began or time.monotonic()
    last = time.monotonic()
    bytes_ += len(data)
print(bytes_, last - began if began else 0, flush=True)
"""
FLOOD = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[3])):
    s.sendto(bytes(int(sys.argv[2])), (sys.argv[1], 9000))
    if number % 10 == 9:
        time.sleep(0.002)  # what takes the frames over reads them one by one
"""
OVERHEAD = (DATAGRAM + 28) / DATAGRAM  # a rate counts packets, with their IP and UDP headers


def flood(sender: Guest, receiver: Guest, address: str) -> tuple[int, float]:
    """Bytes that arrive of 1.5 MB, and the seconds in which they did."""
    hearing = receiver.serve(sys.executable, "-c", HEAR)
    assert hearing.stdout is not None and hearing.stdout.readline() == "ready\n"
    sender.run(sys.executable, "-c", FLOOD, address, str(DATAGRAM), str(COUNT))
    heard, seconds = hearing.stdout.readline().split()
    return int(heard), float(seconds)


def limited(domain: RoutingDomain, number: int, **rates: Rate) -> RoutingDomain:
    return domains.with_port(domain, number, rates=PortRates(**rates))


def most(seconds: float) -> float:
    return (SLOW.burst + SLOW.average * seconds) / OVERHEAD + DATAGRAM


def test_a_guest_sends_no_more_than_its_rate_and_others_send_what_they_like(host: Host) -> None:
    domain = limited(domains.isolated(31, 2, *EVERYTHING), 0, outbound=SLOW)
    host.apply(domain)
    slow, free = host.guest(domain, 0), host.guest(domain, 1)
    heard, seconds = flood(slow, free, "10.31.0.12")
    assert SLOW.burst / 2 < heard <= most(seconds)
    heard, _ = flood(free, slow, "10.31.0.11")
    assert heard > 4 * SLOW.burst, "what the guest receives is not limited"
    host.apply(domains.with_port(domain, 0, rates=None))
    heard, _ = flood(slow, free, "10.31.0.12")
    assert heard > 4 * SLOW.burst, "the limit is taken away"


def test_a_guest_receives_no_more_than_its_rate_from_a_neighbour_and_through_a_router(host: Host) -> None:
    domain = domains.with_rules(limited(domains.routed(host), 0, inbound=SLOW), *EVERYTHING)
    host.apply(domain)
    slow, neighbour, far = (host.guest(domain, number) for number in range(3))
    for sender in (neighbour, far):
        heard, seconds = flood(sender, slow, "10.11.0.11")
        assert 0 < heard <= most(seconds)
    heard, _ = flood(slow, far, "10.12.0.11")
    assert heard > 4 * SLOW.burst, "what the guest sends is not limited"


def test_tcp_passes_a_rate_at_a_speed_near_it(host: Host) -> None:
    rate = Rate(average=400_000, burst=400_000)
    domain = limited(domains.isolated(32, 2, *EVERYTHING), 0, outbound=rate)
    host.apply(domain)
    slow, free = host.guest(domain, 0), host.guest(domain, 1)
    hearing = free.serve(sys.executable, "-c", HEAR_TCP)
    assert hearing.stdout is not None and hearing.stdout.readline() == "ready\n"
    slow.run(sys.executable, "-c", SEND_TCP, "10.32.0.12", str(1_000_000), timeout=60)
    heard, seconds = hearing.stdout.readline().split()
    assert int(heard) == 1_000_000, "nothing is lost"
    assert int(heard) <= rate.burst + rate.average * float(seconds)


HEAR_TCP = """
import socket, time
s = socket.create_server(("", 9001))
print("ready", flush=True)
c, _ = s.accept()
began, heard = time.monotonic(), 0
while data := c.recv(65536):
    heard += len(data)
print(heard, time.monotonic() - began, flush=True)
"""
SEND_TCP = """
import socket, sys
with socket.create_connection((sys.argv[1], 9001)) as s:
    s.sendall(bytes(int(sys.argv[2])))
"""


def test_the_limit_stays_when_the_tap_moves_to_another_domain(host: Host) -> None:
    alone = limited(domains.isolated(33, 2, *EVERYTHING), 0, outbound=SLOW)
    host.apply(alone)
    slow, free = host.guest(alone, 0), host.guest(alone, 1)
    joined = replace(alone, id=domains.identifier("joined"))
    host.apply(joined)
    host.do(host.driver.remove(alone.id))
    heard, seconds = flood(slow, free, "10.33.0.12")
    assert SLOW.burst / 2 < heard <= most(seconds)
