"""Text of tenants in what is made for nftables and dnsmasq: it stays where it stands, or all of it is refused; nothing is added."""

import contextlib
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.core import nft
from pileus.core.dnsmasq import instances
from pileus.model.errors import Invalid
from pileus.model.routing import DomainPort, RoutingDomain
from tests.unit.core.network_samples import DOMAIN
from tests.unit.fuzz.test_fuzz_parsers import COUNT, SEED, WORDS

HOSTILE = [
    "a\nconf-script=/bin/sh", "a\r\nx", "x } ; flush ruleset ; table inet x {", 'a"b', "a'b", "a;b", "a,b", "a b", "a#b", "$(id)", "`id`",
    "%x", "a%0ab", "\\n", "\u2028", "\x85", "é", "-", "", ".", "..", "*", "a" * 300, "10.0.0.1\naddr", "fd00::1%x\ny", "0.0.0.0/0", "::/0",
    "tag:other", "option:1,2", "@set", "jump accept", "counter accept", "\t",
]  # fmt: skip
Change = Callable[[RoutingDomain, str], RoutingDomain]


def port(change: Callable[[DomainPort, str], DomainPort]) -> Change:
    """A change of the first port that is here."""

    def apply(domain: RoutingDomain, text: str) -> RoutingDomain:
        first = next(one for one in domain.ports if one.local)
        return replace(domain, ports=[change(one, text) if one is first else one for one in domain.ports])

    return apply


def subnet(**given: Callable[[str], Any]) -> Change:
    """A change of the first subnet."""

    def apply(domain: RoutingDomain, text: str) -> RoutingDomain:
        first = domain.networks[0]
        changed = replace(first.subnets[0], **{name: value(text) for name, value in given.items()})
        return replace(domain, networks=[replace(first, subnets=[changed, *first.subnets[1:]]), *domain.networks[1:]])

    return apply


def rule(**given: Callable[[str], Any]) -> Change:
    """A rule more in the first group."""

    def apply(domain: RoutingDomain, text: str) -> RoutingDomain:
        group = domain.security_groups[0]
        changed = replace(group.rules[3], **{name: value(text) for name, value in given.items()})
        return replace(
            domain, security_groups=[replace(group, rules=[*group.rules[:3], changed, *group.rules[4:]]), *domain.security_groups[1:]]
        )

    return apply


CHANGES: dict[str, Change] = {
    "host name": port(lambda one, text: replace(one, hostname=text)),
    "name of a DHCP option": port(lambda one, text: replace(one, dhcp_options=[{"opt_name": text, "opt_value": "x", "ip_version": 4}])),
    "value of a DHCP option": port(
        lambda one, text: replace(one, dhcp_options=[{"opt_name": "ntp-server", "opt_value": text, "ip_version": 4}])
    ),
    "DNS domain": lambda domain, text: replace(domain, networks=[replace(domain.networks[0], dns_domain=text), *domain.networks[1:]]),
    "name server": subnet(dns_nameservers=lambda text: [text]),
    "destination of a host route": subnet(host_routes=lambda text: [{"destination": text, "nexthop": "10.0.0.9"}]),
    "next hop of a host route": subnet(host_routes=lambda text: [{"destination": "192.168.0.0/16", "nexthop": text}]),
    "address": port(lambda one, text: replace(one, fixed_ips=[(one.fixed_ips[0][0], text), *one.fixed_ips[1:]])),
    "address of a pair": port(lambda one, text: replace(one, allowed_pairs=[{"ip_address": text, "mac_address": ""}])),
    "MAC of a pair": port(lambda one, text: replace(one, allowed_pairs=[{"ip_address": "10.0.0.77", "mac_address": text}])),
    "MAC": port(lambda one, text: replace(one, mac=text)),
    "remote prefix": rule(remote_prefix=lambda text: text),
    "protocol": rule(protocol=lambda text: text),
}


def texts(name: str) -> Iterator[str]:
    """Hostile words, and mixtures of them."""
    yield from HOSTILE
    dice = random.Random(f"{name} {SEED}")
    words = [*HOSTILE, *(one.decode("latin-1") for one in WORDS), "10.0.0.0/24", "fd00::1", "fa:16:3e:00:00:01", "web"]
    for _ in range(COUNT // 20):
        yield "".join(dice.choice(words) for _ in range(dice.randrange(1, 4)))[:400]


@pytest.mark.parametrize("name", CHANGES)
def test_no_text_adds_to_the_rules_of_a_domain(name: str) -> None:
    """More addresses of another family may make a rule more or less, but nothing that a rule begins or ends with comes from a text."""
    for text in texts(name):
        with contextlib.suppress(Invalid, ValueError):
            made = nft.ruleset(CHANGES[name](DOMAIN, text))
            for line in made.splitlines():
                assert made.count("\r") == 0 and not {"\u2028", "\x85", "`", "$"} & set(line), (name, text, line)
            assert "flush ruleset" not in made and "/bin/sh" not in made and made.count("{") == made.count("}"), (name, text)
            stray = [word for word in ("conf-script", "addr\n", "counter accept", "jump accept", "@set", "table inet x") if word in made]
            assert not stray, (name, text)


def options_of(domain: RoutingDomain) -> set[str]:
    """The options of dnsmasq that a domain's networks are given."""
    parts = [part.options for network in domain.networks for part in instances(domain, network, ["192.0.2.1"])]
    return {line.partition("=")[0] for part in parts for line in part.split("\n")}


@pytest.mark.parametrize("name", CHANGES)
def test_no_text_adds_a_line_to_the_files_of_dnsmasq(name: str) -> None:
    usual = options_of(DOMAIN) | {"local", "domain", "server"}
    for text in texts(name):
        with contextlib.suppress(Invalid, ValueError):
            changed = CHANGES[name](DOMAIN, text)
            assert options_of(changed) <= usual, (name, text)
            for network in changed.networks:
                for one in instances(changed, network, ["192.0.2.1"]):
                    check_lines(one.hosts, r"[0-9a-f:]{17}(,set:[\w-]+)?,[\[\]0-9a-f.:]+,[A-Za-z0-9-]+", (name, text))
                    check_lines(one.names, r"[0-9a-f.:]+( [A-Za-z0-9.-]+){1,2}", (name, text))
                    check_lines(one.extra, r"tag:port-[\w-]+,(option6?:[a-z0-9-]+|\d+)(,[^\n\r]*)?", (name, text))
                    assert not {"\r", "\x85", "\u2028"} & set(one.options), (name, text)


def check_lines(part: str, form: str, told: tuple[str, str]) -> None:
    """Each line is of the form that we write."""
    assert part == "" or part.endswith("\n")
    for line in part.split("\n")[:-1]:
        assert re.fullmatch(form, line), (*told, line)
