"""What a change of a routing domain takes away from connections that are open: they must end, as users expect of a removed rule."""

from msgspec.structs import replace

from pileus.core import nft_rules
from pileus.model.base import Model
from pileus.model.routing import DomainPort, DomainSecurityGroup, FloatingAddress, RoutingDomain

Grant = tuple[str, str, str, str]


class Outdated(Model, frozen=True, kw_only=True):
    """Addresses of ports whose filter entries are to be judged again, and floating addresses whose translations are to end."""

    filtered: frozenset[str] = frozenset()
    translated: frozenset[str] = frozenset()


def outdated(before: RoutingDomain | None, after: RoutingDomain) -> Outdated:
    """Which connections to forget between two states. What was only added to ends nothing, nor does a port's move to another host: others'
    connections with it go on, and it may come back."""
    if before is None:
        return Outdated()
    old_groups = {group.id: group for group in before.security_groups}
    new_groups = {group.id: group for group in after.security_groups}
    now = {port.id: port for port in after.ports}
    filtered: set[str] = set()
    for port in (one for one in before.ports if one.local):
        kept = now.get(port.id)
        if kept is not None and not kept.local:
            continue
        addresses = {address for _, address in port.fixed_ips}
        gone = kept is None or (port.up and not kept.up)
        if gone or (kept and kept.port_security and (not port.port_security or _grants(port, old_groups) - _grants(kept, new_groups))):
            filtered |= addresses
    floating = _floating(before) - _floating(after)
    return Outdated(filtered=frozenset(filtered), translated=frozenset(one.floating_ip for one in floating))


def _floating(domain: RoutingDomain) -> set[FloatingAddress]:
    return {floating for router in domain.routers if router.up for floating in router.floating}


def _grants(port: DomainPort, groups: dict[str, DomainSecurityGroup]) -> set[Grant]:
    """All that the port's groups let pass, a remote group's members one by one so that a new member takes nothing away."""
    found: set[Grant] = set()
    for group in (groups[group_id] for group_id in port.security_groups if group_id in groups):
        for rule in group.rules:
            plain = nft_rules.expression(replace(rule, remote_group_id=None))
            if plain is None:
                continue
            members = nft_rules.members(rule.remote_addresses, rule.ethertype) if rule.remote_group_id is not None else ["any"]
            found |= {(rule.direction, rule.ethertype, plain, member) for member in members}
    return found
