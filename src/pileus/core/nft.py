"""The nftables ruleset of a routing domain's namespace: one atomic transaction that replaces the tables `bridge pileus` and `inet pileus`.

A frame from a guest gets its in-port and out-port as a mark from the bridge family; br_netfilter hands it to the inet family, where
`ct state` is known and the marks pick the port's chains. Routers have legs of their own (a veth pair into the bridge) and a connection
tracking zone each, so that a routed packet passes the bridge's filter at the guest's tap as a bridged one does, and NAT stays beside it.
"""

from pileus.core import network_names as names
from pileus.core import nft_ports, nft_router, nft_rules, nft_vxlan
from pileus.core.network_plan import METADATA_ADDRESS, METADATA_ADDRESS_V6, active_routers
from pileus.core.nft_text import chain, quoted
from pileus.model.errors import Invalid
from pileus.model.routing import DomainPort, DomainSecurityGroup, RoutingDomain

ESSENTIAL_OUT = [
    "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, "
    "mld-listener-done, mld2-listener-report }",
    "udp sport 68 udp dport 67",
    "udp sport 546 udp dport 547",
    f"ip daddr {METADATA_ADDRESS} tcp dport 80",
    f"ip6 daddr {METADATA_ADDRESS_V6} tcp dport 80",
]
ESSENTIAL_IN = [
    "icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query }",
    "udp sport 67 udp dport 68",
    "udp sport 547 udp dport 546",
]


def ruleset(domain: RoutingDomain) -> str:
    """The whole text for `nft -f -`; it may be loaded before the devices exist, and loading it again keeps connections."""
    lines = ["add table bridge pileus", "delete table bridge pileus", "add table inet pileus", "delete table inet pileus"]
    lines += nft_ports.table(domain.ports, nft_vxlan.chains(domain))
    lines += _inet(domain)
    if any("%" in line or "\n" in line for line in lines):  # an address with a zone: any text could follow
        raise Invalid(f"The routing domain {domain.id} has an address that is none.")
    return "\n".join(lines) + "\n"


def _inet(domain: RoutingDomain) -> list[str]:
    numbered = nft_ports.secured_ports(domain.ports)
    groups = {group.id: group for group in domain.security_groups}
    used = sorted({group_id for _, port in numbered for group_id in port.security_groups if group_id in groups})
    lines = ["table inet pileus {", *_remote_sets([groups[group_id] for group_id in used])]
    for direction in ("egress", "ingress"):
        for group_id in used:
            lines += _group(groups[group_id], direction)
        lines += chain(f"{direction}-essentials", _verdicts(ESSENTIAL_OUT if direction == "egress" else ESSENTIAL_IN, direction))
        for _, port in numbered:
            lines += _port(port, direction, set(used))
        lines += _dispatch(numbered, direction)
    stateless = [(number, port) for number, port in numbered if _is_stateless(port, groups)]
    lines += _filter(domain, stateless) + nft_router.chains(domain)
    return [*lines, "}"]


def _verdict(direction: str) -> str:
    """What may leave its sender goes on to its receiver's chain; what may arrive has passed."""
    return "goto ingress" if direction == "egress" else "accept"


def _verdicts(expressions: list[str], direction: str) -> list[str]:
    return [f"{expression} {_verdict(direction)}" for expression in expressions]


def _remote_sets(groups: list[DomainSecurityGroup]) -> list[str]:
    sets: dict[str, tuple[str, list[str]]] = {}
    for rule in (rule for group in groups for rule in group.rules if rule.remote_group_id is not None):
        members = nft_rules.members(rule.remote_addresses, rule.ethertype)
        if members:
            sets[nft_rules.remote_set_name(rule.remote_addresses, rule.ethertype)] = (rule.ethertype, members)
    lines: list[str] = []
    for name, (ethertype, members) in sorted(sets.items()):
        kind = "ipv4_addr" if ethertype == "IPv4" else "ipv6_addr"
        lines += [f"\tset {name} {{ type {kind}; flags interval; auto-merge; elements = {{ {', '.join(members)} }}", "\t}"]
    return lines


def _group(group: DomainSecurityGroup, direction: str) -> list[str]:
    expressions = [nft_rules.expression(rule) for rule in group.rules if rule.direction == direction]
    unique = list(dict.fromkeys(expression for expression in expressions if expression is not None))
    return chain(f"{direction}-group-{names.chain_part(group.id)}", _verdicts(unique, direction))


def _port(port: DomainPort, direction: str, groups: set[str]) -> list[str]:
    rules = [f"jump {direction}-essentials"]
    if direction == "egress":
        rules.append("icmpv6 type { nd-router-advert, nd-redirect } drop")
    rules += [f"jump {direction}-group-{names.chain_part(group)}" for group in sorted(set(port.security_groups) & groups)]
    return chain(f"{direction}-{names.tap(port.id)}", [*rules, "drop"])


def _dispatch(numbered: list[tuple[int, DomainPort]], direction: str) -> list[str]:
    if not numbered:
        return []
    shift = 16 if direction == "egress" else 0
    jumps = ", ".join(f"{number << shift:#010x} : jump {direction}-{names.tap(port.id)}" for number, port in numbered)
    return [f"\tmap {direction}-ports {{ type mark : verdict; elements = {{ {jumps} }}", "\t}"]


def _is_stateless(port: DomainPort, groups: dict[str, DomainSecurityGroup]) -> bool:
    mine = [groups[group_id] for group_id in port.security_groups if group_id in groups]
    return bool(mine) and not any(group.stateful for group in mine)


def _filter(domain: RoutingDomain, stateless: list[tuple[int, DomainPort]]) -> list[str]:
    secured = bool(nft_ports.secured_ports(domain.ports))
    bridges = quoted([names.bridge(network.id) for network in domain.networks])
    # A port whose groups are all stateless gets no answer let in that its rules don't name.
    senders = f"meta mark & {nft_ports.IN_MASK} != {{ {_marks(stateless, 16)} }} " if stateless else ""
    receivers = f"meta mark & {nft_ports.OUT_MASK} != {{ {_marks(stateless, 0)} }} " if stateless else ""
    egress = [f"meta mark & {nft_ports.IN_MASK} vmap @egress-ports"] if secured else []
    ingress = [f"meta mark & {nft_ports.OUT_MASK} vmap @ingress-ports"] if secured else []
    lines = chain("ingress", [f"{receivers}ct state established,related accept", *ingress, "accept"])
    # A frame that the bridge passes on has an out-mark; one without came to the bridge's own address to be routed, past the filters.
    rules = [
        *nft_router.dispatch(domain),
        *([f"iifname {bridges} meta mark & {nft_ports.OUT_MASK} == 0 drop"] if bridges else []),
        f"{senders}ct state established,related goto ingress",
        "ct state invalid drop",
        *egress,
        "goto ingress",
    ]
    lines += chain("forwarding", rules, "type filter hook forward priority filter; policy accept;")
    return lines + _input(domain, egress)


def _input(domain: RoutingDomain, egress: list[str]) -> list[str]:
    """What the namespace itself answers: DHCP, neighbours, metadata, DNS and echo; the latter two by the guest's egress rules."""
    bridges = [names.bridge(network.id) for network in domain.networks]
    inside = [device for router in active_routers(domain) for device in nft_router.inner_devices(router)]
    rules = ['iifname "lo" accept', "ct state established,related accept"]
    rules += [
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-report, mld2-listener-report } accept",
        "ct state invalid drop",
    ]
    if bridges or inside:
        served = quoted(bridges + inside)
        rules += [
            f"iifname {served} ip daddr {METADATA_ADDRESS} tcp dport 80 accept",
            f"iifname {served} ip6 daddr {METADATA_ADDRESS_V6} tcp dport 80 accept",
            f"iifname {served} udp dport {{ 67, 547 }} accept",
        ]
    if bridges:
        rules.append(f"iifname {quoted(bridges)} goto input-bridge")
    rules.append("meta l4proto { icmp, ipv6-icmp } accept")
    own = ["meta l4proto != { icmp, ipv6-icmp, tcp, udp } drop", "meta l4proto { tcp, udp } th dport != 53 drop", *egress, "accept"]
    lines = chain("input-bridge", own) if bridges else []
    return lines + chain("input", rules, "type filter hook input priority filter; policy drop;")


def _marks(numbered: list[tuple[int, DomainPort]], shift: int) -> str:
    return ", ".join(f"{number << shift:#010x}" for number, _ in numbered)
