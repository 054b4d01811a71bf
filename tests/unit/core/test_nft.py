"""The rules of a domain: as the golden file has them, and what must hold for any domain."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pileus.core import nft, nft_rules, nft_uplink
from pileus.core.nft_ports import link_local
from pileus.model.errors import Invalid
from pileus.model.routing import DomainPort, DomainSecurityGroup, RoutingDomain, SecurityRule, Uplink
from tests.unit.core.network_samples import DOMAIN, PORTS, ROUTER

GOLDEN = Path(__file__).parent / "golden"


def test_the_rules_of_a_domain_are_those_of_the_golden_file() -> None:
    assert nft.ruleset(DOMAIN) == (GOLDEN / "nft_domain.nft").read_text()


def test_the_rules_of_the_host_are_those_of_the_golden_file() -> None:
    uplinks = [Uplink(name="public", addresses=["172.24.4.1/24"]), Uplink(name="provider", masquerade=False, interface="eth1")]
    assert nft_uplink.ruleset(uplinks, "abcd", ["eth0"]) == (GOLDEN / "nft_uplinks.nft").read_text()


def test_an_empty_domain_still_has_its_hooks() -> None:
    text = nft.ruleset(RoutingDomain(id="empty"))
    assert "hook forward" in text and "policy drop" in text


def test_without_uplinks_the_hosts_table_is_only_taken_away() -> None:
    assert nft_uplink.ruleset([], "abcd") == "add table inet pileus_abcd\ndelete table inet pileus_abcd\n"


def rule(**changes: object) -> SecurityRule:
    return replace(SecurityRule(direction="ingress", ethertype="IPv4"), **changes)


@pytest.mark.parametrize(
    ("given_rule", "expected"),
    [
        (rule(), "meta nfproto ipv4"),
        (rule(protocol="any"), "meta nfproto ipv4"),
        (rule(protocol="TCP", port_min=80, port_max=80), "meta nfproto ipv4 meta l4proto 6 th dport 80"),
        (rule(protocol="17", port_min=1, port_max=9), "meta nfproto ipv4 meta l4proto 17 th dport 1-9"),
        (rule(protocol="sctp"), "meta nfproto ipv4 meta l4proto 132"),
        (rule(protocol="icmp"), "meta nfproto ipv4 meta l4proto 1"),
        (rule(protocol="icmp", port_min=8), "meta nfproto ipv4 meta l4proto 1 icmp type 8"),
        (
            rule(protocol="icmp", ethertype="IPv6", port_min=128, port_max=0),
            "meta nfproto ipv6 meta l4proto 58 icmpv6 type 128 icmpv6 code 0",
        ),
        (rule(remote_prefix="10.0.0.0/8"), "meta nfproto ipv4 ip saddr 10.0.0.0/8"),
        (rule(remote_prefix="0.0.0.0/0"), "meta nfproto ipv4"),
        (rule(direction="egress", ethertype="IPv6", remote_prefix="fd00::/8"), "meta nfproto ipv6 ip6 daddr fd00::/8"),
        (rule(remote_prefix="fd00::/8"), None),
        (rule(remote_group_id="g", remote_addresses=["fd00::1"]), None),
    ],
)
def test_a_rule_becomes_an_expression(given_rule: SecurityRule, expected: str | None) -> None:
    assert nft_rules.expression(given_rule) == expected


def test_a_remote_groups_set_is_named_by_its_members_whatever_their_order() -> None:
    one, other = (
        rule(remote_group_id="g", remote_addresses=found) for found in (["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.1", "10.0.0.1"])
    )
    assert nft_rules.expression(one) == nft_rules.expression(other)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(Invalid):
        nft_rules.expression(rule(protocol="tcp; accept"))


def test_the_link_local_address_follows_from_the_mac() -> None:
    assert link_local("fa:16:3e:00:00:01") == "fe80::f816:3eff:fe00:1"


addresses = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)
prefixes = st.builds(lambda ip, length: f"{ip}/{length if ':' not in ip else 4 * length}", addresses, st.integers(0, 32))
macs = st.binary(min_size=6, max_size=6).map(lambda octets: ":".join(f"{octet:02x}" for octet in octets))
rules = st.builds(
    SecurityRule,
    direction=st.sampled_from(["ingress", "egress"]),
    ethertype=st.sampled_from(["IPv4", "IPv6"]),
    protocol=st.sampled_from([None, "any", "tcp", "udp", "icmp", "ipv6-icmp", "sctp", "47", "0"]),
    port_min=st.none() | st.integers(1, 100),
    port_max=st.none() | st.integers(100, 255),
    remote_prefix=st.none() | prefixes,
    remote_group_id=st.sampled_from([None, "group-1"]),
    remote_addresses=st.lists(addresses | prefixes, max_size=4),
)
groups = st.lists(rules, max_size=5).flatmap(
    lambda found: st.builds(DomainSecurityGroup, id=st.just("group-1"), rules=st.just(found), stateful=st.booleans())
)
pairs = st.lists(st.fixed_dictionaries({"ip_address": prefixes | addresses, "mac_address": macs | st.just("")}), max_size=4)
ports = st.builds(
    DomainPort,
    id=st.uuids().map(str), network_id=st.just(DOMAIN.networks[0].id), mac=macs,
    fixed_ips=st.lists(addresses.map(lambda one: ("subnet", one)), max_size=3), security_groups=st.just(["group-1", "unknown"]),
    allowed_pairs=pairs, port_security=st.booleans(), local=st.booleans(),
)  # fmt: skip
domains = st.builds(
    lambda found, group: replace(DOMAIN, ports=found, security_groups=[group]),
    st.lists(ports, max_size=3, unique_by=lambda port: port.id[:11]),
    groups,
)


@given(domains)
def test_every_jump_leads_to_a_chain_and_every_filtered_port_ends_in_drop(domain: RoutingDomain) -> None:
    text = nft.ruleset(domain)
    chains = set(re.findall(r"chain ([\w-]+) \{", text))
    assert set(re.findall(r"(?:jump|goto) ([\w-]+)", text)) <= chains
    for port in domain.ports:
        name = f"ingress-tap{port.id[:11]}"
        assert (name in chains) == (port.local and port.port_security)
        if name in chains:
            body = text.split(f"chain {name} {{", 1)[1].split("}", 1)[0]
            assert body.split("\n")[-2].strip() == "drop"


@given(domains)
def test_the_order_of_ports_and_groups_does_not_matter(domain: RoutingDomain) -> None:
    turned = replace(domain, ports=domain.ports[::-1], security_groups=domain.security_groups[::-1])
    assert nft.ruleset(turned) == nft.ruleset(domain)


@settings(max_examples=25, deadline=None)
@given(domains)
def test_nft_accepts_whatever_a_domain_says(domain: RoutingDomain) -> None:
    done = subprocess.run(["unshare", "-n", "nft", "-c", "-f", "-"], input=nft.ruleset(domain), text=True, capture_output=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("missing: root")
    assert done.returncode == 0, done.stderr


def test_a_router_that_is_down_has_no_rules() -> None:
    text = nft.ruleset(replace(DOMAIN, routers=[replace(ROUTER, up=False)]))
    assert "translate" not in text and "zone" not in text


def test_a_port_on_another_host_has_no_rules_here() -> None:
    assert PORTS[4].id[:11] not in nft.ruleset(DOMAIN)


def test_vxlan_is_taken_from_the_other_hosts_only() -> None:
    text = nft_uplink.ruleset([], "abcd", remotes=["192.0.2.2", "192.0.2.3"])
    assert "udp dport 4789 ip saddr != { 192.0.2.2, 192.0.2.3 } drop" in text and "udp dport 4789 meta nfproto ipv6 drop" in text
    assert "udp dport 4789 ip6 saddr != { 2001:db8::2 } drop" in nft_uplink.ruleset([], "abcd", remotes=["2001:db8::2"])


def test_a_domain_on_one_host_knows_no_tunnels_and_one_on_two_lets_nothing_of_its_services_through() -> None:
    assert "vx" not in nft.ruleset(DOMAIN) and "tunnel" not in nft.ruleset(DOMAIN)
    networks = [replace(one, vni=number) for number, one in enumerate(DOMAIN.networks, 1)]
    text = nft.ruleset(replace(DOMAIN, address="192.0.2.1", remotes=["192.0.2.2"], networks=networks))
    assert "udp dport { 67, 547 } drop" in text and "hook input priority -210" in text and "hook output priority -210" in text
    assert "ether daddr set" not in text, "its routers are here and answer for themselves"
    away = [replace(one, remote="192.0.2.2") for one in DOMAIN.routers]
    text = nft.ruleset(replace(DOMAIN, address="192.0.2.1", remotes=["192.0.2.2"], networks=networks, routers=away))
    assert "ip daddr 169.254.169.254 ether daddr set" in text
