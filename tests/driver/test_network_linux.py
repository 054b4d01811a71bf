"""A network as guests meet it: leases, routes, NAT, floating addresses, metadata; and as operators do: adoption, repair, removal."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from pileus.core.network_names import namespace_name
from pileus.model.errors import NodeFailed
from pileus.model.routing import DomainNetwork, DomainSubnet, FloatingAddress, RoutingDomain, SecurityRule
from pileus.node.network import dnsmasq, namespaces, nft_load
from tests.driver import network_domains as domains
from tests.driver.network_domains import Host
from tests.driver.network_guests import Guest, connect, eventually

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, RoutingDomain, list[Guest]]]:
    """A host with the `routed` domain and its three guests, for tests that change nothing."""
    one = Host(tmp_path_factory.mktemp("network"))
    try:
        domain = domains.routed(one)
        one.apply(domain)
        guests = [one.guest(domain, number) for number in range(3)]
        for guest in guests:
            guest.answers_on(22, guest.mac)
        yield one, domain, guests
    finally:
        one.close()


def get(guest: Guest, path: str, address: str = "169.254.169.254") -> str:
    """A metadata document, or what went wrong."""
    return guest.run("timeout", "4", "busybox", "wget", "-qO-", f"http://{address}/{path}", check=False).stdout


def whoami(prefix: list[str], number: int) -> subprocess.Popen[str]:
    """A server, started by `prefix`, that tells each caller the address it came from."""
    program = (
        f"import socket\ns = socket.create_server(('', {number}))\nprint('ready', flush=True)\n"
        "while True:\n    c, a = s.accept()\n    c.sendall(a[0].encode())\n    c.close()"
    )
    process = subprocess.Popen([*prefix, sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_a_guest_gets_its_address_its_routes_and_its_name_by_dhcp(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    lease = shared[2][0].lease()
    assert lease["ip"] == "10.11.0.11" and lease["mask"] == "24"
    assert lease["router"] == "10.11.0.1" and lease["dns"] == "10.11.0.2"
    assert lease["mtu"] == "1450" and lease["hostname"] == "guest-11"
    assert "169.254.169.254/32 10.11.0.2" in lease["staticroutes"] and "0.0.0.0/0 10.11.0.1" in lease["staticroutes"]


def test_a_guest_resolves_the_names_of_its_neighbours(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    assert "10.11.0.12" in shared[2][0].run("busybox", "nslookup", "guest-12", "10.11.0.2", check=False).stdout


def test_a_guest_reaches_its_gateway_and_the_networks_behind_it(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    first, _, second = shared[2]
    assert first.pings("10.11.0.1")
    assert first.connects("10.12.0.11", 22) == f"10.11.0.11 {second.mac}"


def test_a_guest_configures_ipv6_from_its_routers_advertisements(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    _, domain, (first, _, second) = shared
    own, other = domain.ports[0].fixed_ips[1][1], domain.ports[2].fixed_ips[1][1]
    assert eventually(lambda: own in first.run("ip", "-6", "addr", "show", "dev", "eth0").stdout)
    assert eventually(lambda: other in second.run("ip", "-6", "addr", "show", "dev", "eth0").stdout)
    assert eventually(lambda: first.pings("fd00:11::1", wait=1))
    assert eventually(lambda: first.pings(other, wait=1))


def test_guests_leave_by_their_floating_address_or_by_the_routers(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    host, _, (floating, plain, _) = shared
    process = whoami(["ip", "netns", "exec", host.outside()], 8080)
    try:
        assert floating.connects(f"{host.public}.200", 8080) == f"{host.public}.50"
        assert plain.connects(f"{host.public}.200", 8080) == f"{host.public}.10"
    finally:
        process.kill()
        process.wait()


def test_a_floating_address_is_reached_from_host_and_outside_with_the_callers_own_address(
    shared: tuple[Host, RoutingDomain, list[Guest]],
) -> None:
    host, _, (guest, *_) = shared
    assert connect([], f"{host.public}.50", 22, 2) == f"{host.public}.1 {guest.mac}"
    assert host.from_outside(f"{host.public}.50", 22) == f"{host.public}.200 {guest.mac}"


def test_a_floating_address_is_reached_from_its_own_guest_and_from_neighbours(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    host, _, guests = shared
    for guest in guests:
        assert guest.connects(f"{host.public}.50", 22).endswith(guests[0].mac)


def test_inner_addresses_are_not_reached_from_outside_even_with_a_route(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    host, _, _ = shared
    subprocess.run(["ip", "-n", host.outside(), "route", "replace", "10.11.0.0/24", "via", f"{host.public}.10"], check=True)
    assert host.from_outside("10.11.0.12", 22, 1) == ""


def test_guests_reach_nothing_of_the_host_but_its_echo(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    host, _, (guest, *_) = shared
    process = whoami([], 8081)
    try:
        assert guest.pings(f"{host.public}.1")
        assert guest.connects(f"{host.public}.1", 8081, 1) == ""
        assert host.from_outside(f"{host.public}.1", 8081, 1) == ""
    finally:
        process.kill()
        process.wait()


def test_each_guest_reads_its_own_metadata_whatever_it_says_it_is(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    _, domain, guests = shared
    for number, guest in enumerate(guests):
        assert get(guest, "openstack/latest/meta_data.json") == f'{{"uuid": "{domain.ports[number].guest_id}"}}'
    lie = ["busybox", "wget", "-qO-", "--header", f"X-Forwarded-For: {domain.ports[1].fixed_ips[0][1]}"]
    answer = guests[0].run(*lie, "http://169.254.169.254/latest/meta-data/instance-id").stdout
    assert answer == domain.ports[0].guest_id


def test_metadata_is_listed_as_ec2_and_openstack_do(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    guest = shared[2][0]
    assert get(guest, "").split() == ["latest", "openstack"]
    assert get(guest, "openstack") == "latest"
    assert get(guest, "latest/") == "meta-data/"
    assert get(guest, "latest/meta-data/") == "instance-id"
    assert get(guest, "latest/none") == ""


def test_metadata_is_read_over_ipv6_too(shared: tuple[Host, RoutingDomain, list[Guest]]) -> None:
    _, domain, (guest, *_) = shared
    answer = guest.run("python3", "-c", (
        "import socket\ns = socket.create_connection(('fe80::a9fe:a9fe%eth0', 80), 3)\n"
        "s.sendall(b'GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\nprint(s.makefile().read())"
    )).stdout  # fmt: skip
    assert domain.ports[0].guest_id in answer


def test_a_lease_is_given_to_known_ports_only(host: Host) -> None:
    domain = domains.with_port(domains.isolated(21), 0, port_security=False)
    host.apply(domain)
    guest = host.guest(domain, 0, lease=False)
    guest.run("ip", "link", "set", "eth0", "address", "fa:16:3e:99:99:99")
    assert guest.lease(attempts=2) == {}
    guest.run("ip", "link", "set", "eth0", "address", guest.mac)
    assert guest.lease()["ip"] == "10.21.0.11"


def test_a_guest_gets_its_ipv6_address_by_dhcp_where_the_subnet_says_so(host: Host) -> None:
    domain = domains.routed(host)
    first = domain.networks[0]
    stateful = replace(first.subnets[1], ipv6_ra_mode="dhcpv6-stateful", ipv6_address_mode="dhcpv6-stateful")
    domain = replace(domain, networks=[replace(first, subnets=[first.subnets[0], stateful]), *domain.networks[1:]])
    fixed = [domain.ports[0].fixed_ips[0], (stateful.id, "fd00:11::77")]
    domain = domains.with_port(domain, 0, fixed_ips=fixed)
    host.apply(domain)
    guest = host.guest(domain, 0)
    assert eventually(lambda: guest.lease6() == "fd00:11::77")
    guest.static("fd00:11::77/128")
    assert eventually(lambda: "default via fe80::" in guest.run("ip", "-6", "route").stdout)
    assert eventually(lambda: guest.pings("fd00:11::1", wait=1))


def test_a_network_without_a_router_hands_out_no_gateway_and_still_has_metadata(host: Host) -> None:
    domain = domains.isolated(21)
    host.apply(domain)
    guest = host.guest(domain, 0, lease=False)
    assert "router" not in guest.lease()
    assert get(guest, "latest/meta-data/instance-id") == domain.ports[0].guest_id


def test_two_domains_use_the_same_addresses_and_never_meet(host: Host) -> None:
    pair = [domains.isolated(21), domains.isolated(21)]
    names: list[str] = []
    for domain in pair:
        host.apply(domain)
        host.guest(domain, 0)
        server = host.guest(domain, 1)
        server.answers_on(22, server.mac)
        names.append(server.mac)
    assert host.guests[0].connects("10.21.0.12", 22).endswith(names[0])
    assert host.guests[2].connects("10.21.0.12", 22).endswith(names[1])
    assert get(host.guests[0], "latest/meta-data/instance-id") == pair[0].ports[0].guest_id
    assert get(host.guests[2], "latest/meta-data/instance-id") == pair[1].ports[0].guest_id


def test_networks_of_a_domain_that_share_no_router_do_not_reach_each_other(host: Host) -> None:
    one, other = domains.isolated(21), domains.isolated(22)
    groups = one.security_groups + other.security_groups
    both = replace(one, networks=one.networks + other.networks, ports=one.ports[:1] + other.ports[:1], security_groups=groups)  # fmt: skip
    host.apply(both)
    guest, server = host.guest(both, 0), host.guest(both, 1)
    server.answers_on(22)
    # Neither by the other's bridge as a router, nor by an address of the namespace.
    guest.run("ip", "route", "add", "10.22.0.0/24", "via", "10.21.0.2")
    assert guest.connects("10.22.0.11", 22, 1) == ""


def test_a_router_serves_metadata_where_there_is_no_dhcp(host: Host) -> None:
    domain = domains.routed(host)
    nets = [replace(net, subnets=[replace(net.subnets[0], dhcp=False, dhcp_ip=None)]) for net in domain.networks]
    legs = [leg for leg in domain.routers[0].interfaces if ":" not in leg.ip]
    domain = replace(domain, networks=nets, routers=[replace(domain.routers[0], interfaces=legs)])
    host.apply(domain)
    guest = host.guest(domain, 0, lease=False)
    guest.static("10.11.0.11/24", "10.11.0.1")
    assert get(guest, "latest/meta-data/instance-id") == domain.ports[0].guest_id


def test_a_router_that_is_down_forwards_nothing(host: Host) -> None:
    domain = domains.routed(host)
    host.apply(replace(domain, routers=[replace(domain.routers[0], up=False)]))
    guest = host.guest(domain, 0)
    assert not guest.pings("10.11.0.1", wait=1)
    host.apply(domain)
    assert guest.pings(f"{host.public}.1")


def test_a_static_route_leads_to_a_guest_that_is_a_router_itself(host: Host) -> None:
    domain = domains.routed(host)
    pair = [{"ip_address": "192.168.77.0/24", "mac_address": ""}]
    domain = domains.with_port(domain, 1, allowed_pairs=pair)
    domain = replace(domain, routers=[replace(domain.routers[0], routes=[{"destination": "192.168.77.0/24", "nexthop": "10.11.0.12"}])])
    host.apply(domain)
    guest, middle = host.guest(domain, 2), host.guest(domain, 1)
    middle.run("ip", "addr", "add", "192.168.77.1/24", "dev", "lo")
    middle.answers_on(22, "behind")
    assert guest.connects("192.168.77.1", 22).endswith("behind")


def test_two_routers_of_a_domain_keep_their_own_ways_out(host: Host) -> None:
    first, second = domains.network(11), domains.network(12)
    group = domains.open_group(domains.SSH)
    routers = [domains.router([net], "public", f"{host.public}.{10 + n}/24", f"{host.public}.1") for n, net in enumerate((first, second))]
    ports = [domains.port(first, 11, [group]), domains.port(second, 11, [group])]
    domain = RoutingDomain(
        id=domains.identifier("domain"),
        networks=[first, second],
        ports=ports,
        routers=routers,
        security_groups=[group],
        uplinks=[host.uplink],
    )
    host.apply(domain)
    guests = [host.guest(domain, 0), host.guest(domain, 1)]
    guests[1].answers_on(22)
    process = whoami(["ip", "netns", "exec", host.outside()], 8080)
    try:
        assert [guest.connects(f"{host.public}.200", 8080) for guest in guests] == [f"{host.public}.10", f"{host.public}.11"]
        assert guests[0].connects("10.12.0.11", 22, 1) == ""
    finally:
        process.kill()
        process.wait()


def test_a_guest_on_the_external_network_itself_is_a_neighbour_of_the_host(host: Host) -> None:
    group = domains.open_group(domains.SSH)
    subnet = DomainSubnet(
        id=domains.identifier("subnet"), cidr=f"{host.public}.0/24", ip_version=4, gateway_ip=f"{host.public}.1", dhcp=False
    )
    net = DomainNetwork(id=domains.identifier("net"), uplink="public", subnets=[subnet])
    mine = domains.port(net, 60, [group])
    domain = RoutingDomain(id=domains.identifier("domain"), networks=[net], ports=[mine], security_groups=[group], uplinks=[host.uplink])
    host.apply(domain)
    guest = host.guest(domain, 0, lease=False)
    guest.static(f"{host.public}.60/24", f"{host.public}.1")
    guest.answers_on(22)
    assert guest.pings(f"{host.public}.1")
    assert connect([], f"{host.public}.60", 22, 2).endswith("hello")
    assert host.from_outside(f"{host.public}.60", 22).endswith("hello")


def test_a_floating_address_that_moves_is_answered_by_its_new_guest(host: Host) -> None:
    domain = domains.routed(host)
    host.apply(domain)
    for number in (0, 1):
        guest = host.guest(domain, number)
        guest.answers_on(22, guest.mac)
    assert host.from_outside(f"{host.public}.50", 22).endswith(host.guests[0].mac)
    moved = [FloatingAddress(floating_ip=f"{host.public}.50", fixed_ip="10.11.0.12")]
    host.apply(replace(domain, routers=[replace(domain.routers[0], floating=moved)]))
    assert host.from_outside(f"{host.public}.50", 22).endswith(host.guests[1].mac)
    host.apply(replace(domain, routers=[replace(domain.routers[0], floating=[])]))
    assert host.from_outside(f"{host.public}.50", 22, 1) == ""


def test_a_port_that_is_down_carries_no_traffic_and_one_that_is_gone_has_no_tap(host: Host) -> None:
    domain = domains.isolated(
        21, 2, SecurityRule(direction="egress", ethertype="IPv4"), SecurityRule(direction="ingress", ethertype="IPv4")
    )
    host.apply(domain)
    guests = [host.guest(domain, number) for number in (0, 1)]
    assert guests[0].pings("10.21.0.12")
    host.apply(domains.with_port(domain, 1, up=False))
    assert not guests[0].pings("10.21.0.12", wait=1)
    host.apply(domain)
    assert guests[0].pings("10.21.0.12", count=3)
    host.apply(replace(domain, ports=domain.ports[:1]))
    assert f"tap{domain.ports[1].id[:11]}" not in namespaces.inside(
        f"pileus-{host.tag}-{domain.id[:12]}", lambda: os.popen("ip link").read()
    )
    with pytest.raises(NodeFailed):
        host.driver.open_tap(domain.id, domain.ports[1].id)


@pytest.mark.parametrize("first", ["remove", "apply"])
def test_a_network_that_is_joined_to_a_router_takes_its_running_guests_along(host: Host, first: str) -> None:
    joined = domains.routed(host)
    net, other = joined.networks
    alone = replace(joined, id=domains.identifier("alone"), networks=[net], ports=joined.ports[:2], routers=[], uplinks=[])
    rest = replace(joined, networks=[other], ports=joined.ports[2:], routers=[replace(joined.routers[0], interfaces=[], floating=[])])
    host.apply(alone)
    host.apply(rest)
    guest = host.guest(alone, 0)
    assert not guest.pings("10.11.0.1", wait=1)
    if first == "remove":  # the guest holds its tap open: it must survive in whatever order this comes
        host.do(host.driver.remove(alone.id))
    host.apply(joined)
    if first == "apply":
        host.do(host.driver.remove(alone.id))
    assert eventually(lambda: guest.pings(f"{host.public}.1"))
    assert guest.lease()["ip"] == "10.11.0.11"
    assert namespaces.listed(f"pileus-{host.tag}-") == [f"pileus-{host.tag}-{joined.id[:12]}"]


def test_guests_go_on_without_the_control_plane_and_it_adopts_them_after_a_kill(host: Host, tmp_path: Path) -> None:
    domain = domains.routed(host)
    program = (
        "import asyncio, os, sys, msgspec\nfrom pathlib import Path\nfrom pileus.model.routing import RoutingDomain\n"
        "from pileus.node.network.linux import LinuxNetwork\n"
        "async def main():\n    driver = LinuxNetwork(Path(sys.argv[1]), sys.argv[2])\n    await driver.start(lambda guest: None)\n"
        "    print(await driver.apply(msgspec.json.decode(sys.stdin.read(), type=RoutingDomain)), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(host.state), host.tag],
        input=msgspec.json.encode(domain),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    processes = dnsmasq_processes(host, domain)
    assert host.restart() == {domain.id: done.stdout.decode().strip()}
    guest = host.guest(domain, 0)
    assert guest.pings(f"{host.public}.1")
    assert get(guest, "latest/meta-data/instance-id") == domain.ports[0].guest_id
    assert dnsmasq_processes(host, domain) == processes


def test_what_was_destroyed_by_hand_is_noticed_and_repaired(host: Host) -> None:
    domain = domains.routed(host)
    digest = host.apply(domain)
    for destroy in (
        lambda: os.kill(dnsmasq_processes(host, domain)[0], signal.SIGKILL),
        lambda: subprocess.run(["ip", "link", "del", f"pu{host.tag}-public"], check=True),
        lambda: subprocess.run(
            ["ip", "-n", f"pileus-{host.tag}-{domain.id[:12]}", "link", "del", f"br{domain.networks[0].id[:11]}"], check=True
        ),
        lambda: namespaces.remove(f"pileus-{host.tag}-{domain.id[:12]}"),
    ):
        destroy()
        assert eventually(lambda: host.do(host.driver.observe()) == {domain.id: ""})
        assert host.apply(domain) == digest
        assert host.do(host.driver.observe()) == {domain.id: digest}
    guest = host.guest(domain, 0)
    assert guest.pings(f"{host.public}.1")
    assert get(guest, "latest/meta-data/instance-id") == domain.ports[0].guest_id


@pytest.mark.parametrize(
    "broken",
    ["uplinks.Uplinks.apply", "uplinks.Uplinks.join", "nft_load.load", "links.Links.converge", "dnsmasq.converge", "conntrack.forget",
     "announce.addresses", "linux.listening_socket"],
)  # fmt: skip
@pytest.mark.parametrize("known", [False, True], ids=["new", "changed"])
def test_a_step_that_fails_is_seen_and_the_next_attempt_mends_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, broken: str, known: bool
) -> None:
    domain = domains.routed(host)
    if known:
        host.apply(domains.with_port(replace(domain, routers=[]), 0, up=False))

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(f"pileus.node.network.{broken}", fail)
        with pytest.raises((NodeFailed, OSError)):
            host.apply(domain)
    assert host.do(host.driver.observe()) == {domain.id: ""}
    assert host.restart() == {domain.id: ""}
    digest = host.apply(domain)
    assert host.do(host.driver.observe()) == {domain.id: digest}
    assert host.guest(domain, 0).pings(f"{host.public}.1")


def test_a_packet_filter_that_was_flushed_is_seen_at_the_next_start(host: Host) -> None:
    domain = domains.isolated(21)
    digest = host.apply(domain)
    name = namespace_name(host.tag, domain.id)
    host.do(asyncio.to_thread(namespaces.inside, name, lambda: nft_load.load("flush ruleset")))
    assert host.restart() == {domain.id: ""}
    assert host.apply(domain) == digest
    assert nft_load.is_filtered(name)
    assert host.restart() == {domain.id: digest}


def test_when_a_domain_was_read_is_known_after_a_restart(host: Host) -> None:
    domain = domains.isolated(21)
    host.apply(replace(domain, read_at=7))
    host.restart()
    assert host.driver.read_at(domain.id) == 7


def test_a_removed_domain_leaves_nothing_and_its_neighbour_goes_on(host: Host) -> None:
    kept, gone = domains.isolated(21), domains.routed(host)
    host.apply(kept)
    before = domains.left_on_host(host.tag)
    host.apply(gone)
    host.do(host.driver.remove(gone.id))
    uplink = [f"pu{host.tag}-public", f"table {host.tag}"]
    assert sorted(domains.left_on_host(host.tag)) == sorted(before + uplink)
    assert not (host.state / "domains" / gone.id).exists()
    assert host.guest(kept, 0, lease=False).lease()
    assert sorted(host.driver.devices()) == sorted(
        [f"pu{host.tag}-public", f"nft table inet pileus_{host.tag}", f"netns pileus-{host.tag}-{kept.id[:12]}"]
    )


def dnsmasq_processes(host: Host, domain: RoutingDomain) -> list[int]:
    """Process ids of the domain's dnsmasq."""
    found = [dnsmasq.running(path) for path in sorted((host.state / "domains" / domain.id / "dnsmasq").iterdir())]
    assert None not in found
    return [pid for pid in found if pid is not None]


def test_domains_come_while_others_go(host: Host) -> None:
    made = [domains.isolated(number) for number in range(10, 18)]

    async def storm() -> None:
        for _ in range(3):
            await asyncio.gather(*(host.driver.apply(one) for one in made[:4]))
            await asyncio.gather(*(host.driver.remove(one.id) for one in made[:4]), *(host.driver.apply(one) for one in made[4:]))
            await asyncio.gather(*(host.driver.remove(one.id) for one in made[4:]))

    host.do(storm())
    assert domains.left_on_host(host.tag) == []


def test_a_file_that_an_interrupted_attempt_left_is_no_namespace(host: Host) -> None:
    name = f"pileus-{host.tag}-left"
    (namespaces.DIRECTORY / name).touch()
    with pytest.raises(namespaces.NamespaceMissing):
        namespaces.inside(name, os.getpid)
    namespaces.remove(name)
    assert namespaces.listed(name) == []
    namespaces.remove(name)
