"""What a port may send: the bridge family's chains against forged MAC, IP, ARP, and against guests that play DHCP server or router."""

from ipaddress import IPv6Address, ip_address, ip_network

from pileus.core import network_names as names
from pileus.core import port_rates
from pileus.core.network_plan import METADATA_ADDRESS, METADATA_ADDRESS_V6
from pileus.core.nft_text import chain
from pileus.model.routing import DomainPort

IN_MASK, OUT_MASK = "0xffff0000", "0x0000ffff"
NOT_A_PORT = 0xFFFF  # the out-mark of bridge ports that are not filtered: frames that the bridge itself passes on always have one


def link_local(mac: str) -> str:
    """The IPv6 link-local address that follows from a MAC (EUI-64)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    return str(IPv6Address(bytes([0xFE, 0x80, *([0] * 6), *octets])))


def pairs(port: DomainPort) -> list[tuple[str, str]]:
    """(MAC, address or prefix) that the port may send from: fixed addresses, allowed pairs, link-local ones."""
    mac = port.mac.lower()
    found = {(mac, str(ip_network(address))) for _, address in port.fixed_ips}
    for pair in port.allowed_pairs:
        found.add(((pair.get("mac_address") or mac).lower(), str(ip_network(pair["ip_address"], strict=False))))
    for owner in {mac, *(one for one, _ in found)}:
        found.add((owner, f"{link_local(owner)}/128"))
    return sorted(found)


def secured_ports(ports: list[DomainPort]) -> list[tuple[int, DomainPort]]:
    """The ports on this host that are filtered, each with its number in marks (its in-mark is the number shifted by 16 bits)."""
    chosen = sorted((port for port in ports if port.local and port.port_security), key=lambda port: port.id)
    return list(enumerate(chosen, start=1))


def table(ports: list[DomainPort], more: list[str]) -> list[str]:
    """The lines of the bridge table: marks for the inet table's security groups, a chain of checks for each port, and `more` chains."""
    secured = secured_ports(ports)
    taps = [(number, names.tap(port.id), port) for number, port in secured]
    free = sorted((names.tap(port.id), port) for port in ports if port.local and not port.port_security)
    lines = ["table bridge pileus {"]
    lines += _map("in-marks", "mark", [(tap, f"{number << 16:#010x}") for number, tap, _ in taps])
    lines += _map("senders", "verdict", [(tap, f"jump from-{tap}") for tap in [*(tap for _, tap, _ in taps), *(tap for tap, _ in free)]])
    lines += _map("receivers", "verdict", [(tap, f"jump to-{tap}") for _, tap, _ in taps])
    for number, tap, port in taps:
        lines += _from(tap, port) + _to(tap, number, port)
    for tap, port in free:
        lines += chain(f"from-{tap}", _own_metadata(port))
    limits, slow = port_rates.chains(ports)
    lines += limits
    prerouting = ["meta mark set 0", *slow]
    prerouting += ["meta mark set iifname map @in-marks"] if taps else []
    prerouting += ["iifname vmap @senders"] if taps or free else []
    lines += chain("prerouting", prerouting, "type filter hook prerouting priority -300; policy accept;")
    passing = [f"meta mark set meta mark & {IN_MASK} | {NOT_A_PORT:#06x}", *(["oifname vmap @receivers"] if taps else [])]
    return [*lines, *chain("forwarding", passing, "type filter hook forward priority -200; policy accept;"), *more, "}"]


def _map(name: str, kind: str, elements: list[tuple[str, str]]) -> list[str]:
    text = ", ".join(f'"{tap}" : {value}' for tap, value in elements)
    return [f"\tmap {name} {{ type ifname : {kind}; elements = {{ {text} }}", "\t}"] if elements else []


def _own_metadata(port: DomainPort) -> list[str]:
    """Metadata is served by source address: an allowed pair, or no port security, must not open another guest's."""
    fixed = sorted(str(ip_address(address)) for _, address in port.fixed_ips if ip_address(address).version == 4)
    four = f"ip saddr != {{ {', '.join(fixed)} }} " if fixed else ""
    return [
        f"ip daddr {METADATA_ADDRESS} {four}drop",
        f"ip6 daddr {METADATA_ADDRESS_V6} ip6 saddr != {link_local(port.mac)} drop",
    ]


def _from(tap: str, port: DomainPort) -> list[str]:
    allowed = pairs(port)
    macs = "{ " + ", ".join(sorted({mac for mac, _ in allowed})) + " }"
    four = _elements([pair for pair in allowed if ip_network(pair[1]).version == 4])
    six = _elements([pair for pair in allowed if ip_network(pair[1]).version == 6])
    lines = [f"ether saddr != {macs} drop", f"ether type arp arp saddr ether != {macs} drop"]
    if four:
        lines += [
            f"ether type arp arp saddr ip 0.0.0.0 ether saddr . arp daddr ip {four} accept",
            f"ether type arp ether saddr . arp saddr ip {four} accept",
        ]
    lines += ["ether type arp drop", "udp sport 67 udp dport 68 drop", "udp sport 547 udp dport 546 drop"]
    lines += ["icmpv6 type { nd-router-advert, nd-redirect } drop"]
    targets = _target_ranges(allowed)
    lines += [f"icmpv6 type nd-neighbor-advert @th,64,128 != {{ {targets} }} drop"]
    lines += ["ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept"]
    lines += _own_metadata(port)
    if four:
        lines += [f"ether type ip ether saddr . ip saddr {four} accept"]
    unspecified = "{ nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report }"
    lines += [f"ip6 saddr :: icmpv6 type {unspecified} accept", f"ether type ip6 ether saddr . ip6 saddr {six} accept", "drop"]
    return chain(f"from-{tap}", lines)


def _to(tap: str, number: int, port: DomainPort) -> list[str]:
    macs = "{ " + ", ".join(sorted({mac for mac, _ in pairs(port)})) + " }"
    lines = [
        f"ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether daddr != {macs} drop",
        f"meta mark set meta mark & {IN_MASK} | {number:#06x}",
    ]
    return chain(f"to-{tap}", lines)


def _elements(allowed: list[tuple[str, str]]) -> str:
    """Concatenations of MAC and address; prefixes that lie in another of the same MAC are left out, since nft refuses overlaps."""
    kept = [
        (mac, ip_network(address))
        for mac, address in allowed
        if not any(mac == other and address != wider and _within(address, wider) for other, wider in allowed)
    ]
    if not kept:
        return ""
    texts = [f"{mac} . {net.network_address if net.prefixlen == net.max_prefixlen else net}" for mac, net in kept]
    return "{ " + ", ".join(texts) + " }"


def _within(address: str, wider: str) -> bool:
    one, other = ip_network(address), ip_network(wider)
    return one.version == other.version and one.prefixlen >= other.prefixlen and ip_address(one.network_address) in other


def _target_ranges(allowed: list[tuple[str, str]]) -> str:
    """The addresses that the port may claim in neighbour advertisements, as 128-bit numbers (nft reads the target as raw payload)."""
    networks = sorted({ip_network(address) for _, address in allowed if ip_network(address).version == 6}, key=lambda one: int(one[0]))
    kept = [one for one in networks if not any(one != other and _within(str(one), str(other)) for other in networks)]
    return ", ".join(hex(int(one[0])) if one.prefixlen == 128 else f"{int(one[0]):#x}-{int(one[-1]):#x}" for one in kept)
