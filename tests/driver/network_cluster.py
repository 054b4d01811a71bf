"""Several hosts on one machine for network tests: each is a network namespace with its own driver, on an underlay and on an external
network that they share. What they are told follows from rows as in the cloud itself."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from pileus.core import network_names as names
from pileus.core.nft_ports import link_local
from pileus.core.routing import Component, DomainRows, Places, domain_on, hosts_of
from pileus.model.floating_ips import FloatingIp
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, FixedIp, Port
from pileus.model.routers import Router
from pileus.model.routing import RoutingDomain
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.model.subnets import Subnet
from pileus.node.network import namespaces, taps
from tests.driver.network_guests import Guest, connect

EXTERNAL = "198.51.100"
PHYSICAL = {"public": "ext0"}


def mac() -> str:
    """A MAC as a port gets one."""
    return "fa:16:3e:" + ":".join(f"{octet:02x}" for octet in secrets.token_bytes(3))


class Machine:
    """One host: a namespace with a NIC on the underlay and one on the external network, and the driver's process in it."""

    def __init__(self, cluster: str, number: int, scratch: Path) -> None:
        self.namespace = f"plh-{cluster}-{number}"
        self.address = f"192.0.2.{number}"
        self.tag = secrets.token_hex(2)
        namespaces.create(self.namespace)
        for nic, bridge, address in (("und0", "under", f"{self.address}/24"), ("ext0", "outer", "")):
            run(f"ip link add {bridge}{number} netns plu-{cluster} type veth peer name {nic} netns {self.namespace}")
            run(f"ip -n plu-{cluster} link set {bridge}{number} master {bridge} up")
            run(f"ip -n {self.namespace} link set {nic} up")
            if address:
                run(f"ip -n {self.namespace} addr add {address} dev {nic}")
        run(f"ip -n {self.namespace} link set lo up")
        self.directory = scratch / self.tag
        self.process = self._begin()
        self.ask("start")

    def _begin(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.namespace}", sys.executable, "-m", "tests.driver.network_host",
             str(self.directory), self.tag],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip

    def ask(self, verb: str, argument: Any = None) -> Any:
        """A reply of the driver."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([verb, argument]) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        assert "error" not in reply, reply["error"]
        return reply["result"]

    def inside(self, domain_id: str, *command: str) -> str:
        """What a command says in a domain's namespace here."""
        return run("ip", "netns", "exec", names.namespace_name(self.tag, domain_id), *command)

    def kill(self) -> None:
        """The host is gone, with all that was on it."""
        self.process.kill()
        self.process.wait()
        for name in ("und0", "ext0"):
            run(f"ip -n {self.namespace} link set {name} down")

    def close(self) -> None:
        """Leave nothing."""
        if self.process.poll() is not None:  # what it was is still there
            self.process.communicate()
            self.process = self._begin()
            self.ask("start")
        self.ask("destroy")
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
        namespaces.remove(self.namespace)


class Cluster:
    """Hosts 1, 2, ... and the rows of one routing domain; `tell` brings every host to them."""

    def __init__(self, scratch: Path, hosts: int) -> None:
        self.name = secrets.token_hex(2)
        self.scratch = scratch
        self.guests: list[Guest] = []
        self.told: dict[str, RoutingDomain] = {}
        self.outside = f"plu-{self.name}"
        namespaces.create(self.outside)
        for bridge in ("under", "outer"):
            run(f"ip -n {self.outside} link add name {bridge} type bridge forward_delay 0")
            run(f"ip -n {self.outside} link set {bridge} up")
        run(f"ip -n {self.outside} addr add {EXTERNAL}.1/24 dev outer")
        self.machines = {f"h{number}": Machine(self.name, number, scratch) for number in range(1, hosts + 1)}
        self.places = Places(router="h1", addresses={name: one.address for name, one in self.machines.items()})
        self.component = Component(
            id=f"{self.name}-router", networks=(f"{self.name}-a", f"{self.name}-b"), routers=(f"{self.name}-router",)
        )
        self.rows = rows_of(self.name)

    def port(self, host: str, number: int, network: str = "a", **changes: Any) -> Port:
        """One more guest's port on a host."""
        net = f"{self.name}-{network}"
        octets, made = {"a": 21, "b": 22}[network], mac()
        fixed = [
            FixedIp(subnet_id=f"{net}4", ip_address=f"10.{octets}.0.{number}"),
            FixedIp(subnet_id=f"{net}6", ip_address=f"fd00:{octets}::{link_local(made)[6:]}"),
        ]
        id = f"{secrets.token_hex(4)}-port"
        port = Port(
            id=id, project_id="p", network_id=net, mac_address=made, fixed_ips=fixed, device_owner="compute:nova", device_id=f"guest-{id}",
            security_groups=["group"], host=host, dns_name=f"guest-{number}",
        )  # fmt: skip
        port = replace(port, **changes)
        self.rows = replace(self.rows, ports=[*self.rows.ports, port])
        return port

    def change(self, port: Port, **changes: Any) -> None:
        """Change a port's row."""
        self.rows = replace(self.rows, ports=[replace(one, **changes) if one.id == port.id else one for one in self.rows.ports])

    def floating(self, number: int, port: Port) -> str:
        """A floating address of a port."""
        address = f"{EXTERNAL}.{number}"
        made = FloatingIp(
            id=address, project_id="p", floating_network_id="ext", floating_ip_address=address, external_port_id="x", port_id=port.id,
            fixed_ip_address=port.fixed_ips[0].ip_address, router_id=self.component.id,
        )  # fmt: skip
        self.rows = replace(self.rows, floating_ips=[*self.rows.floating_ips, made])
        return address

    def tell(self) -> None:
        """Bring every host to the rows."""
        needed = hosts_of(self.component, self.rows, self.places.router)
        for host, machine in self.machines.items():
            if machine.process.poll() is not None:
                continue
            if host in needed:
                self.told[host] = domain_on(self.component, self.rows, host, self.places, PHYSICAL)
                machine.ask("apply", msgspec.to_builtins(self.told[host]))
            elif self.told.pop(host, None) is not None:
                machine.ask("remove", self.component.id)

    def guest(self, port: Port, host: str | None = None, lease: bool = True) -> Guest:
        """A guest on the port, with its address."""
        made = Guest(lambda: self.tap(port, host or port.host or ""), port.mac_address, self.scratch)
        self.guests.append(made)
        if lease:
            assert made.lease(), "no DHCP lease"
        return made

    def tap(self, port: Port, host: str) -> int:
        """An open descriptor of the port's tap on a host."""
        namespace = names.namespace_name(self.machines[host].tag, self.component.id)
        return namespaces.inside(namespace, lambda: taps.open_descriptor(names.tap(port.id)))

    def move(self, port: Port, guest: Guest, source: str, destination: str) -> None:
        """Move a guest as a live migration does, with the connections that its port has."""
        self.change(port, migrating_to=destination)
        self.tell()
        tracked = self.machines[source].ask("gathered", port.device_id)
        self.change(port, host=destination, migrating_to=None)
        self.machines[destination].ask("tracked", [port.device_id, tracked])
        guest.plug(lambda: self.tap(port, destination))
        self.tell()

    def leaves(self, guest: Guest) -> None:
        """The guest runs no longer where it was."""
        self.guests.remove(guest)
        guest.close()

    def on(self, host: str, *command: str) -> str:
        """What a command says in the domain's namespace on a host."""
        return self.machines[host].inside(self.component.id, *command)

    def from_outside(self, address: str, number: int, timeout: float = 2.0) -> str:
        """What a server says to a machine on the external network."""
        return connect(["ip", "netns", "exec", self.outside], address, number, timeout)

    def close(self) -> None:
        """Leave nothing."""
        for guest in self.guests:
            guest.close()
        for machine in self.machines.values():
            machine.close()
        namespaces.remove(self.outside)


def rows_of(name: str) -> DomainRows:
    """Networks a and b behind a router, whose gateway is on the external network; a group that lets in SSH over IPv4."""
    inner = {f"{name}-{one}": Network(id=f"{name}-{one}", project_id="p", segmentation_id=number) for number, one in ((21, "a"), (22, "b"))}
    external = Network(id="ext", project_id="a", external=True, network_type="flat", physical_network="public", mtu=1500)
    subnets: list[Subnet] = [
        Subnet(id="out", project_id="a", network_id="ext", cidr=f"{EXTERNAL}.0/24", ip_version=4, gateway_ip=f"{EXTERNAL}.1")
    ]
    ports: list[Port] = [plain("gate", "ext", ROUTER_GATEWAY, f"{name}-router", ("out", f"{EXTERNAL}.10"))]
    for number, one in ((21, "a"), (22, "b")):
        net = f"{name}-{one}"
        four, six = f"{net}4", f"{net}6"
        subnets.append(
            Subnet(id=four, project_id="p", network_id=net, cidr=f"10.{number}.0.0/24", ip_version=4, gateway_ip=f"10.{number}.0.1")
        )
        subnets.append(
            Subnet(id=six, project_id="p", network_id=net, cidr=f"fd00:{number}::/64", ip_version=6, gateway_ip=f"fd00:{number}::1",
                   ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
        )  # fmt: skip
        legs = [(four, f"10.{number}.0.1"), (six, f"fd00:{number}::1")]
        ports += [plain(f"leg{part}{one}", net, ROUTER_INTERFACE, f"{name}-router", leg) for part, leg in enumerate(legs)]
        ports.append(plain(f"dhcp{one}", net, DHCP, "dhcp", (four, f"10.{number}.0.2"), (six, f"fd00:{number}::2")))
    allowed = [
        SecurityGroupRule(id="1", project_id="p", security_group_id="group", direction="egress", ethertype="IPv4"),
        SecurityGroupRule(id="2", project_id="p", security_group_id="group", direction="egress", ethertype="IPv6"),
        SecurityGroupRule(id="3", project_id="p", security_group_id="group", direction="ingress", ethertype="IPv4", protocol="tcp",
                          port_range_min=22, port_range_max=22),
        SecurityGroupRule(id="4", project_id="p", security_group_id="group", direction="ingress", ethertype="IPv4", protocol="icmp"),
        SecurityGroupRule(id="5", project_id="p", security_group_id="group", direction="ingress", ethertype="IPv6", protocol="icmp"),
    ]  # fmt: skip
    return DomainRows(
        networks={**inner, "ext": external}, subnets=subnets, ports=ports,
        routers=[Router(id=f"{name}-router", project_id="p", gateway_network_id="ext", gateway_port_id="gate")],
        groups=[SecurityGroup(id="group", project_id="p")], rules={"group": allowed},
    )  # fmt: skip


def plain(id: str, network: str, owner: str, device: str, *fixed: tuple[str, str]) -> Port:
    """A port of the network itself."""
    addresses = [FixedIp(subnet_id=subnet, ip_address=address) for subnet, address in fixed]
    return Port(id=id, project_id="p", network_id=network, mac_address=mac(), fixed_ips=addresses, device_owner=owner, device_id=device)


def run(*command: str) -> str:
    """What a command says; it must succeed."""
    words = command[0].split() if len(command) == 1 else list(command)
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout
