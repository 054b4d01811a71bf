"""The door of a node whose managers may be an attacker's: what they ask for is taken, all else is refused with nothing done."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.model.errors import Invalid
from pileus.model.guests import ConsoleKind, DiskImage, Guest, GuestDisk, GuestNic
from pileus.model.messages import (
    ApplyDomain,
    ApplyGuest,
    AskMove,
    CancelMove,
    Done,
    ForceMove,
    ForecastMove,
    NodeReply,
    NodeRequest,
    Observe,
    OpenConsole,
    PrepareIncoming,
    ReadConsoleLog,
    ReadDiagnostics,
    RemoveDomain,
    RemoveGuest,
    ResumeOutgoing,
    Snapshot,
    StartOutgoing,
    TakeCensus,
)
from pileus.model.moves import MoveTarget
from pileus.model.routing import (
    DomainNetwork,
    DomainPort,
    DomainRouter,
    DomainSecurityGroup,
    DomainSubnet,
    FloatingAddress,
    RouterGateway,
    RouterInterface,
    RoutingDomain,
    SecurityRule,
    Uplink,
)
from pileus.node.validation import Bounds, check, guarded

ONE, TWO, SHA = "6f1c2a34-8f0b-4a53-9d3e-0123456789ab", "0b1c2a34-8f0b-4a53-9d3e-0123456789ac", "ab" * 32
MAC = "fa:16:3e:00:00:01"
BOUNDS = Bounds(
    images=Path("/c/images"), stores=(Path("/d/fast"),), snapshots=Path("/c/images/.snapshots"), physical={"public": "", "provider": "eth1"}
)
IMAGE = DiskImage(sha256=SHA, path=f"/c/images/{SHA}", format="qcow2", virtual_size=1 << 30, size=1 << 20)
ROOT = GuestDisk(name="root", size=1 << 30, image=IMAGE)
NIC = GuestNic(port_id=ONE, network_id=ONE, domain_id=TWO, mac=MAC)
GUEST = Guest(
    id=ONE, name="hello wörld", project_id="ab" * 16, vcpus=1, memory_mib=128, disks=[ROOT], nics=[NIC],
    metadata={"openstack/latest/meta_data.json": "{}\n", "ec2/2009-04-04/user-data": "#!/bin/sh\n"},
)  # fmt: skip
SUBNET = DomainSubnet(
    id=ONE, cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1", dns_nameservers=["1.1.1.1"],
    host_routes=[{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
)  # fmt: skip
NETWORK = DomainNetwork(id=ONE, subnets=[SUBNET], uplink="public", vni=7, dns_domain="example.org.")
PORT = DomainPort(id=ONE, network_id=ONE, mac=MAC, fixed_ips=[(ONE, "10.0.0.5")], allowed_pairs=[{"ip_address": "10.0.0.0/28"}])
GATEWAY = RouterGateway(network_id=ONE, uplink="public", mac=MAC, addresses=["172.24.4.2/24"], gateways=["172.24.4.1"])
ROUTER = DomainRouter(
    id=ONE, interfaces=[RouterInterface(network_id=ONE, subnet_id=ONE, ip="10.0.0.1", mac=MAC)], gateway=GATEWAY,
    floating=[FloatingAddress(floating_ip="172.24.4.9", fixed_ip="10.0.0.5")], routes=[{"destination": "::/0", "nexthop": "fd00::1"}],
)  # fmt: skip
RULE = SecurityRule(direction="ingress", ethertype="IPv4", protocol="tcp", port_min=22, port_max=22, remote_prefix="0.0.0.0/0")
GROUP = DomainSecurityGroup(id=ONE, rules=[RULE])
UPLINK = Uplink(name="public", addresses=["172.24.4.1/24"])
DOMAIN = RoutingDomain(id=ONE, networks=[NETWORK], ports=[PORT], routers=[ROUTER], security_groups=[GROUP], uplinks=[UPLINK])


def guest(**changes: Any) -> ApplyGuest:
    return ApplyGuest(guest=replace(GUEST, **changes))


def disk(**changes: Any) -> ApplyGuest:
    return guest(disks=[replace(ROOT, **changes)])


def image(**changes: Any) -> ApplyGuest:
    return disk(image=replace(IMAGE, **changes))


def domain(**changes: Any) -> ApplyDomain:
    return ApplyDomain(domain=replace(DOMAIN, **changes))


@pytest.mark.parametrize(
    "request_",
    [
        ApplyGuest(guest=GUEST, domains=[DOMAIN]),
        image(path=f"/d/fast/{SHA}"),
        ApplyDomain(domain=DOMAIN),
        domain(uplinks=[Uplink(name="provider", interface="eth1"), Uplink(name="x636792")]),
        RemoveGuest(guest_id=ONE),
        RemoveDomain(domain_id=ONE),
        Observe(),
        TakeCensus(),
        ReadConsoleLog(guest_id=ONE, lines=10),
        OpenConsole(guest_id=ONE, kind=ConsoleKind.VNC, stream="7"),
        Snapshot(guest_id=ONE, destination=f"/c/images/.snapshots/{TWO}.qcow2"),
        ReadDiagnostics(guest_id=ONE),
        AskMove(guest_id=ONE, migration_id=TWO),
        CancelMove(guest_id=ONE, migration_id=TWO),
        ForecastMove(guest_id=ONE),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_managers_ask_for_is_taken(request_: NodeRequest) -> None:
    check(request_, BOUNDS)


HOSTILE: dict[str, NodeRequest] = {
    "an image outside": image(path="/etc/shadow"),
    "an image beside": image(path=f"/c/images/{'cd' * 32}"),
    "an image beside a store": image(path=f"/d/{SHA}"),
    "an image by way of its parent": image(path=f"/c/images/../images/{SHA}"),
    "an image by a longer way": image(path=f"/c/images//{SHA}"),
    "another guest's disk": image(path=f"/c/node/guests/{TWO}/disks/root"),
    "a relative image": image(path=SHA),
    "a hash that is a path": image(sha256="../../etc/passwd", path="/c/images/../../etc/passwd"),
    "a hash in capitals": image(sha256=SHA.upper(), path=f"/c/images/{SHA.upper()}"),
    "an image from the web": image(source="http://169.254.169.254/"),
    "another format": image(format="vmdk"),
    "a format with an option": image(format="raw,file.filename=/etc/shadow"),
    "an image of a negative size": image(size=-1),
    "an absurd image": image(virtual_size=1 << 62),
    "a disk that is a path": disk(name="../../../etc/cron.d/x"),
    "a disk that is absolute": disk(name="/etc/cron.d/x"),
    "a disk without a name": disk(name=""),
    "a hidden disk": disk(name=".root"),
    "an absurd disk": disk(size=1 << 62),
    "a disk of negative size": disk(size=-1),
    "another file system": disk(filesystem="vfat"),
    "a label that is an option": disk(image=None, filesystem="ext4", label="-E"),
    "a label with a null": disk(image=None, filesystem="ext4", label="a\0b"),
    "a bus with options": disk(bus="virtio,file=/etc/shadow"),
    "the same disk twice": guest(disks=[ROOT, ROOT]),
    "very many disks": guest(disks=[replace(ROOT, name=f"d{number}") for number in range(1000)]),
    "a guest that is a path": guest(id="../../etc"),
    "a guest without an id": guest(id=""),
    "an id with a newline": guest(id=ONE + "\n"),
    "a name of several lines": guest(name="a\nb"),
    "a kernel of the host": guest(kernel="/etc/shadow"),
    "an initrd of the host": guest(initrd="/etc/shadow"),
    "a machine with options": guest(machine="pc,firmware=/etc/shadow"),
    "a processor with options": guest(cpu_model="max,host-phys-bits=on"),
    "no processors": guest(vcpus=0),
    "very many processors": guest(vcpus=1 << 30),
    "absurd memory": guest(memory_mib=1 << 60),
    "a quota that is no number": guest(cpu_quota=float("nan")),
    "a quota without end": guest(cpu_quota=float("inf")),
    "a document outside": guest(metadata={"../../etc/passwd": ""}),
    "an absolute document": guest(metadata={"/etc/passwd": ""}),
    "a document without a name": guest(metadata={"openstack//x": ""}),
    "absurd metadata": guest(metadata={"x": "y" * (5 << 20)}),
    "absurd properties": guest(extra={"x": "y" * (1 << 20)}),
    "a card with options": guest(nics=[replace(NIC, model="virtio,script=/bin/sh")]),
    "a card of another address": guest(nics=[replace(NIC, mac="fa:16:3e:00:00:01,x=y")]),
    "a port that is a path": guest(nics=[replace(NIC, port_id="../x")]),
    "a snapshot outside": Snapshot(guest_id=ONE, destination="/etc/cron.d/x"),
    "a snapshot above": Snapshot(guest_id=ONE, destination=f"/c/images/.snapshots/../{TWO}.qcow2"),
    "a snapshot as a base image": Snapshot(guest_id=ONE, destination=f"/c/node/base/{SHA}"),
    "a snapshot of another name": Snapshot(guest_id=ONE, destination="/c/images/.snapshots/x.qcow2"),
    "a relative snapshot": Snapshot(guest_id=ONE, destination=f"{TWO}.qcow2"),
    "an interface of the host": domain(uplinks=[replace(UPLINK, interface="eth0")]),
    "the interface of another network": domain(uplinks=[Uplink(name="x1", interface="eth1")]),
    "a network off its interface": domain(uplinks=[Uplink(name="provider")]),
    "an uplink that is a path": domain(uplinks=[Uplink(name="../x")]),
    "the whole internet": domain(uplinks=[replace(UPLINK, addresses=["0.0.0.0/0"])]),
    "the host's own loopback": domain(uplinks=[replace(UPLINK, addresses=["127.0.0.1/8"])]),
    "an address with a command": domain(uplinks=[replace(UPLINK, addresses=["10.0.0.1/24; reboot"])]),
    "a domain that is a path": domain(id="../x"),
    "other hosts": domain(remotes=["10.0.0.9"], address="10.0.0.8"),
    "a port elsewhere": domain(ports=[replace(PORT, remote="10.0.0.9")]),
    "a port's name of several lines": domain(ports=[replace(PORT, hostname="a\ndhcp-script=/bin/sh")]),
    "an option of several lines": domain(ports=[replace(PORT, dhcp_options=[{"opt_name": "x", "opt_value": "y\ndhcp-script=z"}])]),
    "an address with a zone": domain(ports=[replace(PORT, fixed_ips=[(ONE, "fe80::1%eth0")])]),
    "a pair that is no address": domain(ports=[replace(PORT, allowed_pairs=[{"ip_address": "0/0 } flush ruleset"}])]),
    "a DNS domain of several lines": domain(networks=[replace(NETWORK, dns_domain="x\naddn-hosts=/etc/shadow")]),
    "a subnet that is no network": domain(networks=[replace(NETWORK, subnets=[replace(SUBNET, cidr="10.0.0.0/99")])]),
    "a name server with a file": domain(networks=[replace(NETWORK, subnets=[replace(SUBNET, dns_nameservers=["/etc/x"])])]),
    "a route with more": domain(routers=[replace(ROUTER, routes=[{"destination": "::/0", "nexthop": "::1", "dev": "eth0"}])]),
    "a rule with more": domain(security_groups=[replace(GROUP, rules=[replace(RULE, protocol="tcp } accept")])]),
    "a rule of absurd ports": domain(security_groups=[replace(GROUP, rules=[replace(RULE, port_max=1 << 20)])]),
    "a console's log of a path": ReadConsoleLog(guest_id="../../.."),
    "lines before the first": ReadConsoleLog(guest_id=ONE, lines=-1),
    "the removal of a path": RemoveGuest(guest_id=".."),
    "the removal of a domain's path": RemoveDomain(domain_id="../.."),
    "a number that no reading has": ApplyDomain(domain=replace(DOMAIN, read_at=1 << 63)),
    "a removal by a number that no reading has": RemoveDomain(domain_id=ONE, read_at=-1),
    "a console of a path": OpenConsole(guest_id="../x", kind=ConsoleKind.VNC),
    "figures of a path": ReadDiagnostics(guest_id="/"),
    "a guest from elsewhere": PrepareIncoming(migration_id=ONE, guest=GUEST, address="0.0.0.0"),
    "a guest sent away": StartOutgoing(migration_id=ONE, guest_id=ONE, target=MoveTarget(address="203.0.113.1", memory_port=1)),
    "a move's end": ForceMove(migration_id=ONE, guest_id=ONE),
    "a move back": ResumeOutgoing(migration_id=ONE, guest_id=ONE),
    "a move that is a path": AskMove(migration_id="../x", guest_id=ONE),
}


@pytest.mark.parametrize("request_", HOSTILE.values(), ids=list(HOSTILE))
def test_what_no_manager_asks_for_is_refused_before_the_agent_sees_it(request_: NodeRequest) -> None:
    seen: list[NodeRequest] = []

    async def handle(request: NodeRequest) -> NodeReply:
        seen.append(request)
        return Done()

    with pytest.raises(Invalid):
        asyncio.run(guarded(handle, BOUNDS)(request_))  # type: ignore[arg-type]
    assert seen == []


def test_what_is_taken_reaches_the_agent() -> None:
    async def handle(request: NodeRequest) -> NodeReply:
        return Done()

    async def story() -> NodeReply:
        return await guarded(handle, BOUNDS)(Observe())

    assert asyncio.run(story()) == Done()
