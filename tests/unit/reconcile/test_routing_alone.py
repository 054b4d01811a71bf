"""The routing reconciler: what one host alone is told, on a large network or beside a guest, and by which number it is later."""

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from pileus.bus.local import LocalBus
from pileus.model.errors import Conflict
from pileus.model.messages import ApplyDomain, DomainReply, NodeReply, NodeRequest, RemoveDomain
from pileus.reconcile.routing import Routing
from pileus.reconcile.scope import Scope
from pileus.store import routing as store
from pileus.store.database import Database
from pileus.store.hosts import HOSTS
from pileus.store.ports import (
    NewPort,
    bind_ports,
    create_port,
    release_ports,
)
from tests.unit.reconcile.routing_stage import Node, attach, boot, large, play, report, two_hosts


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
