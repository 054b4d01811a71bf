"""What this host's kernel and tools can do for networks, found by trying in a throw-away namespace."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pileus.model.errors import NodeFailed
from pileus.model.hosts import Capability
from pileus.node.network import conntrack, namespaces, nft_load, taps

Try = tuple[str, Callable[[], str], str, bool]
"""Name, attempt (returns a detail, raises when it does not work), remedy, whether networks need it."""


def capabilities() -> list[Capability]:
    """Try each; blocks for some tens of milliseconds."""
    try:
        namespaces.throwaway(lambda: None)
    except NodeFailed as failure:
        remedy = "run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN"
        return [Capability(name="namespaces", works=False, detail=str(failure), remedy=remedy, required=True)]
    passing = _attempt(
        "forwarding-to-outside", _passing, "iptables -I FORWARD -i pu+ -j ACCEPT; iptables -I FORWARD -o pu+ -j ACCEPT", False
    )
    return [Capability(name="namespaces", works=True, required=True), *namespaces.throwaway(_inside), passing]


def _inside() -> list[Capability]:
    from pyroute2 import IPRoute

    with contextlib.closing(IPRoute()) as netlink:
        attempts: list[Try] = [
            ("bridge", lambda: _link(netlink, "bridge"), "modprobe bridge", True),
            ("veth", lambda: _link(netlink, "veth", peer={"ifname": "probe-peer"}), "modprobe veth", True),
            ("tap", _tap, "modprobe tun", True),
            ("vxlan", lambda: _link(netlink, "vxlan", vxlan_id=1, vxlan_port=4789), "modprobe vxlan", False),
            ("nftables", _nftables, "apt install nftables; modprobe nf_tables", True),
            ("br_netfilter", _br_netfilter, "modprobe br_netfilter", True),
            ("policy-routing", lambda: _rule(netlink), "use a kernel with CONFIG_IP_MULTIPLE_TABLES", True),
            ("dnsmasq", _dnsmasq, "apt install dnsmasq-base", True),
            ("ip-forwarding", _forwarding, "make /proc/sys writable", True),
            ("conntrack", _conntrack, "modprobe nf_conntrack_netlink", False),
        ]
        return [_attempt(*attempt) for attempt in attempts]


def _attempt(name: str, attempt: Callable[[], str], remedy: str, required: bool) -> Capability:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        return Capability(name=name, works=True, detail=attempt(), required=required)
    except (OSError, NetlinkError, NodeFailed, subprocess.SubprocessError) as failure:
        return Capability(name=name, works=False, detail=str(failure), remedy=remedy, required=required)


def _link(netlink: Any, kind: str, **options: Any) -> str:
    netlink.link("add", ifname=f"probe-{kind}", kind=kind, **options)
    return ""


def _tap() -> str:
    os.close(taps.open_descriptor("probe-tap"))
    return ""


def _rule(netlink: Any) -> str:
    netlink.rule("add", iifname="lo", table=1000, priority=1000)
    return ""


def _nftables() -> str:
    """The expressions that our rules are made of: marks, zones, verdict maps, concatenations, NAT."""
    nft_load.load(
        "table bridge probe {\n\tmap senders { type ifname : verdict; }\n\tchain prerouting {\n"
        "\t\ttype filter hook prerouting priority -300; policy accept;\n\t\tmeta mark set 0\n\t\tiifname vmap @senders\n"
        "\t\tether saddr . ip saddr { 02:00:00:00:00:01 . 10.0.0.0/24 } accept\n\t}\n}\n"
        "table inet probe {\n\tchain forwarding {\n\t\ttype filter hook forward priority filter; policy accept;\n"
        "\t\tct state established,related accept\n\t\tmeta mark & 0xffff == 1 drop\n\t}\n"
        '\tchain zones {\n\t\ttype filter hook prerouting priority raw; policy accept;\n\t\tct zone set iifname map { "lo" : 5 }\n\t}\n'
        "\tchain sources {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        '\t\tiifname "lo" snat ip to ip saddr map { 10.0.0.1 : 10.0.0.2 }\n\t\toifname "lo" masquerade\n\t}\n}\n'
    )
    return subprocess.run(["nft", "--version"], capture_output=True, text=True, timeout=5, check=False).stdout.strip()


def _br_netfilter() -> str:
    """Loaded, and a setting of each namespace by itself (Linux 5.3 and later)."""
    path = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not path.exists():
        raise NodeFailed("The kernel module br_netfilter is not loaded: security groups can't see bridged frames.")
    path.write_text("1")
    return ""


def _dnsmasq() -> str:
    if shutil.which("dnsmasq") is None:
        raise NodeFailed("dnsmasq is not installed.")
    done = subprocess.run(["dnsmasq", "--version"], capture_output=True, text=True, timeout=5, check=True)
    return " ".join(done.stdout.split()[:3])


def _forwarding() -> str:
    for family in ("ipv4", "ipv6"):
        path = Path(f"/proc/sys/net/{family}/conf/all/forwarding")
        path.write_text("1")
        if path.read_text().strip() != "1":
            raise NodeFailed(f"Forwarding of {family} stays off.")
    return ""


def _passing() -> str:
    """Docker and some firewalls drop what the host forwards; no rule of ours can let through what theirs drop."""
    command = ["nft", "list", "chain", "ip", "filter", "FORWARD"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    if done.returncode == 0 and "policy drop" in done.stdout:
        raise NodeFailed("The host's own firewall (Docker's, perhaps) drops forwarded packets: guests won't reach the outside.")
    return ""


def _conntrack() -> str:
    if reason := conntrack.available():
        raise NodeFailed(reason)
    return ""
