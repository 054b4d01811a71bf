"""The routing reconciler: who is told what, in which order, and what is taken away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.bus.local import LocalBus
from pileus.core.routing import digest
from pileus.model.errors import Conflict, Unavailable
from pileus.model.hosts import DRAIN, Host, HostReport
from pileus.model.messages import ApplyDomain, DomainReply, Done, NodeReply, NodeRequest, RemoveDomain
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_INTERFACE
from pileus.model.routers import Router
from pileus.model.subnets import Pool, Subnet
from pileus.reconcile import routing as module
from pileus.reconcile.lately import Lately
from pileus.reconcile.routing import Routing
from pileus.reconcile.scope import EVERYTHING, Scope
from pileus.store import routing as store
from pileus.store.database import Database, Transaction
from pileus.store.fixed_ips import FixedIpRequest
from pileus.store.hosts import HOSTS
from pileus.store.networks import insert_network
from pileus.store.ports import (
    PORTS,
    NewPort,
    bind_ports,
    create_port,
    ensure_dhcp_port,
    finish_move,
    prepare_move,
    release_ports,
    remove_port,
)
from pileus.store.routers import ROUTERS
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase
from pileus.store.subnets import insert_subnet


class Node:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.domains: dict[str, Any] = {}
        self.woken: list[str] = []

    async def handle(self, request: NodeRequest) -> NodeReply:
        if isinstance(request, ApplyDomain):
            self.told.append(("apply", request.domain.id))
            self.domains[request.domain.id] = request.domain
            return DomainReply(domain_id=request.domain.id, digest=digest(request.domain))
        assert isinstance(request, RemoveDomain)
        self.told.append(("remove", request.domain_id))
        self.domains.pop(request.domain_id, None)
        return Done()


def play(tmp_path: Path, story: Callable[[Database, Routing, Node], Awaitable[Any]]) -> None:
    async def run() -> None:
        db = SqliteDatabase(tmp_path / "pileus.db")
        bus, node = LocalBus(), Node()
        bus.attach("h", node.handle)
        try:
            await migrate(db)
            await db.write(prepare)
            await story(db, Routing(db, bus, lambda name, id: node.woken.append(id)), node)
        finally:
            await db.close()

    module.PAUSE = module.SHARE = 0.0
    asyncio.run(run())


async def prepare(tx: Transaction) -> None:
    await HOSTS.insert(tx, Host(id="h", name="h", number=1, service_id="s"))
    network = await insert_network(tx, Network(id="net", project_id="p"))
    pools = [Pool(start="10.0.0.2", end="10.0.0.254")]
    subnet = Subnet(
        id="sub", project_id="p", network_id="net", cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1", allocation_pools=pools
    )
    await insert_subnet(tx, subnet)
    await ensure_dhcp_port(tx, network)


async def boot(tx: Transaction) -> None:
    await create_port(tx, NewPort(project_id="p", network_id="net", device_id="server", created_by_compute=True))
    await bind_ports(tx, "server", "h")


async def attach(tx: Transaction) -> str:
    await ROUTERS.insert(tx, Router(id="router", project_id="p"))
    wanted = [FixedIpRequest(ip_address="10.0.0.1")]
    leg = NewPort(project_id="p", network_id="net", device_owner=ROUTER_INTERFACE, device_id="router", fixed_ips=wanted)
    return (await create_port(tx, leg)).id


def test_a_network_without_guests_is_nowhere(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await routing.step("net")
        assert node.told == []

    play(tmp_path, story)


def test_what_was_read_is_forgotten_though_a_step_ends_before_its_time(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        class Unsure(Scope):
            async def owns(self, host: str | None) -> bool:
                raise Unavailable("The store does not answer.")

        await db.write(boot)
        routing.scope = Unsure()
        with pytest.raises(Unavailable):
            await routing.step("net")
        assert routing._read == {}
        routing.scope = EVERYTHING
        await routing.step("net")
        assert list(node.domains) == ["net"] and routing._read == {}

    play(tmp_path, story)


def test_a_domain_is_told_once_until_it_changes_and_goes_with_its_last_guest(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        await routing.step("net")
        await routing.step("net")
        assert node.told == [("apply", "net")]
        dhcp = await PORTS.first(db, "device_owner = ?", DHCP)
        assert dhcp is not None and dhcp.status == "ACTIVE"
        await db.write(lambda tx: release_ports(tx, "server"))
        await routing.step("net")
        assert node.told[1:] == [("remove", "net")] and not routing.sent

    play(tmp_path, story)


def test_a_network_that_joins_a_router_moves_and_is_never_without_a_domain(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        await routing.step("net")
        leg = await db.write(attach)
        await routing.step("net")
        assert node.told[1:] == [("apply", "router"), ("remove", "net")]
        port = await PORTS.get(db, leg)
        assert port is not None and port.status == "ACTIVE"
        await db.write(lambda tx: remove_port(tx, port))
        await routing.step("router")
        assert node.told[3:] == [("apply", "net"), ("remove", "router")]

    play(tmp_path, story)


def test_a_host_that_may_have_something_older_is_told_again(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        await routing.step("net")
        await routing.step("h/net")
        assert node.woken == ["net"]
        await routing.step("net")
        assert node.told == [("apply", "net"), ("apply", "net")]

    play(tmp_path, story)


async def crowd(tx: Transaction) -> None:
    """A hundred guests, on h but for one."""
    for number in range(module.MANY):
        await create_port(tx, NewPort(project_id="p", network_id="net", device_id=f"guest{number}", created_by_compute=True))
        await bind_ports(tx, f"guest{number}", "h" if number else "i")


def large(tmp_path: Path, story: Callable[[Database, Routing, dict[str, Node]], Awaitable[Any]]) -> None:
    """A large network on hosts h and i, which do not reach each other, with a new server on h."""

    async def begin(db: Database, routing: Routing, node: Node) -> None:
        assert isinstance(routing.bus, LocalBus)
        other = Node()
        routing.bus.attach("i", other.handle)
        await db.write(lambda tx: HOSTS.insert(tx, Host(id="i", name="i", number=2, service_id="t")))
        await db.write(crowd)
        await routing.step("net")
        node.woken.clear()
        await db.write(boot)
        await routing.step("h/net")
        await story(db, routing, {"h": node, "i": other})

    play(tmp_path, begin)


def test_on_a_large_network_a_host_is_told_alone_and_exactly_what_a_look_at_all_would_tell_it(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node]) -> None:
        assert nodes["h"].woken == ["/net"]
        await routing.step("/net")
        assert [len(node.told) for node in nodes.values()] == [2, 1] and nodes["h"].woken == ["/net"]
        assert "server" in {port.guest_id for port in nodes["h"].domains["net"].ports}
        await routing.step("net")
        assert [len(node.told) for node in nodes.values()] == [2, 1]

    large(tmp_path, story)


def test_a_host_that_is_to_be_told_alone_is_left_to_a_look_at_all_where_others_are_concerned(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node]) -> None:
        for name, number in (("h", 1), ("i", 2)):
            found = replace(report(), host=name, address=f"192.0.2.{number}")
            await db.write(lambda tx, name=name, found=found: HOSTS.set(tx, name, report=found))
        await routing.step("/net")
        assert nodes["h"].woken == ["/net", "net"] and len(nodes["h"].told) == 1
        await routing.step("net")
        assert [len(node.told) for node in nodes.values()] == [2, 2]
        await routing.step("h/net")
        assert nodes["h"].woken[2:] == ["net"], "hosts that reach each other are looked at together"

    large(tmp_path, story)


@pytest.mark.parametrize("change", ["router", "no guests", "many hosts", "no answer", "a step under way"])
def test_a_host_is_told_alone_only_of_the_domain_that_it_has(tmp_path: Path, change: str) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node]) -> None:
        if change == "router":
            await db.write(attach)
        elif change == "no guests":
            await db.write(lambda tx: tx.execute("UPDATE ports SET host = 'i' WHERE host = 'h'"))
        elif change == "many hosts":
            await routing.step("i/net")
        elif change == "no answer":
            assert isinstance(routing.bus, LocalBus)
            routing.bus.detach("h")
        else:
            routing._steps_under_way += 1  # pyright: ignore[reportPrivateUsage]
        await routing.step("/net")
        assert nodes["h"].woken[-1] == "net" and len(nodes["h"].told) == 1

    large(tmp_path, story)


class Knowing(Node):
    """It has been told of everything at a time that is ahead of ours: before the clock was set back, or by a process that is gone."""

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.known = ahead

    async def handle(self, request: NodeRequest) -> NodeReply:
        read_at = (
            request.domain.read_at if isinstance(request, ApplyDomain) else request.read_at if isinstance(request, RemoveDomain) else 0
        )
        if read_at < self.known:
            self.told.append(("refused", "net"))
            return DomainReply(domain_id="net", digest="", read_at=self.known)
        self.known = read_at
        return await super().handle(request)


def test_a_host_that_was_told_of_what_was_read_later_is_told_anew_with_a_larger_number(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, _: Node) -> None:
        node = Knowing(int((time.time() + 3600) * 1e6))
        routing.bus.attach("h", node.handle)  # type: ignore[attr-defined]
        await db.write(boot)
        with pytest.raises(Conflict) as caught:
            await routing.step("net")
        assert caught.value.data["stale"], "it is tried again without a word"
        await routing.step("net")
        assert node.told == [("refused", "net"), ("apply", "net")]
        assert node.domains["net"].read_at == node.known
        await routing.step("net")
        assert len(node.told) == 2, "nothing has changed"
        node.known += 3_600_000_000
        await db.write(lambda tx: release_ports(tx, "server"))
        with pytest.raises(Conflict):
            await routing.step("net")
        assert node.domains
        await routing.step("net")
        assert node.told[2:] == [("refused", "net"), ("remove", "net")]

    play(tmp_path, story)


async def with_a_guest(db: Database, routing: Routing, node: Node) -> bool:
    """The host is told the domain together with a new guest, and nobody else tells it anything; True: that is all there is to do."""
    with routing.tells.telling("h") as tell:
        [domain] = await store.domains_of(db, ["net"], "h")
        reply = await node.handle(ApplyDomain(domain=domain))
    assert isinstance(reply, DomainReply)
    return tell.alone and routing.tells.took("h", domain, reply.digest)


def test_a_domain_that_came_with_a_guest_is_not_sent_again(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        assert not await with_a_guest(db, routing, node), "the first guest brings a domain there: that is to be looked at"
        await routing.step("net")
        await db.write(lambda tx: create_port(tx, NewPort(project_id="p", network_id="net", device_id="second")))
        await db.write(lambda tx: bind_ports(tx, "second", "h"))
        before = len(node.told)
        assert await with_a_guest(db, routing, node)
        await routing.step("net")
        assert len(node.told) == before + 1 and await routing.scan() == []
        await db.write(lambda tx: release_ports(tx, "second"))
        await routing.step("net")
        assert len(node.told) == before + 2 and len(node.domains["net"].ports) == 1

    play(tmp_path, story)


@pytest.mark.parametrize("meanwhile", ["another guest", "a step", "a step under way", "a host without a digest", "several processes"])
def test_a_domain_that_came_with_a_guest_is_looked_at_where_somebody_else_may_have_told_it_too(tmp_path: Path, meanwhile: str) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        await routing.step("net")
        with routing.tells.telling("h") as tell:
            [domain] = await store.domains_of(db, ["net"], "h")
            if meanwhile == "another guest":
                with routing.tells.telling("h") as other:
                    pass
                assert not other.alone
            elif meanwhile == "a step":
                routing.sent.clear()
                await routing.step("net")
            elif meanwhile == "a step under way":
                routing._steps_under_way += 1  # pyright: ignore[reportPrivateUsage]
            elif meanwhile == "several processes":
                routing.scope = Scope(db, "cluster1")
        digest = "" if meanwhile == "a host without a digest" else "1"
        assert not (tell.alone and routing.tells.took("h", domain, digest))
        with routing.tells.telling("h") as later:
            pass
        assert later.alone

    play(tmp_path, story)


def test_where_hosts_reach_each_other_a_new_guest_is_told_to_all(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        await routing.step("net")
        [domain] = await store.domains_of(db, ["net"], "h")
        assert not routing.tells.took("h", domain, "1")

    two_hosts(tmp_path, story)


def test_after_a_start_everything_is_looked_at_once(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        assert await routing.scan() == ["net"]
        await routing.step("net")
        assert await routing.scan() == []

    play(tmp_path, story)


def report(**domains: str) -> HostReport:
    soon = time.time() + 1
    return HostReport(
        host="h", address="", version="", started_at=0, reported_at=soon, vcpus=1, memory_mib=1, disk_gib=1, domains=dict(domains)
    )


def test_a_host_that_reports_something_else_is_told_again_and_what_nobody_wants_is_removed(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        await routing.step("net")
        await db.write(lambda tx: HOSTS.set(tx, "h", report=report(old="1", net=routing.replied["h", "net"])))
        assert await routing.scan() == ["h/old"]
        await routing.step("old")
        assert node.told[1:] == [("remove", "old")]
        await db.write(lambda tx: HOSTS.set(tx, "h", report=report()))
        assert await routing.scan() == ["h/net"]

    play(tmp_path, story)


def test_a_host_that_was_removed_and_comes_back_with_what_nobody_wants_any_more_is_rid_of_it(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        await routing.step("net")
        has = {name: digest(domain) for name, domain in node.domains.items()}
        await db.write(lambda tx: release_ports(tx, "server"))
        await db.write(lambda tx: HOSTS.delete(tx, "h"))
        routing._lately = Lately(routing._look)  # a moment later
        await routing.scan()
        await db.write(lambda tx: HOSTS.insert(tx, Host(id="h", name="h", number=1, service_id="s", report=report(**has))))
        routing._lately, routing._reported = Lately(routing._look), Lately(routing._by_domain)
        for id in await routing.scan():
            await routing.step(id)
        for id in node.woken:
            await routing.step(id)
        assert node.told == [("apply", "net"), ("remove", "net")]

    play(tmp_path, story)


def test_what_a_host_is_told_is_read_at_that_moment_and_not_before_its_turn(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(lambda tx: create_port(tx, NewPort(project_id="p", network_id="net", device_id="first")))
        await db.write(lambda tx: bind_ports(tx, "first", "h"))
        async with routing._lock("h"):  # the host is busy with another domain  # pyright: ignore[reportPrivateUsage]
            step = asyncio.create_task(routing.step("net"))
            await asyncio.sleep(0)
            await db.write(boot)  # meanwhile a server's own apply has brought its port
        await step
        assert {port.guest_id for port in node.domains["net"].ports} == {"first", "server"}

    play(tmp_path, story)


async def second_host(tx: Transaction, seen_at: float) -> None:
    """Hosts h and i, reachable for each other, with a guest on each and a router between the network and the outside."""
    await HOSTS.insert(tx, Host(id="i", name="i", number=2, service_id="t"))
    for name, number in (("h", 1), ("i", 2)):
        await HOSTS.set(tx, name, report=replace(report(), host=name, address=f"192.0.2.{number}", reported_at=0.0), seen_at=seen_at)
        await create_port(tx, NewPort(project_id="p", network_id="net", device_id=f"guest-{name}", created_by_compute=True))
        await bind_ports(tx, f"guest-{name}", name)
    await attach(tx)


def two_hosts(tmp_path: Path, story: Callable[[Database, Routing, dict[str, Node], LocalBus], Awaitable[Any]]) -> None:
    async def begin(db: Database, routing: Routing, node: Node) -> None:
        assert isinstance(routing.bus, LocalBus)
        other = Node()
        routing.bus.attach("i", other.handle)
        routing.liveness._since -= 1000  # it has listened that long  # pyright: ignore[reportPrivateUsage]
        await db.write(lambda tx: second_host(tx, time.time()))
        await story(db, routing, {"h": node, "i": other}, routing.bus)

    play(tmp_path, begin)


def carriers(nodes: dict[str, Node]) -> list[str]:
    return [name for name, node in nodes.items() if any(not one.remote for one in node.domains["router"].routers)]


def test_one_host_carries_the_routers_and_the_other_knows_which(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        await routing.step("net")
        (carrier,) = carriers(nodes)
        assert await store.router_hosts(db) == {"router": carrier}
        other = nodes["i" if carrier == "h" else "h"].domains["router"]
        assert other.routers[0].remote == {"h": "192.0.2.1", "i": "192.0.2.2"}[carrier] == other.remotes[0]
        assert await routing.scan() == []

    two_hosts(tmp_path, story)


def test_routers_leave_a_host_that_is_silent_and_do_not_come_back(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        await routing.step("net")
        (before,) = carriers(nodes)
        after = "i" if before == "h" else "h"
        await db.write(lambda tx: HOSTS.set(tx, before, seen_at=time.time() - 1000))
        assert await routing.scan() == ["router"]
        await routing.step("router")
        assert not nodes[after].domains["router"].routers[0].remote and await store.router_hosts(db) == {"router": after}
        await db.write(lambda tx: HOSTS.set(tx, before, seen_at=time.time()))
        await routing.step("router")
        assert carriers(nodes) == [after]
        await db.write(lambda tx: HOSTS.set(tx, after, forced_down=True))
        assert await routing.scan() == ["router"]
        await routing.step("router")
        assert carriers(nodes) == [before]

    two_hosts(tmp_path, story)


def test_a_host_that_does_not_answer_keeps_the_others_from_nothing_and_is_told_when_it_is_back(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        await routing.step("net")
        (carrier,) = carriers(nodes)
        dead = "i" if carrier == "h" else "h"
        away = asyncio.Event()

        async def silent(request: NodeRequest) -> NodeReply:
            await away.wait()
            raise Unavailable("The host is away.")

        bus.attach(dead, silent)
        await db.write(lambda tx: HOSTS.set(tx, dead, seen_at=time.time() - 1000))
        await db.write(lambda tx: create_port(tx, NewPort(project_id="p", network_id="net", device_id="new")))
        await db.write(lambda tx: bind_ports(tx, "new", carrier))
        began = time.monotonic()
        await routing.step("net")
        assert time.monotonic() - began < 5, "it is not waited for"
        assert "new" in {one.guest_id for one in nodes[carrier].domains["router"].ports}
        leg = await PORTS.first(db, "device_owner = ?", ROUTER_INTERFACE)
        assert leg is not None and leg.status == "ACTIVE"
        away.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert await routing.scan() == []
        bus.attach(dead, nodes[dead].handle)
        await db.write(lambda tx: HOSTS.set(tx, dead, seen_at=time.time()))
        assert await routing.scan() == [f"{dead}/router"]
        await routing.step(f"{dead}/router")
        await routing.step("router")
        assert "new" in {one.guest_id for one in nodes[dead].domains["router"].ports}

    two_hosts(tmp_path, story)


def test_a_moved_port_is_told_to_every_host_in_one_step(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        def seen() -> dict[str, tuple[bool, str]]:
            ports = {name: next(one for one in node.domains["router"].ports if one.guest_id == "guest-h") for name, node in nodes.items()}
            return {name: (one.local, one.remote) for name, one in ports.items()}

        await db.write(boot)  # something else that stays on h
        await routing.step("net")
        await db.write(lambda tx: prepare_move(tx, "guest-h", "i"))
        await routing.step("net")
        assert seen() == {"h": (True, ""), "i": (True, "192.0.2.1")}
        (network,) = await db.write(lambda tx: finish_move(tx, "guest-h", "i"))
        await routing.step(network)
        assert seen() == {"h": (False, "192.0.2.2"), "i": (True, "")}

    two_hosts(tmp_path, story)


def test_a_router_that_is_gone_is_carried_by_nobody(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        await routing.step("net")
        leg = await PORTS.first(db, "device_owner = ?", ROUTER_INTERFACE)
        assert leg is not None
        await db.write(lambda tx: remove_port(tx, leg))
        await db.write(lambda tx: ROUTERS.delete(tx, "router"))
        await routing.step("router")
        assert await store.router_hosts(db) == {}
        assert all(set(node.domains) == {"net"} for node in nodes.values())

    two_hosts(tmp_path, story)


def test_a_host_that_only_carries_routers_has_what_the_records_want_there_also_where_it_reaches_no_other(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        for name in nodes:
            await db.write(lambda tx, name=name: HOSTS.set(tx, name, report=replace(report(), host=name, address="")))
        await routing.step("net")
        ((_, carrier),) = (await store.router_hosts(db)).items()
        await db.write(lambda tx: release_ports(tx, f"guest-{carrier}"))
        await routing.step("net")
        for name, node in nodes.items():
            assert [one.id for one in await store.all_domains(db, name)] == list(node.domains) == ["router"]

    two_hosts(tmp_path, story)


def test_a_port_elsewhere_is_no_news_to_a_host_that_reaches_no_other(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        for name in nodes:
            await db.write(lambda tx, name=name: HOSTS.set(tx, name, report=replace(report(), host=name, address="")))
        await routing.step("net")
        for server in ("more", "yet more"):
            told = len(nodes["i"].told)
            await db.write(lambda tx, id=server: create_port(tx, NewPort(project_id="p", network_id="net", device_id=id)))
            await db.write(lambda tx, id=server: bind_ports(tx, id, "h"))
            await routing.step("net")
            assert server in {one.guest_id for one in nodes["h"].domains["router"].ports}
            assert len(nodes["i"].told) == told
        await db.write(lambda tx: bind_ports(tx, "yet more", "i"))
        await routing.step("net")
        assert "yet more" in {one.guest_id for one in nodes["i"].domains["router"].ports}

    two_hosts(tmp_path, story)


def test_a_host_that_is_drained_hands_its_routers_over_once_another_carries_them(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, nodes: dict[str, Node], bus: LocalBus) -> None:
        await routing.step("net")
        (before,) = carriers(nodes)
        after = "i" if before == "h" else "h"
        await db.write(lambda tx: HOSTS.set(tx, before, enabled=False, disabled_reason="it is slow"))
        assert await routing.scan() == [], "it is only to get no new servers"
        await db.write(lambda tx: HOSTS.set(tx, before, disabled_reason=DRAIN))
        assert await routing.scan() == ["router"]
        carried: list[list[str]] = []
        for name, node in nodes.items():

            async def watched(request: NodeRequest, node: Node = node) -> NodeReply:
                carried.append(carriers(nodes))
                return await node.handle(request)

            bus.attach(name, watched)
        await routing.step("router")
        assert carried == [[before], ["h", "i"]] and carriers(nodes) == [after]
        assert await routing.scan() == []
        await db.write(lambda tx: HOSTS.set(tx, before, enabled=True, disabled_reason=None))
        await routing.step("router")
        assert carriers(nodes) == [after], "they stay"

    two_hosts(tmp_path, story)
