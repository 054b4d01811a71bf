"""Routers in a namespace's ruleset: what each may pass between its legs, its connection tracking zone, SNAT and floating addresses."""

from ipaddress import ip_interface

from pileus.core import network_names as names
from pileus.core.network_plan import active_routers, legs, zones
from pileus.core.network_vxlan import RESOLVERS
from pileus.core.nft_text import chain, quoted
from pileus.model.routing import DomainRouter, RoutingDomain


def inner_devices(router: DomainRouter) -> list[str]:
    """The router's legs on its networks."""
    return list(dict.fromkeys(device for device, _ in legs(router)))


def devices(router: DomainRouter) -> list[str]:
    """All legs, the one to the outside last."""
    return [*inner_devices(router), *([names.gateway(router.id)] if router.gateway is not None else [])]


def dispatch(domain: RoutingDomain) -> list[str]:
    """Rules of the forward hook: what comes in by a leg is judged by its router's chain alone."""
    routers = [router for router in active_routers(domain) if devices(router)]
    return [f"iifname {quoted(devices(router))} goto router-{names.short(router.id)}" for router in routers]


def chains(domain: RoutingDomain) -> list[str]:
    """All chains of the domain's routers."""
    lines: list[str] = []
    for router in active_routers(domain):
        lines += _passing(router) + _translations(router, bool(domain.remotes))
    return lines + _zones(domain) + _hooks(domain)


def _passing(router: DomainRouter) -> list[str]:
    rules: list[str] = []
    inside = quoted(inner_devices(router))
    if router.gateway is not None and router.gateway.snat and inside:
        # Behind NAT, inner addresses are not to be reached from outside even by a neighbour who sets a route to them.
        start = f'iifname "{names.gateway(router.id)}" oifname {inside} meta nfproto ipv4 ct state new'
        rules += [f"{start} ct status dnat accept", f"{start} drop"]
    rules.append(f"oifname {quoted(devices(router))} accept")
    return chain(f"router-{names.short(router.id)}", [*rules, "drop"]) if devices(router) else []


def _zones(domain: RoutingDomain) -> list[str]:
    numbers = zones(domain)
    members = [(device, numbers[router.id]) for router in active_routers(domain) for device in devices(router)]
    if not members:
        return []
    elements = ", ".join(f'"{device}" : {number}' for device, number in members)
    lines: list[str] = []
    for hook, side in (("prerouting", "iifname"), ("output", "oifname")):
        rules = [f"ct zone set {side} map {{ {elements} }}"]
        lines += chain(f"zones-{hook}", rules, f"type filter hook {hook} priority raw; policy accept;")
    return lines


def _translations(router: DomainRouter, shared: bool) -> list[str]:
    """`shared`: other hosts' DNS forwarders ask by this router; their addresses mean nothing outside, whether it translates or not."""
    if router.gateway is None:
        return []
    inwards: list[str] = []
    outwards: list[str] = []
    floating = sorted({one.floating_ip: one.fixed_ip for one in router.floating}.items())
    if floating:
        inwards.append("dnat ip to ip daddr map { " + ", ".join(f"{outer} : {inner}" for outer, inner in floating) + " }")
        sources = {inner: outer for outer, inner in reversed(floating)}
        outwards.append("snat ip to ip saddr map { " + ", ".join(f"{inner} : {outer}" for inner, outer in sorted(sources.items())) + " }")
    own = next((one for one in map(ip_interface, router.gateway.addresses) if one.version == 4), None)
    if own is not None and router.gateway.snat:
        outwards.append(f"meta nfproto ipv4 snat ip to {own.ip}")
    elif own is not None and shared:
        outwards.append(f"ip saddr {RESOLVERS} snat ip to {own.ip}")
    short = names.short(router.id)
    return chain(f"dnat-{short}", inwards) + chain(f"snat-{short}", outwards)


def _hooks(domain: RoutingDomain) -> list[str]:
    """Outgoing traffic is translated, and so is what reaches a floating address from inside: its answer must come back by the router."""
    inwards: list[str] = []
    outwards: list[str] = []
    for router in active_routers(domain):
        if router.gateway is None:
            continue
        short, outside, inside = names.short(router.id), names.gateway(router.id), quoted(inner_devices(router))
        inwards.append(f"iifname {quoted(devices(router))} jump dnat-{short}")
        if inside:
            outwards.append(f'iifname {inside} oifname "{outside}" jump snat-{short}')
            outwards.append(f"iifname {inside} oifname {inside} ct status dnat jump snat-{short}")
    if not inwards:
        return []
    return chain("translate-destinations", inwards, "type nat hook prerouting priority dstnat; policy accept;") + chain(
        "translate-sources", outwards, "type nat hook postrouting priority srcnat; policy accept;"
    )
