"""Networks that go on between hosts: guests meet, routers are on one host, each host serves its own, ports move."""

import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.driver.network_cluster import EXTERNAL, Cluster, run
from tests.driver.network_domains import missing
from tests.driver.network_guests import eventually

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"networks need {missing()}")


EAR = """
import socket
ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ear.bind(("eth0", 0))
print("ready", flush=True)
while True:
    frame, place = ear.recvfrom(2000)
    source = frame[6:12].hex(":")
    if place[2] == socket.PACKET_OUTGOING:
        continue
    if frame[12:14] == b"\\x08\\x06" and frame[21] == 1:
        print(source, "asks for", socket.inet_ntoa(frame[38:42]), flush=True)
    elif frame[12:14] == b"\\x08\\x00" and frame[23] == 17 and frame[36:38] in (b"\\0\\x43", b"\\0\\x44"):
        print(source, "sends DHCP", flush=True)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, hosts=2)
    try:
        yield made
    finally:
        made.close()


def test_guests_on_two_hosts_meet_and_security_groups_hold_between_them(cluster: Cluster) -> None:
    one, two = cluster.port("h1", 11), cluster.port("h2", 12)
    cluster.tell()
    first, second = cluster.guest(one), cluster.guest(two)
    assert first.pings("10.21.0.12") and second.pings("10.21.0.11")
    second.answers_on(22)
    second.answers_on(80)
    assert first.connects("10.21.0.12", 22) == "10.21.0.11 hello"
    assert first.connects("10.21.0.12", 80) == "", "the group lets in SSH alone"


def test_each_host_serves_its_own_guests_and_nothing_of_that_crosses(cluster: Cluster) -> None:
    one, two = cluster.port("h1", 11), cluster.port("h2", 12)
    cluster.tell()
    first, second = cluster.guest(one), cluster.guest(two, lease=False)
    ear = second.serve("python3", "-c", EAR)
    assert ear.stdout is not None and ear.stdout.readline() == "ready\n"
    first.run("ip", "neigh", "flush", "dev", "eth0")
    assert first.lease() and first.pings("10.21.0.2")
    first.pings("10.21.0.99", wait=1)  # nobody: asked for everywhere
    heard = ear.stdout.readline()
    assert heard == f"{one.mac_address} asks for 10.21.0.99\n", "the first that is heard"
    for guest, port in ((first, one), (second, two)):
        assert guest.lease()
        assert guest.run("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id").stdout == port.device_id
        names = guest.run("busybox", "nslookup", "guest-12.openstacklocal", "10.21.0.2").stdout
        assert "10.21.0.12" in names, "ports on other hosts have names too"


def test_a_guest_that_asks_its_router_for_metadata_is_answered_by_its_own_host(cluster: Cluster) -> None:
    one, two = cluster.port("h1", 11), cluster.port("h2", 12)
    cluster.tell()
    for port in (one, two):
        guest = cluster.guest(port, lease=False)
        guest.static(f"{port.fixed_ips[0].ip_address}/24", "10.21.0.1")
        assert guest.run("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest/meta-data/instance-id").stdout == port.device_id


def test_a_router_on_another_host_routes_advertises_and_translates(cluster: Cluster) -> None:
    one, two, three = cluster.port("h2", 11), cluster.port("h2", 12, "b"), cluster.port("h1", 13, "b")
    floating = cluster.floating(50, one)
    cluster.tell()
    first, second, third = (cluster.guest(port) for port in (one, two, three))
    assert first.pings("10.22.0.12") and first.pings("10.22.0.13"), "routed by h1, from h2 and back to it"
    six = {guest: port.fixed_ips[1].ip_address for guest, port in ((first, one), (second, two), (third, three))}
    for guest, address in six.items():
        assert eventually(lambda guest=guest, address=address: address in guest.run("ip", "-6", "addr", "show", "dev", "eth0").stdout)
    assert eventually(lambda: first.pings(six[second], wait=1)) and first.pings(six[third])
    first.answers_on(22)
    assert cluster.from_outside(floating, 22) == f"{EXTERNAL}.1 hello"
    assert first.pings(f"{EXTERNAL}.1") and second.pings(f"{EXTERNAL}.1")
    assert cluster.machines["h1"].ask("observe") and not [
        line for line in cluster.on("h2", "ip", "-o", "link").splitlines() if "qr" in line
    ]


def test_names_of_the_outside_are_found_on_every_host(cluster: Cluster) -> None:
    cluster.rows = replace(cluster.rows, subnets=[replace(one, dns_nameservers=[f"{EXTERNAL}.1"]) for one in cluster.rows.subnets])
    one, two = cluster.port("h1", 11), cluster.port("h2", 12, "b")
    cluster.tell()
    command = ["dnsmasq", "--no-daemon", "--no-resolv", "--no-hosts", "--address=/outside.example/203.0.113.7", "--conf-file=/dev/null",
               f"--listen-address={EXTERNAL}.1", "--bind-interfaces", "--user=root", "--pid-file="]  # fmt: skip
    with subprocess.Popen(["ip", "netns", "exec", cluster.outside, *command], stderr=subprocess.DEVNULL) as server:
        try:
            for port, own in ((one, "10.21.0.2"), (two, "10.22.0.2")):
                guest = cluster.guest(port)
                asked = ("busybox", "nslookup", "outside.example", own)
                assert eventually(lambda guest=guest, asked=asked: "203.0.113.7" in guest.run(*asked, check=False).stdout)
        finally:
            server.terminate()


def test_forged_frames_stay_on_their_host(cluster: Cluster) -> None:
    one, two, three = cluster.port("h1", 11), cluster.port("h2", 12), cluster.port("h1", 13)
    cluster.tell()
    first, second, third = (cluster.guest(port) for port in (one, two, three))
    assert second.pings("10.21.0.11")
    third.run("ip", "addr", "add", "10.21.0.11/24", "dev", "eth0")
    assert third.run("busybox", "ping", "-c", "1", "-W", "1", "-I", "10.21.0.11", "10.21.0.12", check=False).returncode != 0
    third.run("ip", "link", "set", "eth0", "address", one.mac_address)
    third.run("busybox", "ping", "-c", "1", "-W", "1", "10.21.0.12", check=False)
    assert second.pings("10.21.0.11") and first.pings("10.21.0.12"), "the forged MAC moved nothing"


def test_routers_move_to_another_host_and_the_floating_address_with_them(cluster: Cluster) -> None:
    one = cluster.port("h2", 11)
    two = cluster.port("h1", 12)
    floating = cluster.floating(50, one)
    cluster.tell()
    first = cluster.guest(one)
    first.answers_on(22)
    assert cluster.from_outside(floating, 22) == f"{EXTERNAL}.1 hello"
    cluster.machines["h1"].kill()
    assert cluster.from_outside(floating, 22, timeout=1) == ""
    cluster.places = replace(cluster.places, router="h2")
    cluster.change(two, host=None)
    cluster.tell()
    assert cluster.from_outside(floating, 22) == f"{EXTERNAL}.1 hello", "announced: the neighbours know the new place"
    assert first.pings(f"{EXTERNAL}.1")


def test_a_port_moves_and_is_reached_at_once(cluster: Cluster) -> None:
    one, two = cluster.port("h1", 11), cluster.port("h2", 12)
    floating = cluster.floating(50, two)
    cluster.tell()
    peer, before = cluster.guest(one), cluster.guest(two)
    before.answers_on(22)
    assert peer.connects("10.21.0.12", 22) and cluster.from_outside(floating, 22)
    three = cluster.port("h1", 13)
    cluster.change(two, migrating_to="h1")
    cluster.tell()
    other = cluster.guest(three)
    assert other.connects("10.21.0.12", 22) and peer.connects("10.21.0.12", 22), "frames go to where it still runs"
    cluster.change(two, host="h1", migrating_to=None)
    cluster.tell()
    cluster.leaves(before)
    after = cluster.guest(two, host="h1", lease=False)
    after.static("10.21.0.12/24", "10.21.0.1")
    after.answers_on(22, "again")
    assert peer.connects("10.21.0.12", 22) == "10.21.0.11 again" and cluster.from_outside(floating, 22) == f"{EXTERNAL}.1 again"
    cluster.change(two, host="h2")
    cluster.tell()
    back = cluster.guest(two, host="h2", lease=False)
    back.static("10.21.0.12/24", "10.21.0.1")
    back.answers_on(22, "back")
    assert peer.connects("10.21.0.12", 22) == "10.21.0.11 back" and cluster.from_outside(floating, 22) == f"{EXTERNAL}.1 back"


TALKER = """
import socket, sys
talk = socket.create_connection((sys.argv[1], 22), timeout=5)
talk.settimeout(5)
print(talk.recv(100).decode().strip(), flush=True)
for line in sys.stdin:
    if line != "listen\\n":
        talk.sendall(line.encode())
    print(talk.recv(100).decode().strip(), flush=True)
"""


class Talk:
    """A connection that stays open."""

    def __init__(self, prefix: list[str], address: str) -> None:
        command = [*prefix, "python3", "-c", TALKER, address]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.greeting = self.heard()

    def heard(self) -> str:
        """The next line that comes."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> str:
        """What is said in return."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.heard() if line != "listen" else ""

    def close(self) -> None:
        """Hang up."""
        self.process.kill()
        self.process.communicate()


def test_connections_stay_open_while_a_guest_moves_back_and_forth(cluster: Cluster) -> None:
    one, two = cluster.port("h1", 11), cluster.port("h2", 12)
    floating = cluster.floating(50, two)
    cluster.port("h2", 13)  # both hosts have the domain all the time
    cluster.tell()
    peer, guest = cluster.guest(one), cluster.guest(two)
    guest.answers_on(22)
    talks = [Talk(["ip", "netns", "exec", peer.namespace], "10.21.0.12"), Talk(["ip", "netns", "exec", cluster.outside], floating)]
    try:
        assert all("hello" in talk.greeting for talk in talks)
        for number in range(3):
            for source, destination in (("h2", "h1"), ("h1", "h2")):
                cluster.move(two, guest, source, destination)
                assert [talk.say(f"turn {number} on {destination}") for talk in talks] == [f"turn {number} on {destination}"] * 2
    finally:
        for talk in talks:
            talk.close()


def test_what_a_moved_guest_may_only_answer_it_still_answers(cluster: Cluster) -> None:
    """Where rules let SSH in and nothing out, the first frame after the move is the guest's: it passes as an answer, or not at all."""
    let_in = [rule for rule in cluster.rows.rules["group"] if rule.direction == "ingress"]
    client = replace(cluster.rows.groups[0], id="client")
    cluster.rows = replace(
        cluster.rows, groups=[*cluster.rows.groups, client], rules={"group": let_in, "client": cluster.rows.rules["group"]}
    )
    one, two = cluster.port("h1", 11, security_groups=["client"]), cluster.port("h1", 12)
    cluster.port("h2", 13)  # which has seen nothing of the connection
    cluster.tell()
    peer, guest = cluster.guest(one), cluster.guest(two)
    guest.says_later_on(22)
    talk = Talk(["ip", "netns", "exec", peer.namespace], "10.21.0.12")
    try:
        assert talk.greeting == "hello" and talk.say("listen") == ""
        cluster.move(two, guest, "h1", "h2")
        guest.speak()
        assert talk.heard() == "later"
    finally:
        talk.close()


TUNNEL = """
import socket, struct, sys
arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes(6) + bytes(4) + bytes(6) + socket.inet_aton(sys.argv[2])
frame = b"\\xff" * 6 + bytes.fromhex("fa163e999999") + b"\\x08\\x06" + arp
outer = struct.pack("!II", 8 << 24, 21 << 8) + frame
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(outer, (sys.argv[1], 4789))
"""


def test_tunnels_hear_other_hosts_and_nobody_else(cluster: Cluster) -> None:
    cluster.port("h1", 11)
    two = cluster.port("h2", 12)
    cluster.tell()
    guest = cluster.guest(two)
    ear = guest.serve("python3", "-c", EAR)
    assert ear.stdout is not None and ear.stdout.readline() == "ready\n"
    run(f"ip -n {cluster.outside} addr add 192.0.2.200/24 dev under")
    for namespace, asked in ((cluster.outside, "10.21.0.66"), (cluster.machines["h1"].namespace, "10.21.0.77")):
        run("ip", "netns", "exec", namespace, "python3", "-c", TUNNEL, "192.0.2.2", asked)
    sounds, heard = ear.stdout, [""]

    def hears_it() -> bool:
        if select.select([sounds], [], [], 0)[0]:
            heard.append(sounds.readline())
        return "99:99" in heard[-1]

    assert eventually(hears_it)
    assert heard[-1] == "fa:16:3e:99:99:99 asks for 10.21.0.77\n", "the first that is heard of it"
