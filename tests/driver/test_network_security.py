"""Security groups and anti-spoofing as guests meet them: what passes, what does not, and what ends when a rule goes."""

import subprocess
import sys

import pytest
from msgspec.structs import replace

from pileus.model.routing import RoutingDomain, SecurityRule
from tests.driver import network_domains as domains
from tests.driver.network_domains import ANY, SSH, Host
from tests.driver.network_guests import Guest, eventually

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")

EVERYTHING = [*ANY, *(replace(rule, direction="ingress") for rule in ANY)]
SEND_FRAME = """
import socket, struct, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
for _ in range(3):
    raw.send(bytes.fromhex(sys.argv[1]))
"""
HEAR_UDP = """
import socket, sys
family = socket.AF_INET6 if sys.argv[2] == "6" else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    print(s.recvfrom(100)[0].decode(), flush=True)
"""
SEND_UDP = """
import socket, sys
address, source, target, text = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(source)))
for _ in range(3):
    s.sendto(text.encode(), (address, int(target)))
"""


def pair(host: Host, *rules: SecurityRule) -> tuple[RoutingDomain, Guest, Guest]:
    """Two guests on a network without a router, under these rules."""
    domain = domains.isolated(21, 2, *rules)
    domain = domains.with_rules(domain, *(rules or [*ANY, SSH]))
    host.apply(domain)
    guests = host.guest(domain, 0), host.guest(domain, 1)
    for guest in guests:
        guest.answers_on(22)
        guest.answers_on(23)
    return domain, *guests


def ingress(**changes: object) -> SecurityRule:
    return replace(SecurityRule(direction="ingress", ethertype="IPv4"), **changes)


def mac_of(guest: Guest, address: str) -> str:
    """The MAC that the guest believes an address to be at."""
    words = guest.run("ip", "neigh", "show", address).stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def test_what_no_rule_lets_in_stays_out(host: Host) -> None:
    _, first, _ = pair(host, *ANY, SSH)
    assert first.connects("10.21.0.12", 22).endswith("hello")
    assert first.connects("10.21.0.12", 23, 1) == ""
    assert not first.pings("10.21.0.12", wait=1)


def test_without_any_group_nothing_passes_but_dhcp_and_its_answers(host: Host) -> None:
    domain = domains.isolated(21)
    ports = [replace(one, security_groups=[]) for one in domain.ports]
    domain = replace(domain, ports=ports)
    host.apply(domain)
    first, second = host.guest(domain, 0), host.guest(domain, 1)
    second.answers_on(22)
    assert first.connects("10.21.0.12", 22, 1) == ""


def test_egress_rules_hold_between_neighbours_too(host: Host) -> None:
    out = SecurityRule(direction="egress", ethertype="IPv4", protocol="tcp", port_min=22, port_max=22, remote_prefix="10.21.0.12/32")
    _, first, second = pair(host, out, *EVERYTHING[2:])
    assert first.connects("10.21.0.12", 22).endswith("hello")
    assert first.connects("10.21.0.12", 23, 1) == ""
    assert second.connects("10.21.0.11", 22, 1) == ""


def test_port_ranges_icmp_types_and_prefixes_are_kept_apart(host: Host) -> None:
    _, first, second = pair(
        host,
        *ANY,
        ingress(protocol="tcp", port_min=20, port_max=22, remote_prefix="10.21.0.11/32"),
        ingress(protocol="icmp", port_min=8, port_max=0),
    )
    assert first.connects("10.21.0.12", 22).endswith("hello")
    assert first.connects("10.21.0.12", 23, 1) == ""
    assert second.connects("10.21.0.11", 22, 1) == ""
    assert first.pings("10.21.0.12")


def test_a_remote_groups_members_are_let_in_and_others_are_not(host: Host) -> None:
    group = ingress(remote_group_id="members", remote_addresses=["10.21.0.11"])
    domain, first, second = pair(host, *ANY, group)
    assert first.connects("10.21.0.12", 22).endswith("hello")
    assert second.connects("10.21.0.11", 22, 1) == ""
    host.apply(domains.with_rules(domain, *ANY, replace(group, remote_addresses=["10.21.0.11", "10.21.0.12"])))
    assert second.connects("10.21.0.11", 22).endswith("hello")


def test_the_rules_hold_for_routed_traffic_at_both_ends(host: Host) -> None:
    domain = domains.routed(host)
    host.apply(domain)
    first, second = host.guest(domain, 0), host.guest(domain, 2)
    second.answers_on(22)
    second.answers_on(23)
    assert first.connects("10.12.0.11", 22).endswith("hello")
    assert first.connects("10.12.0.11", 23, 1) == ""
    host.apply(domains.with_rules(domain, replace(SSH, direction="egress", port_min=23, port_max=23), *EVERYTHING[2:]))
    assert first.connects("10.12.0.11", 22, 1) == ""
    assert first.connects("10.12.0.11", 23).endswith("hello")


def test_the_bridges_own_address_is_no_way_around_the_rules(host: Host) -> None:
    _, first, second = pair(host, *ANY, SSH)
    first.run("ip", "route", "add", "10.21.0.12/32", "via", "10.21.0.2")
    assert first.connects("10.21.0.12", 23, 1) == ""
    assert second.pings("10.21.0.2")


def test_connections_survive_a_reload_and_end_when_their_rule_goes(host: Host) -> None:
    domain, first, _ = pair(host, *ANY, SSH)
    program = (
        "import socket, sys\ns = socket.create_connection(('10.21.0.12', 22), 2)\ns.settimeout(1.5)\ns.recv(100)\n"
        "for line in sys.stdin:\n    s.sendall(line.encode())\n"
        "    try: print(s.recv(100).decode().strip(), flush=True)\n    except OSError: print('cut', flush=True)"
    )
    command = ["ip", "netns", "exec", first.namespace, sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None and process.stdout is not None

        def says(text: str) -> str:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(text + "\n")
            return process.stdout.readline().strip()

        assert says("one") == "one"
        host.apply(domains.with_rules(domain, *ANY, SSH, replace(SSH, port_min=23, port_max=23)))
        assert says("two") == "two"
        host.apply(domains.with_rules(domain, *ANY, replace(SSH, port_min=23, port_max=23)))
        assert says("three") == "cut"
        process.stdin.close()


def test_a_stateless_group_needs_a_rule_for_the_answer(host: Host) -> None:
    domain, first, _ = pair(host, *ANY, SSH)
    host.apply(domains.with_rules(domain, *ANY, SSH, stateful=False))
    assert first.connects("10.21.0.12", 22, 1) == ""
    answers = ingress(protocol="tcp", port_min=1024, port_max=65535)
    host.apply(domains.with_rules(domain, *ANY, SSH, answers, stateful=False))
    assert first.connects("10.21.0.12", 22).endswith("hello")


def test_a_guest_that_takes_another_address_is_not_heard(host: Host) -> None:
    domain, first, _ = pair(host, *EVERYTHING)
    assert first.connects("10.21.0.12", 22).endswith("hello")
    first.run("ip", "addr", "add", "10.21.0.99/24", "dev", "eth0")
    first.run("ip", "route", "add", "10.21.0.12/32", "dev", "eth0", "src", "10.21.0.99")
    assert first.connects("10.21.0.12", 22, 1) == ""
    pair_of_its_own = [{"ip_address": "10.21.0.99", "mac_address": ""}]
    host.apply(domains.with_port(domain, 0, allowed_pairs=pair_of_its_own))
    assert first.connects("10.21.0.12", 22) == "10.21.0.99 hello"


def test_a_guest_that_takes_another_mac_is_not_heard_unless_port_security_is_off(host: Host) -> None:
    domain, first, _ = pair(host, *EVERYTHING)
    first.run("ip", "link", "set", "eth0", "address", "fa:16:3e:99:99:98")
    assert first.connects("10.21.0.12", 22, 1) == ""
    host.apply(domains.with_port(domain, 0, port_security=False))
    assert first.connects("10.21.0.12", 22).endswith("hello")


def test_forged_arp_convinces_nobody(host: Host) -> None:
    domain, first, second = pair(host, *EVERYTHING)
    assert second.pings("10.21.0.2")
    real = mac_of(second, "10.21.0.2")
    own, target = first.mac.replace(":", ""), second.mac.replace(":", "")
    # A reply that says: 10.21.0.2 (the DHCP server) is at the first guest.
    frame = f"{target}{own}0806" + "0001080006040002" + own + "0a150002" + target + "0a15000c"
    first.run("python3", "-c", SEND_FRAME, frame)
    assert second.pings("10.21.0.2")
    assert mac_of(second, "10.21.0.2") == real
    host.apply(domains.with_port(domain, 0, port_security=False))

    def convinced() -> bool:
        first.run("python3", "-c", SEND_FRAME, frame)
        return mac_of(second, "10.21.0.2") == first.mac

    assert eventually(convinced), "the forged frame of this test would not have worked anyway"


def test_forged_neighbour_advertisements_convince_nobody(host: Host) -> None:
    domain = domains.with_rules(domains.routed(host), *EVERYTHING)
    host.apply(domain)
    first, second = host.guest(domain, 0), host.guest(domain, 1)
    victim = "fd00:11::1"
    assert eventually(lambda: second.pings(victim, wait=1))
    real = mac_of(second, victim)
    program = (
        "import socket, struct, sys\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)\ns.setsockopt(41, socket.IPV6_MULTICAST_HOPS, 255)\n"
        "s.setsockopt(41, socket.IPV6_UNICAST_HOPS, 255)\n"
        "body = struct.pack('!BBHI', 136, 0, 0, 0x60000000) + socket.inet_pton(10, sys.argv[2])\n"
        "body += bytes([2, 1]) + bytes.fromhex(sys.argv[3])\n"
        "for _ in range(3): s.sendto(body, (sys.argv[1], 0))"
    )
    target = domain.ports[1].fixed_ips[1][1]
    assert eventually(lambda: first.pings(target, wait=1))
    first.run("python3", "-c", program, target, victim, first.mac.replace(":", ""))
    assert second.pings(victim)
    assert mac_of(second, victim) == real


def test_a_guest_plays_neither_dhcp_server_nor_router(host: Host) -> None:
    domain = domains.with_rules(domains.routed(host), *EVERYTHING)
    host.apply(domain)
    first, second = host.guest(domain, 0), host.guest(domain, 1)
    process = second.serve("python3", "-c", HEAR_UDP, "68", "4")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    first.run("python3", "-c", SEND_UDP, "10.11.0.12", "67", "68", "forged")
    first.run("python3", "-c", SEND_UDP, "10.11.0.12", "6767", "68", "plain")
    assert process.stdout.readline() == "plain\n"
    advertise = (
        "import socket, struct\ns = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)\n"
        "s.setsockopt(41, socket.IPV6_MULTICAST_HOPS, 255)\ns.setsockopt(41, socket.IPV6_MULTICAST_IF, socket.if_nametoindex('eth0'))\n"
        "prefix = struct.pack('!BBBBIII', 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(10, 'fd66::')\n"
        "for _ in range(3): s.sendto(struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 1800, 0, 0) + prefix, ('ff02::1', 0))"
    )
    first.run("python3", "-c", advertise)
    assert second.pings("10.11.0.1")
    assert "fd66:" not in second.run("ip", "-6", "addr").stdout
    host.apply(domains.with_port(domain, 0, port_security=False))
    first.run("python3", "-c", advertise)
    assert eventually(lambda: "fd66:" in second.run("ip", "-6", "addr").stdout), (
        "the forged advertisement of this test would not have worked anyway"
    )


def test_an_allowed_pair_does_not_open_another_guests_metadata(host: Host) -> None:
    domain, first, _ = pair(host, *EVERYTHING)
    host.apply(domains.with_port(domain, 0, allowed_pairs=[{"ip_address": "10.21.0.0/24", "mac_address": ""}]))
    first.run("ip", "addr", "flush", "dev", "eth0")
    first.static("10.21.0.12/24")
    first.run("ip", "route", "add", "169.254.169.254/32", "via", "10.21.0.2")
    assert first.connects("169.254.169.254", 80, 1) == ""
    assert (
        first.run("timeout", "2", "busybox", "wget", "-qO-", "http://169.254.169.254/latest/meta-data/instance-id", check=False).stdout
        == ""
    )
