"""Which open connections a change ends."""

from msgspec.structs import replace

from pileus.core.network_changes import outdated
from pileus.model.routing import RoutingDomain, SecurityRule
from tests.unit.core.network_samples import DOMAIN, GROUP, PORTS, ROUTER


def changed(group: object = GROUP, ports: object = PORTS) -> RoutingDomain:
    return replace(DOMAIN, security_groups=[group, *DOMAIN.security_groups[1:]], ports=ports)


def test_nothing_ends_when_nothing_was_there() -> None:
    assert not outdated(None, DOMAIN).filtered


def test_a_rule_more_ends_nothing() -> None:
    more = replace(
        GROUP, rules=[*GROUP.rules, SecurityRule(direction="ingress", ethertype="IPv4", protocol="tcp", port_min=80, port_max=80)]
    )
    assert not outdated(DOMAIN, changed(more)).filtered


def test_a_rule_fewer_has_the_connections_of_the_groups_ports_judged_again() -> None:
    fewer = replace(GROUP, rules=GROUP.rules[:2])
    assert outdated(DOMAIN, changed(fewer)).filtered == {"10.0.0.11", "10.0.0.12", "fd00:1::f816:3eff:fe00:1"}


def test_a_remote_groups_new_member_ends_nothing_and_a_lost_one_does() -> None:
    position = next(number for number, rule in enumerate(GROUP.rules) if rule.remote_addresses)

    def members(found: list[str]) -> RoutingDomain:
        rules = [replace(rule, remote_addresses=found) if number == position else rule for number, rule in enumerate(GROUP.rules)]
        return changed(replace(GROUP, rules=rules))

    assert not outdated(members(["10.0.0.11"]), members(["10.0.0.11", "10.0.0.12"])).filtered
    assert outdated(members(["10.0.0.11", "10.0.0.12"]), members(["10.0.0.11"])).filtered


def test_a_port_that_leaves_a_group_or_goes_ends_its_own_connections_only() -> None:
    left = changed(ports=[replace(PORTS[0], security_groups=[]), *PORTS[1:]])
    assert outdated(DOMAIN, left).filtered == {"10.0.0.11", "fd00:1::f816:3eff:fe00:1"}
    assert outdated(DOMAIN, changed(ports=PORTS[1:])).filtered == {"10.0.0.11", "fd00:1::f816:3eff:fe00:1"}


def test_a_floating_address_that_goes_or_moves_ends_its_translations() -> None:
    gone = replace(DOMAIN, routers=[replace(ROUTER, floating=[])])
    assert outdated(DOMAIN, gone).translated == {"172.24.4.50"}
    assert not outdated(gone, DOMAIN).translated
