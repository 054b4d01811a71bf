"""Routing domains for tests, and the driver on a loop of its own, so that tests can wait for guests while metadata is served."""

import asyncio
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from pileus.core.nft_ports import link_local
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
from pileus.node.network import namespaces, nft_load
from pileus.node.network.linux import LinuxNetwork
from tests.driver.network_guests import Guest, connect

T = TypeVar("T")
ANY = [SecurityRule(direction="egress", ethertype=kind) for kind in ("IPv4", "IPv6")]
SSH = SecurityRule(direction="ingress", ethertype="IPv4", protocol="tcp", port_min=22, port_max=22)


def missing() -> str:
    """What keeps these tests from running here; empty when nothing does."""
    if os.geteuid() != 0:
        return "root"
    for tool in ("nft", "dnsmasq", "busybox", "ip"):
        if shutil.which(tool) is None:
            return tool
    return "" if Path("/proc/sys/net/bridge").exists() else "kernel module br_netfilter"


def identifier(name: str) -> str:
    """A UUID-like id that is unique to this test and tells what it is."""
    return f"{secrets.token_hex(4)}-{name}"


def open_group(*extra: SecurityRule, name: str = "group") -> DomainSecurityGroup:
    """A group that lets everything out, and in what is asked for."""
    return DomainSecurityGroup(id=identifier(name), rules=[*ANY, *extra])


def network(number: int, **changes: Any) -> DomainNetwork:
    """A network 10.<number>.0.0/24 with DHCP and a gateway by a router."""
    subnet = DomainSubnet(
        id=identifier("subnet"), cidr=f"10.{number}.0.0/24", ip_version=4, gateway_ip=f"10.{number}.0.1", gateway_here=True,
        dhcp_ip=f"10.{number}.0.2",
    )  # fmt: skip
    return replace(DomainNetwork(id=identifier("net"), mtu=1450, subnets=[subnet]), **changes)


def with_ipv6(net: DomainNetwork, number: int) -> DomainNetwork:
    """The network with an IPv6 subnet that its router advertises."""
    subnet = DomainSubnet(
        id=identifier("subnet6"), cidr=f"fd00:{number}::/64", ip_version=6, gateway_ip=f"fd00:{number}::1", gateway_here=True,
        dhcp_ip=f"fd00:{number}::2", ipv6_ra_mode="slaac", ipv6_address_mode="slaac",
    )  # fmt: skip
    return replace(net, subnets=[*net.subnets, subnet])


def port(net: DomainNetwork, host: int, groups: list[DomainSecurityGroup], **changes: Any) -> DomainPort:
    """A guest's port with the address .<host> of each IPv4 subnet, and that of its MAC in IPv6 ones."""
    mac = "fa:16:3e:" + ":".join(f"{octet:02x}" for octet in secrets.token_bytes(3))
    fixed: list[tuple[str, str]] = []
    for subnet in net.subnets:
        base = subnet.cidr.split("/")[0]
        fixed.append((subnet.id, base[:-1] + str(host) if subnet.ip_version == 4 else base[:-2] + link_local(mac)[4:]))
    made = DomainPort(
        id=identifier("port"), network_id=net.id, mac=mac, fixed_ips=fixed, security_groups=[group.id for group in groups],
        guest_id=identifier("guest"), hostname=f"guest-{host}",
    )  # fmt: skip
    return replace(made, **changes)


def router(nets: list[DomainNetwork], uplink: str | None = None, address: str = "", gateway: str = "") -> DomainRouter:
    """A router on these networks, with its gateway on an uplink."""
    mac = "fa:16:3e:" + ":".join(f"{octet:02x}" for octet in secrets.token_bytes(3))
    legs = [
        RouterInterface(network_id=net.id, subnet_id=subnet.id, ip=subnet.gateway_ip or "", mac=mac[:-2] + f"{index:02x}")
        for index, net in enumerate(nets)
        for subnet in net.subnets
    ]
    outside = (
        RouterGateway(network_id="external", uplink=uplink, mac=mac[:-2] + "ff", addresses=[address], gateways=[gateway])
        if uplink
        else None
    )
    return DomainRouter(id=identifier("router"), interfaces=legs, gateway=outside)


class Host:
    """A host under test: the driver with a tag and a public network of its own, its guests, and a machine outside."""

    def __init__(self, scratch: Path) -> None:
        self.tag = secrets.token_hex(2)
        self.state = scratch / self.tag
        self.third = 1 + int(self.tag, 16) % 250
        self.public = f"198.{18 + int(self.tag, 16) % 2}.{self.third}"
        self.uplink = Uplink(name="public", addresses=[f"{self.public}.1/24"])
        self.scratch = scratch
        self.guests: list[Guest] = []
        self._outside = ""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.driver = LinuxNetwork(self.state, self.tag)
        self.do(self.driver.start(self.metadata))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the driver's loop and wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def restart(self) -> dict[str, str]:
        """The control plane goes and comes again."""
        self.do(self.driver.close())
        self.driver = LinuxNetwork(self.state, self.tag)
        return self.do(self.driver.start(self.metadata))

    def metadata(self, guest_id: str) -> dict[str, str]:
        """What each guest's metadata says."""
        return {"openstack/latest/meta_data.json": f'{{"uuid": "{guest_id}"}}', "latest/meta-data/instance-id": guest_id}

    def apply(self, domain: RoutingDomain) -> str:
        """Apply a domain."""
        return self.do(self.driver.apply(domain))

    def guest(self, domain: RoutingDomain, number: int, lease: bool = True) -> Guest:
        """The guest of the domain's port, with its address."""
        wanted = domain.ports[number]
        made = Guest(lambda: self.driver.open_tap(domain.id, wanted.id), wanted.mac, self.scratch)
        self.guests.append(made)
        if lease:
            assert made.lease(), "no DHCP lease"
        return made

    def outside(self) -> str:
        """A namespace on the public network that is none of the cloud's, at .200; it knows no way to tenants' networks."""
        if not self._outside:
            self._outside = f"plo-{self.tag}"
            namespaces.create(self._outside)
            for command in (
                f"ip link add plo{self.tag} type veth peer name eth0 netns {self._outside}",
                f"ip link set plo{self.tag} master pu{self.tag}-public up",
                f"ip -n {self._outside} addr add {self.public}.200/24 dev eth0",
                f"ip -n {self._outside} link set eth0 up",
                f"ip -n {self._outside} link set lo up",
            ):
                subprocess.run(command.split(), check=True)
        return self._outside

    def from_outside(self, address: str, number: int, timeout: float = 2.0) -> str:
        """What a server says to the machine outside."""
        return connect(["ip", "netns", "exec", self.outside()], address, number, timeout)

    def close(self) -> None:
        """Leave nothing."""
        for guest in self.guests:
            guest.close()
        if self._outside:
            subprocess.run(["ip", "link", "del", f"plo{self.tag}"], check=False, capture_output=True)
            namespaces.remove(self._outside)
        self.do(self.driver.destroy())
        self.do(self.driver.close())
        self._loop.call_soon_threadsafe(self._loop.stop)


def routed(host: Host, **changes: Any) -> RoutingDomain:
    """Two networks on a router with a gateway: guests 0 and 1 on the first, 2 on the second; guest 0 has a floating address (.50)."""
    first, second = with_ipv6(network(11), 11), with_ipv6(network(12), 12)
    group = open_group(SSH, SecurityRule(direction="ingress", ethertype="IPv6", protocol="icmp"))
    ports = [port(first, 11, [group]), port(first, 12, [group]), port(second, 11, [group])]
    made = router([first, second], "public", f"{host.public}.10/24", f"{host.public}.1")
    made = replace(made, floating=[FloatingAddress(floating_ip=f"{host.public}.50", fixed_ip="10.11.0.11")])
    domain = RoutingDomain(
        id=identifier("domain"), networks=[first, second], ports=ports, routers=[made], security_groups=[group], uplinks=[host.uplink]
    )
    return replace(domain, **changes)


def isolated(number: int, ports: int = 2, *rules: SecurityRule) -> RoutingDomain:
    """One network without a router."""
    group = open_group(*(rules or [SSH]))
    net = network(number)
    subnet = replace(net.subnets[0], gateway_ip=None, gateway_here=False)
    net = replace(net, subnets=[subnet])
    members = [port(net, 11 + index, [group]) for index in range(ports)]
    return RoutingDomain(id=identifier("domain"), networks=[net], ports=members, security_groups=[group])


def with_rules(domain: RoutingDomain, *rules: SecurityRule, stateful: bool = True) -> RoutingDomain:
    """The domain with its (first) group's rules replaced."""
    group = replace(domain.security_groups[0], rules=list(rules), stateful=stateful)
    return replace(domain, security_groups=[group, *domain.security_groups[1:]])


def with_port(domain: RoutingDomain, number: int, **changes: Any) -> RoutingDomain:
    """The domain with one port changed."""
    ports = [replace(one, **changes) if index == number else one for index, one in enumerate(domain.ports)]
    return replace(domain, ports=ports)


def left_on_host(tag: str) -> list[str]:
    """Everything on this machine that carries the tag: devices, namespaces, tables, processes."""
    found = [name for name in os.listdir("/sys/class/net") if tag in name]
    found += [name for name in namespaces.listed("pileus-") if tag in name]
    found += [f"table {tag}"] if nft_load.table_exists("inet", f"pileus_{tag}") else []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"/{tag}/".encode() in path.read_bytes():
                found.append(str(path))
        except OSError:
            continue
    return found
