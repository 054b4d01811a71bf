"""A stage for the routing reconciler: hosts that remember what they were told, a network, guests."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pileus.bus.local import LocalBus
from pileus.core.routing import digest
from pileus.model.hosts import Host, HostReport
from pileus.model.messages import ApplyDomain, DomainReply, Done, NodeReply, NodeRequest, RemoveDomain
from pileus.model.networks import Network
from pileus.model.ports import ROUTER_INTERFACE
from pileus.model.routers import Router
from pileus.model.subnets import Pool, Subnet
from pileus.reconcile import routing as module
from pileus.reconcile.routing import Routing
from pileus.store.database import Database, Transaction
from pileus.store.fixed_ips import FixedIpRequest
from pileus.store.hosts import HOSTS
from pileus.store.networks import insert_network
from pileus.store.ports import (
    NewPort,
    bind_ports,
    create_port,
    ensure_dhcp_port,
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


def report(**domains: str) -> HostReport:
    soon = time.time() + 1
    return HostReport(
        host="h", address="", version="", started_at=0, reported_at=soon, vcpus=1, memory_mib=1, disk_gib=1, domains=dict(domains)
    )


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
