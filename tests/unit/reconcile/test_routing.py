"""The routing reconciler: who is told what, in which order, and what is taken away."""

import asyncio
from pathlib import Path

import pytest

from pileus.core.routing import digest
from pileus.model.errors import Unavailable
from pileus.model.hosts import Host
from pileus.model.ports import DHCP
from pileus.reconcile.lately import Lately
from pileus.reconcile.routing import Routing
from pileus.reconcile.scope import EVERYTHING, Scope
from pileus.store.database import Database
from pileus.store.hosts import HOSTS
from pileus.store.ports import (
    PORTS,
    NewPort,
    bind_ports,
    create_port,
    release_ports,
    remove_port,
)
from tests.unit.reconcile.routing_stage import Node, attach, boot, play, report


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


def test_after_a_start_everything_is_looked_at_once(tmp_path: Path) -> None:
    async def story(db: Database, routing: Routing, node: Node) -> None:
        await db.write(boot)
        assert await routing.scan() == ["net"]
        await routing.step("net")
        assert await routing.scan() == []

    play(tmp_path, story)


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
