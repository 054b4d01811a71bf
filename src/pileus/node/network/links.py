"""Bring the links, addresses, routes and rules of a namespace to a plan, by netlink, in the namespace of the calling thread."""

import contextlib
import socket
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from pileus.core.network_plan import AddressPlan, DomainPlan, LinkPlan, RoutePlan, RulePlan
from pileus.model.errors import NodeFailed
from pileus.node.network import taps

OURS = 98  # the protocol number that our routes and rules carry, so that others' are left alone
RULE_PRIORITY = 1000
CARRIER_UP = 1
BRIDGE = {"br_stp_state": 0, "br_mcast_snooping": 0, "br_forward_delay": 0}  # a guest's NIC works at once, multicast reaches everyone
SYSCTL = Path("/proc/sys/net")
NAMESPACE_SETTINGS = {
    "ipv4/conf/all/arp_ignore": "1", "ipv4/conf/all/arp_announce": "2", "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0", "ipv4/conf/all/send_redirects": "0", "ipv4/conf/default/send_redirects": "0",
    "ipv4/conf/all/accept_redirects": "0", "ipv4/conf/default/accept_redirects": "0", "ipv4/conf/default/forwarding": "0",
    "ipv6/conf/all/accept_ra": "0", "ipv6/conf/default/accept_ra": "0", "ipv6/conf/all/accept_redirects": "0",
    "ipv6/conf/default/accept_redirects": "0", "ipv6/conf/default/accept_dad": "0", "ipv6/conf/default/dad_transmits": "0",
    "ipv6/conf/default/ndisc_notify": "1", "ipv6/conf/default/disable_ipv6": "1", "ipv6/conf/all/forwarding": "1",
    "netfilter/nf_conntrack_tcp_be_liberal": "1",  # a guest that moved away and comes back is far beyond the window seen last
    "bridge/bridge-nf-call-iptables": "1", "bridge/bridge-nf-call-ip6tables": "1", "bridge/bridge-nf-call-arptables": "0",
}  # fmt: skip


def prepare_namespace() -> None:
    """The settings of a new namespace; only routers' legs forward IPv4, devices have IPv6 only where the plan says so."""
    if not (SYSCTL / "bridge").exists():
        raise NodeFailed("Security groups need the kernel module br_netfilter. Load it with: modprobe br_netfilter")
    for path, value in NAMESPACE_SETTINGS.items():
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            (SYSCTL / path).write_text(value)


class Links:
    """One netlink socket in the namespace of the thread that made it, and what is there, read once."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute

        self.netlink: Any = IPRoute()
        self.found: dict[str, Any] = {}
        self.refresh()

    def __enter__(self) -> "Links":
        return self

    def __exit__(self, *_: object) -> None:
        self.netlink.close()

    def refresh(self) -> None:
        """Read the links again."""
        self.found = {link.get_attr("IFLA_IFNAME"): link for link in self.netlink.get_links()}

    def index(self, name: str) -> int:
        """A device's number."""
        return socket.if_nametoindex(name)

    def held_taps(self) -> list[str]:
        """Taps that a guest holds open."""
        return [name for name, link in self.found.items() if name.startswith("tap") and link.get_attr("IFLA_CARRIER") == CARRIER_UP]

    def remove(self, unwanted: Iterable[str]) -> None:
        """Remove devices; fine when one is gone already."""
        for name in unwanted:
            with contextlib.suppress(OSError):
                self.netlink.link("del", index=self.index(name))
            self.found.pop(name, None)

    def move(self, name: str, namespace: int) -> None:
        """Move a device to the namespace of an open descriptor; what holds it open notices nothing."""
        self.netlink.link("set", index=self.index(name), net_ns_fd=namespace)
        self.found.pop(name, None)

    def converge(self, plan: DomainPlan, root: int) -> None:
        """Make the namespace as the plan says. `root` is an open descriptor of the host's own namespace."""
        wanted = {link.name: link for link in plan.links}
        peers = {link.peer for link in plan.links if link.peer and not link.uplink}
        self.remove([name for name in self.found if _is_ours(name) and name not in wanted and name not in peers])
        for link in sorted(plan.links, key=lambda one: one.kind != "bridge"):
            self._link(link, root)
        self._addresses(plan.addresses, {"lo", *wanted})
        self._up([link for link in plan.links if link.up])
        self._routes(plan.routes)
        self._rules(plan.rules)

    def one(self, link: LinkPlan, root: int) -> None:
        """Make one device as planned."""
        self._link(link, root)
        if link.up:
            self._up([link])

    def converge_addresses(self, device: str, addresses: list[str]) -> None:
        """Give a device these addresses (CIDRs) and no others."""
        self._addresses([AddressPlan(device=device, address=address) for address in addresses], {device})

    def _link(self, link: LinkPlan, root: int) -> None:
        found = self.found.get(link.name)
        if found is None:
            self._create(link, root)
            found = self.netlink.link("get", index=self.index(link.name))[0]
            self.found[link.name] = found
        changes: dict[str, Any] = {}
        if found.get_attr("IFLA_MTU") != link.mtu:
            changes["mtu"] = link.mtu
        if link.mac is not None and found.get_attr("IFLA_ADDRESS") != link.mac.lower():
            changes["address"] = link.mac.lower()
        bridged = link.name if link.peer is None or link.uplink else link.peer
        if bridged == link.name and link.master is not None and found.get_attr("IFLA_MASTER") != self.index(link.master):
            changes["master"] = self.index(link.master)
        if not link.up and found["flags"] & 1:
            changes["state"] = "down"
        if changes:
            self.netlink.link("set", index=found["index"], **changes)
        if link.peer is not None and not link.uplink:
            self._leg_peer(link)
        if link.kind == "vxlan":  # where MACs are is told, not learned: a forged frame from afar moves nobody
            self.netlink.brport("set", index=found["index"], learning=0, neigh_suppress=int(link.suppress))

    def _create(self, link: LinkPlan, root: int) -> None:
        if link.kind == "bridge":
            self.netlink.link("add", ifname=link.name, kind="bridge", address=link.mac, mtu=link.mtu, **BRIDGE)
        elif link.kind == "tap":
            taps.create(link.name)
        elif link.kind == "vxlan":  # made in the host's own namespace, by vxlan.create
            raise NodeFailed(f"The VXLAN device {link.name} is gone.")
        elif link.uplink:
            peer = {"ifname": link.peer, "net_ns_fd": root, "mtu": link.mtu}
            mac = {"address": link.mac} if link.mac else {}
            self.netlink.link("add", ifname=link.name, kind="veth", mtu=link.mtu, **mac, peer=peer)
        else:
            peer = {"ifname": link.peer, "mtu": link.mtu}
            self.netlink.link("add", ifname=link.name, kind="veth", address=link.mac, mtu=link.mtu, peer=peer)
        if link.ipv6:
            with contextlib.suppress(FileNotFoundError):
                (SYSCTL / f"ipv6/conf/{link.name}/disable_ipv6").write_text("0")
        if link.forwards:
            (SYSCTL / f"ipv4/conf/{link.name}/forwarding").write_text("1")

    def _leg_peer(self, link: LinkPlan) -> None:
        assert link.peer is not None and link.master is not None
        peer = self.netlink.link("get", index=self.index(link.peer))[0]
        self.found[link.peer] = peer
        master = self.index(link.master)
        if peer.get_attr("IFLA_MASTER") != master or not peer["flags"] & 1 or peer.get_attr("IFLA_MTU") != link.mtu:
            self.netlink.link("set", index=peer["index"], master=master, mtu=link.mtu, state="up")

    def _up(self, links: list[LinkPlan]) -> None:
        for name in ["lo", *(link.name for link in links)]:
            if not self.found[name]["flags"] & 1:
                self.netlink.link("set", index=self.index(name), state="up")

    def _addresses(self, plan: list[AddressPlan], devices: set[str]) -> None:
        indexes = {self.index(name): name for name in devices}
        present: set[tuple[str, str]] = set()
        for found in self.netlink.get_addr():
            device = indexes.get(found["index"])
            if device is not None and not device.startswith("tap"):
                address = found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")
                present.add((device, f"{ip_address(address)}/{found['prefixlen']}"))
        wanted = {(one.device, str(ip_interface(one.address))): one for one in plan}
        for device, address in sorted(present - set(wanted)):
            interface = ip_interface(address)
            if not address.startswith("fe80:") and not interface.is_loopback:  # those are the kernel's own
                with contextlib.suppress(OSError):
                    self.netlink.addr("del", index=self.index(device), address=str(interface.ip), prefixlen=interface.network.prefixlen)
        for key, one in wanted.items():
            if key not in present:
                self._add_address(one)

    def _add_address(self, one: AddressPlan) -> None:
        interface = ip_interface(one.address)
        options: dict[str, Any] = {"family": _family(interface.version)}
        options |= {"IFA_RT_PRIORITY": one.metric} if one.metric else {}
        if interface.version == 4 and interface.network.prefixlen < 31:
            options["broadcast"] = str(interface.network.broadcast_address)
        self.netlink.addr("add", index=self.index(one.device), address=str(interface.ip), prefixlen=interface.network.prefixlen, **options)

    def _routes(self, plan: list[RoutePlan]) -> None:
        present: dict[tuple[object, ...], Any] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for route in self.netlink.get_routes(family=family):
                if route["proto"] == OURS:
                    present[_route_key(route, family)] = route
        wanted = {self._wanted_key(route): route for route in plan}
        for key in set(present) - set(wanted):
            with contextlib.suppress(OSError):
                self.netlink.route("del", **self._route_arguments(key))
        for key in wanted:
            if key not in present:
                with _explained(f"add the route {key}"):
                    self.netlink.route("replace", **self._route_arguments(key))

    def _wanted_key(self, route: RoutePlan) -> tuple[object, ...]:
        network = ip_network(route.destination)
        metric = route.metric or (1024 if network.version == 6 else 0)
        return (network.version, str(network), self.index(route.device) if route.device else None, route.via, route.table, metric)

    def _route_arguments(self, key: tuple[Any, ...]) -> dict[str, Any]:
        version, destination, device, via, table, metric = key
        arguments: dict[str, Any] = {"family": _family(version), "dst": destination, "table": table, "proto": OURS, "priority": metric}
        if device is None:
            return {**arguments, "type": "unreachable"}
        arguments["oif"] = device
        if via is not None:
            arguments |= {"gateway": via, "flags": ["onlink"]}
        elif version == 4:
            arguments["scope"] = "link"
        return arguments

    def _rules(self, plan: list[RulePlan]) -> None:
        present = {
            _rule_key(rule, family)
            for family in (socket.AF_INET, socket.AF_INET6)
            for rule in self.netlink.get_rules(family=family)
            if rule.get_attr("FRA_PROTOCOL") == OURS
        }
        wanted = {(rule.family, rule.table, rule.iif, rule.oif, rule.source) for rule in plan}
        for key in present - wanted:
            with contextlib.suppress(OSError):
                self.netlink.rule("del", **_rule_arguments(key))
        for key in sorted(wanted - present, key=str):
            self.netlink.rule("add", **_rule_arguments(key))


def _is_ours(name: str) -> bool:
    return name[:2] in ("br", "bu", "vx", "qr", "qp", "qg", "qd", "qe") or name.startswith("tap")


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def _route_key(route: Any, family: int) -> tuple[object, ...]:
    version = 4 if family == socket.AF_INET else 6
    destination = route.get_attr("RTA_DST")
    text = f"{destination}/{route['dst_len']}" if destination else ("0.0.0.0/0" if version == 4 else "::/0")
    unicast = route["type"] == 1
    via = route.get_attr("RTA_GATEWAY")
    device = route.get_attr("RTA_OIF") if unicast else None
    return (version, text, device, via, route.get_attr("RTA_TABLE") or route["table"], route.get_attr("RTA_PRIORITY") or 0)


def _rule_key(rule: Any, family: int) -> tuple[Any, ...]:
    version = 4 if family == socket.AF_INET else 6
    return (version, rule.get_attr("FRA_TABLE"), rule.get_attr("FRA_IIFNAME"), rule.get_attr("FRA_OIFNAME"), rule.get_attr("FRA_SRC"))


def _rule_arguments(key: tuple[Any, ...]) -> dict[str, Any]:
    version, table, iif, oif, source = key
    arguments: dict[str, Any] = {"family": _family(version), "table": table, "priority": RULE_PRIORITY, "protocol": OURS}
    if iif:
        arguments["iifname"] = iif
    if oif:
        arguments["oifname"] = oif
    if source:
        arguments |= {"src": source, "src_len": 32 if version == 4 else 128}
    return arguments


@contextlib.contextmanager
def _explained(what: str) -> Any:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as failure:
        raise NodeFailed(f"Can't {what}: {failure.args[-1]}") from failure


def device_names() -> set[str]:
    """Names of the devices in the namespace of the calling thread."""
    return {name for _, name in socket.if_nameindex()}


def planned_devices(plan: DomainPlan) -> set[str]:
    """Names of the devices that the plan has in the domain's namespace."""
    return {link.name for link in plan.links} | {link.peer for link in plan.links if link.peer and not link.uplink}


def planned_peers(plan: DomainPlan) -> dict[str, str]:
    """Devices that the plan has in the host's own namespace, with the uplink that each is joined to."""
    return {link.peer: link.uplink for link in plan.links if link.peer and link.uplink}
