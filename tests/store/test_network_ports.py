"""Ports in the store: addresses, groups, binding, and what compute reads."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.core.routing import digest
from pileus.model.errors import Conflict, Invalid, QuotaExceeded
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_INTERFACE
from pileus.model.routers import Router
from pileus.model.subnets import Pool, Subnet
from pileus.store.database import Database, Transaction
from pileus.store.fixed_ips import FixedIpRequest
from pileus.store.networks import NETWORKS, insert_network
from pileus.store.ports import (
    PORTS,
    NewPort,
    bind_ports,
    cancel_move,
    create_port,
    ensure_dhcp_port,
    finish_move,
    ports_of,
    prepare_move,
    release_ports,
    remove_port,
    set_ports_active,
    update_port,
)
from pileus.store.quotas import set_limits
from pileus.store.routers import ROUTERS
from pileus.store.routing import all_domains, domains_of
from pileus.store.schema import migrate
from pileus.store.security_groups import default_security_group, rules_of, security_group_names
from pileus.store.subnets import insert_subnet
from tests.store.conftest import store_at


def run(tmp_path: Path, story: Callable[[Database], Awaitable[Any]]) -> Any:
    """Play a story on a fresh database."""

    async def play() -> Any:
        db = store_at(tmp_path)
        try:
            await migrate(db)
            await db.write(prepare)
            return await story(db)
        finally:
            await db.close()

    return asyncio.run(play())


async def prepare(tx: Transaction) -> None:
    network = await insert_network(tx, Network(id="net", project_id="p"))
    await insert_subnet(tx, subnet("v4", "10.0.0.0/29", "10.0.0.1", [("10.0.0.2", "10.0.0.6")]))
    await ensure_dhcp_port(tx, network)


def subnet(id: str, cidr: str, gateway: str | None, pools: list[tuple[str, str]], **rest: Any) -> Subnet:
    return Subnet(
        id=id, project_id="p", network_id=rest.pop("network_id", "net"), cidr=cidr, ip_version=6 if ":" in cidr else 4, gateway_ip=gateway,
        allocation_pools=[Pool(start=low, end=high) for low, high in pools], **rest,
    )  # fmt: skip


def new(**rest: Any) -> NewPort:
    return NewPort(project_id="p", network_id="net", **rest)


async def make(db: Database, **rest: Any) -> Any:
    return await db.write(lambda tx: create_port(tx, new(**rest)))


def test_addresses_are_given_in_order_and_a_freed_one_is_given_again(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        first = await make(db)
        second = await make(db)
        assert [first.fixed_ips[0].ip_address, second.fixed_ips[0].ip_address] == ["10.0.0.3", "10.0.0.4"]
        assert first.mac_address.startswith("fa:16:3e:")
        await db.write(lambda tx: remove_port(tx, first))
        assert (await make(db)).fixed_ips[0].ip_address == "10.0.0.3"

    run(tmp_path, story)


def test_a_full_subnet_says_so_and_leaves_no_port(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        for _ in range(4):
            await make(db)
        with pytest.raises(Conflict, match="No more IP addresses"):
            await make(db)
        assert await db.value("SELECT count(*) FROM ports") == 5

    run(tmp_path, story)


def test_an_address_is_taken_once(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        await make(db, fixed_ips=[FixedIpRequest(ip_address="10.0.0.5")])
        with pytest.raises(Conflict, match="already allocated"):
            await make(db, fixed_ips=[FixedIpRequest(subnet_id="v4", ip_address="10.0.0.5")])
        with pytest.raises(Invalid, match="not a valid IP for any"):
            await make(db, fixed_ips=[FixedIpRequest(ip_address="10.9.0.5")])
        with pytest.raises(Invalid, match="not a valid IP for the specified"):
            await make(db, fixed_ips=[FixedIpRequest(subnet_id="v4", ip_address="10.0.0.7")])

    run(tmp_path, story)


def test_a_port_has_an_address_of_each_version_and_makes_its_own_of_a_slaac_prefix(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        v6 = subnet("v6", "fd00::/64", "fd00::1", [("fd00::2", "fd00::ffff:ffff:ffff:ffff")], ipv6_address_mode="slaac")
        await db.write(lambda tx: insert_subnet(tx, v6))
        port = await make(db, mac_address="fa:16:3e:00:00:01")
        assert [one.ip_address for one in port.fixed_ips] == ["10.0.0.3", "fd00::f816:3eff:fe00:1"]
        with pytest.raises(Conflict, match="mac address"):
            await make(db, mac_address="fa:16:3e:00:00:01")

    run(tmp_path, story)


def test_an_update_keeps_what_is_asked_for_again(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        port = await make(db)
        wanted = [FixedIpRequest(subnet_id="v4"), FixedIpRequest(ip_address="10.0.0.6")]
        changed = await db.write(lambda tx: update_port(tx, port, wanted))
        assert [one.ip_address for one in changed.fixed_ips] == ["10.0.0.3", "10.0.0.6"]
        changed = await db.write(lambda tx: update_port(tx, changed, [FixedIpRequest(ip_address="10.0.0.6")]))
        assert (await make(db)).fixed_ips[0].ip_address == "10.0.0.3"

    run(tmp_path, story)


def test_the_default_group_is_made_once_with_its_four_rules(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        port = await make(db)
        again = await db.write(lambda tx: default_security_group(tx, "p"))
        assert port.security_groups == [again]
        rules = (await rules_of(db, [again]))[again]
        assert sorted((one.direction, one.ethertype, one.remote_group_id) for one in rules) == [
            ("egress", "IPv4", None), ("egress", "IPv6", None), ("ingress", "IPv4", again), ("ingress", "IPv6", again),
        ]  # fmt: skip

    run(tmp_path, story)


def test_quota_is_counted_with_the_insert(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        await db.write(lambda tx: set_limits(tx, "p", {"port": 2}))  # the DHCP port is one
        await make(db)
        with pytest.raises(QuotaExceeded):
            await make(db)

    run(tmp_path, story)


def test_a_servers_ports_are_bound_seen_and_released(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        own = await make(db, device_id="s", created_by_compute=True)
        lent = await make(db, device_id="s")
        await db.write(lambda tx: bind_ports(tx, "s", "host-1"))
        await db.write(lambda tx: set_ports_active(tx, "s", True))
        seen = (await ports_of(db, ["s", "t"]))["s"]
        assert [(one.id, one.status, one.mtu) for one in seen] == [(own.id, "ACTIVE", 1450), (lent.id, "ACTIVE", 1450)]
        assert await security_group_names(db, ["s", "t"]) == {"s": ["default"], "t": []}
        assert await db.write(lambda tx: release_ports(tx, "s")) == ["net"]
        assert await PORTS.get(db, own.id) is None
        left = await PORTS.get(db, lent.id)
        assert left is not None and (left.device_id, left.device_owner, left.host, left.status) == ("", "", None, "DOWN")

    run(tmp_path, story)


def test_a_servers_ports_move_with_it_or_stay(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        made = await make(db, device_id="s")
        await db.write(lambda tx: bind_ports(tx, "s", "host-1"))
        await db.write(lambda tx: set_ports_active(tx, "s", True))

        async def where() -> tuple[str | None, str | None, str, str]:
            port = await PORTS.get(db, made.id)
            assert port is not None
            return port.host, port.migrating_to, port.status, port.device_owner

        assert await db.write(lambda tx: prepare_move(tx, "s", "host-1")) == ["net"]
        assert await where() == ("host-1", None, "ACTIVE", "compute:nova"), "a move to where it is is none"
        await db.write(lambda tx: prepare_move(tx, "s", "host-2"))
        assert await where() == ("host-1", "host-2", "ACTIVE", "compute:nova")
        await db.write(lambda tx: cancel_move(tx, "s"))
        assert await where() == ("host-1", None, "ACTIVE", "compute:nova")
        await db.write(lambda tx: prepare_move(tx, "s", "host-2"))
        for _ in range(2):
            assert await db.write(lambda tx: finish_move(tx, "s", "host-2")) == ["net"]
            assert await where() == ("host-2", None, "ACTIVE", "compute:nova")

    run(tmp_path, story)


def test_a_domain_holds_what_its_host_needs(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        port = await make(db, device_id="s", dns_name="web")
        await make(db, device_id="other")
        await db.write(lambda tx: bind_ports(tx, "s", "host-1"))
        await db.write(lambda tx: bind_ports(tx, "other", "host-2"))
        (domain,) = await domains_of(db, ["net"], "host-1")
        assert (domain.id, [one.id for one in domain.ports], domain.networks[0].vni) == ("net", [port.id], 1)
        assert domain.networks[0].subnets[0].dhcp_ip == "10.0.0.2" and not domain.networks[0].subnets[0].gateway_here
        (rule, _) = (one for one in domain.security_groups[0].rules if one.direction == "ingress")
        assert rule.remote_addresses == ["10.0.0.3"], "the hosts don't reach each other"
        assert [digest(one) for one in await all_domains(db, "host-1")] == [digest(domain)]

    run(tmp_path, story)


def test_a_router_joins_networks_into_one_domain(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        async def work(tx: Transaction) -> None:
            await insert_network(tx, Network(id="zet", project_id="p"))
            await insert_subnet(tx, subnet("s2", "10.1.0.0/24", "10.1.0.1", [("10.1.0.2", "10.1.0.254")], network_id="zet"))
            await ROUTERS.insert(tx, Router(id="r", project_id="p"))
            for network, address in (("net", "10.0.0.1"), ("zet", "10.1.0.1")):
                wanted = [FixedIpRequest(ip_address=address)]
                leg = NewPort(project_id="p", network_id=network, device_owner=ROUTER_INTERFACE, device_id="r", fixed_ips=wanted)
                await create_port(tx, leg)

        await db.write(work)
        (domain,) = await domains_of(db, ["zet"], "host-1")
        assert (domain.id, [one.id for one in domain.networks]) == ("r", ["net", "zet"])
        assert sorted(one.ip for one in domain.routers[0].interfaces) == ["10.0.0.1", "10.1.0.1"]
        assert all(one.subnets[0].gateway_here for one in domain.networks)

    run(tmp_path, story)


def test_the_dhcp_port_follows_the_subnets(tmp_path: Path) -> None:
    async def story(db: Database) -> None:
        network = await NETWORKS.get(db, "net")
        assert network is not None
        await db.write(lambda tx: insert_subnet(tx, subnet("more", "10.2.0.0/24", None, [("10.2.0.1", "10.2.0.254")])))
        await db.write(lambda tx: ensure_dhcp_port(tx, network))
        port = await PORTS.first(db, "device_owner = ?", DHCP)
        assert port is not None and [one.ip_address for one in port.fixed_ips] == ["10.0.0.2", "10.2.0.1"]

    run(tmp_path, story)


def test_a_thousand_servers_ports_are_read_quickly(tmp_path: Path) -> None:
    async def story(db: Database) -> float:
        async def work(tx: Transaction) -> None:
            await set_limits(tx, "p", {"port": -1})
            await insert_subnet(tx, subnet("big", "10.8.0.0/16", None, [("10.8.0.1", "10.8.255.254")]))
            for number in range(1000):
                await create_port(tx, new(device_id=f"server-{number}", fixed_ips=[FixedIpRequest(subnet_id="big")]))

        await db.write(work)
        ids = [f"server-{number}" for number in range(1000)]
        times: list[float] = []
        for _ in range(5):
            begin = time.process_time()
            found = await ports_of(db, ids)
            times.append(time.process_time() - begin)
        assert all(len(found[id]) == 1 for id in ids)
        return min(times)

    assert run(tmp_path, story) < 0.02  # 5 ms on an idle machine; the rest is for a busy one
