"""The routing reconciler with two hosts: who carries routers, who is told of whom."""

import asyncio
import time
from pathlib import Path

from msgspec.structs import replace

from pileus.bus.local import LocalBus
from pileus.model.errors import Unavailable
from pileus.model.hosts import DRAIN
from pileus.model.messages import NodeReply, NodeRequest
from pileus.model.ports import ROUTER_INTERFACE
from pileus.reconcile.routing import Routing
from pileus.store import routing as store
from pileus.store.database import Database
from pileus.store.hosts import HOSTS
from pileus.store.ports import (
    PORTS,
    NewPort,
    bind_ports,
    create_port,
    finish_move,
    prepare_move,
    release_ports,
    remove_port,
)
from pileus.store.routers import ROUTERS
from tests.unit.reconcile.routing_stage import Node, boot, carriers, report, two_hosts


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
