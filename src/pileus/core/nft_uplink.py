"""The host's own rules for its uplinks: masquerading, what guests may ask of the host itself (echo), what is never forwarded."""

from collections.abc import Sequence
from ipaddress import ip_address

from pileus.core import network_names as names
from pileus.core.network_vxlan import VXLAN_PORT
from pileus.core.nft_text import chain, quoted
from pileus.model.routing import Uplink


def table_name(tag: str) -> str:
    """Our table in the host's own namespace."""
    return f"pileus_{tag}"


def ruleset(uplinks: list[Uplink], tag: str, contained: Sequence[str] = (), remotes: Sequence[str] = ()) -> str:
    """The text for `nft -f -`. `contained`: NICs that forward only because of us, and so to uplinks only. `remotes`: the other hosts, from
    which alone VXLAN is taken: a guest that reaches this host's address must not put frames into others' networks."""
    table = table_name(tag)
    lines = [f"add table inet {table}", f"delete table inet {table}"]
    if not uplinks and not remotes:
        return "\n".join(lines) + "\n"
    inner = (_tunnels(remotes) if remotes else []) + (_uplinks(uplinks, tag, contained) if uplinks else [])
    return "\n".join([*lines, f"table inet {table} {{", *inner, "}"]) + "\n"


def _tunnels(remotes: Sequence[str]) -> list[str]:
    rules: list[str] = []
    for version, word in ((4, "ip"), (6, "ip6")):
        known = ", ".join(sorted(remote for remote in remotes if ip_address(remote).version == version))
        others = f"{word} saddr != {{ {known} }}" if known else f"meta nfproto ipv{version}"
        rules.append(f"udp dport {VXLAN_PORT} {others} drop")
    return chain("tunnels", rules, "type filter hook input priority filter; policy accept;")


def _uplinks(uplinks: list[Uplink], tag: str, contained: Sequence[str]) -> list[str]:
    bridges = quoted([names.uplink_bridge(tag, uplink.name) for uplink in uplinks])
    masked = quoted([names.uplink_bridge(tag, uplink.name) for uplink in uplinks if uplink.masquerade])
    answered = ["ct state established,related accept", "meta l4proto { icmp, ipv6-icmp } accept", "drop"]
    lines = chain("guests", answered)
    lines += chain("input", [f"iifname {bridges} goto guests"], "type filter hook input priority filter; policy accept;")
    # Link-local addresses lead to the metadata of whatever cloud this host itself may run in.
    rules = [f"iifname {bridges} oifname != {bridges} ip daddr 169.254.0.0/16 drop"]
    for device in contained:
        rules.append(f'iifname "{device}" oifname != "{names.UPLINK_PREFIX}*" drop')  # another cloud's uplinks on this host as well
    lines += chain("forwarding", rules, "type filter hook forward priority filter; policy accept;")
    if masked:
        rules = [f"iifname {masked} oifname != {bridges} masquerade"]
        lines += chain("postrouting", rules, "type nat hook postrouting priority srcnat; policy accept;")
    return lines
