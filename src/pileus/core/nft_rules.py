"""Security group rules as nftables expressions: protocol, ports, ICMP types, remote prefixes and remote groups."""

import hashlib
from ipaddress import ip_network

from pileus.model.errors import Invalid
from pileus.model.routing import SecurityRule

PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4, "ipv6-encap": 41,
    "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132,
    "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
"""Neutron's names of IP protocols, with IANA's numbers."""
WITH_PORTS = {6, 17, 33, 132, 136}
ICMP, ICMPV6 = 1, 58


def protocol_number(protocol: str | None, ethertype: str) -> int | None:
    """IANA's number, or None for any protocol. ICMP of an IPv6 rule is ICMPv6, as in Neutron."""
    if protocol is None or protocol.lower() in ("", "any", "0"):
        return None
    number = PROTOCOLS.get(protocol.lower())
    if number is None:
        if not protocol.isdecimal() or int(protocol) > 255:
            raise Invalid(f"Unknown IP protocol {protocol!r} in a security group rule.")
        number = int(protocol)
    return ICMPV6 if number == ICMP and ethertype == "IPv6" else number


def remote_set_name(addresses: list[str], ethertype: str) -> str:
    """Rules with the same members share a set, named by its content."""
    text = " ".join([ethertype, *members(addresses, ethertype)])
    return f"remote{ethertype[-1]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def members(addresses: list[str], ethertype: str) -> list[str]:
    """The addresses of one family, each once, in order."""
    networks = {ip_network(address, strict=False) for address in addresses}
    mine = [network for network in networks if network.version == int(ethertype[-1])]
    chosen = sorted(mine, key=lambda one: (int(one.network_address), one.prefixlen))
    return [str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network) for network in chosen]


def expression(rule: SecurityRule) -> str | None:
    """What a packet must match, without the verdict; None when nothing can (a remote group without members, ports without a protocol)."""
    family = "ip" if rule.ethertype == "IPv4" else "ip6"
    parts = [f"meta nfproto {'ipv4' if family == 'ip' else 'ipv6'}"]
    side = "saddr" if rule.direction == "ingress" else "daddr"
    if rule.remote_group_id is not None:
        if not members(rule.remote_addresses, rule.ethertype):
            return None
        parts.append(f"{family} {side} @{remote_set_name(rule.remote_addresses, rule.ethertype)}")
    elif rule.remote_prefix is not None:
        network = ip_network(rule.remote_prefix, strict=False)
        if f"IPv{network.version}" != rule.ethertype:
            return None
        if network.prefixlen:
            parts.append(f"{family} {side} {network}")
    number = protocol_number(rule.protocol, rule.ethertype)
    if number is not None:
        parts += _protocol(rule, number)
    return " ".join(parts)


def _protocol(rule: SecurityRule, number: int) -> list[str]:
    if number in (ICMP, ICMPV6) and rule.port_min is not None:
        word = "icmp" if number == ICMP else "icmpv6"
        code = [f"{word} code {rule.port_max}"] if rule.port_max is not None else []
        return [f"meta l4proto {number}", f"{word} type {rule.port_min}", *code]
    if number in WITH_PORTS and (rule.port_min is not None or rule.port_max is not None):
        low = rule.port_min if rule.port_min is not None else 0
        high = rule.port_max if rule.port_max is not None else 65535
        ports = f"{low}" if low == high else f"{low}-{high}"
        return [f"meta l4proto {number}", f"th dport {ports}"]
    return [f"meta l4proto {number}"]
