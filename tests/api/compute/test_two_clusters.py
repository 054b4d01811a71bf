"""Two Cluster Managers in one cloud: each asks and writes of its own hosts' servers only; one of them places what has no host."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.bus.local import LocalBus
from pileus.cli.reconcilers import reconcilers
from pileus.model.messages import NodeReply, NodeRequest
from pileus.node.agent import Agent
from pileus.reconcile.engine import Engine
from pileus.reconcile.scope import Scope
from tests.api.compute.losing import Losing, fence_command, looks_often  # noqa: F401 a fixture
from tests.api.compute.moving import pause
from tests.api.harness import TestCloud

CLUSTERS = {"h1": "east", "h2": "east", "h3": "west", "h4": "west"}


class Heard:
    """The bus as one manager uses it: whom it asks is noted."""

    connected_at = LocalBus.connected_at

    def __init__(self, bus: LocalBus) -> None:
        self.bus = bus
        self.asked: set[str] = set()

    async def request(self, host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        self.asked.add(host)
        return await self.bus.request(host, message, timeout)


class TwoClusters(Losing):
    """The managers of east and west; `places` says which of them places."""

    def __init__(self, cloud: TestCloud, directory: Path) -> None:
        self.engines = {name: Engine([], scan_every=300.0) for name in ("east", "west")}
        self.heard = {name: Heard(cloud.bus) for name in self.engines}
        self.scopes: dict[str, Scope] = {}
        self.places = "west"
        super().__init__(cloud, directory, len(CLUSTERS))

    def agent(self, name: str) -> Agent:
        made = super().agent(name)
        made.cluster, made._period = CLUSTERS[name], 20.0
        return made

    def wake(self, name: str, id: str) -> None:
        """As over the bus: every manager hears it."""
        for engine in self.engines.values():
            engine.wake(name, id)

    async def _start(self) -> None:
        self.engine = self.engines["west"]
        self.cloud.cloud.wake = self.wake
        for name, engine in self.engines.items():
            scope = self.scopes[name] = Scope(self.cloud.db, name, lambda name=name: self.places == name)
            bus: Any = self.heard[name]
            for one in reconcilers(self.cloud.cloud, bus, self.wake, scope):
                engine.reconcilers[one.name] = one
            hosts: Any = engine.reconcilers["hosts"]
            self.cloud.bus.listeners.append(lambda report, hosts=hosts: None if report.host in self.away else hosts.receive(report))
            await engine.start()
        for name in self.names:
            agent = self.agents[name] = self.agent(name)
            agent.shared_disks = True
            self.cloud.bus.attach(name, agent.handle)
            await agent.start(self.cloud.bus.report)
        deadline = time.monotonic() + 20
        while await self.cloud.db.value("SELECT count(*) FROM hosts") < len(CLUSTERS) and time.monotonic() < deadline:
            await pause()

    async def _close(self) -> None:
        await asyncio.gather(*(engine.close() for engine in self.engines.values()))
        for agent in self.agents.values():
            await agent.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[TwoClusters]:
    cloud = TestCloud(evacuate="all", fencing={"*": fence_command(tmp_path)})
    made = TwoClusters(cloud, tmp_path)
    yield made
    made.close()
    cloud.close()


def on(two: TwoClusters, host: str, name: str = "one") -> str:
    """A server on a host; networks none, as administrators have none here."""
    server = two.create(name, who="admin", networks="none", availability_zone=f"nova:{host}")
    two.until(lambda: two.record(server).status == "ACTIVE", "it runs")
    return server


def test_each_manager_asks_its_own_hosts_only(two: TwoClusters) -> None:
    servers = {host: on(two, host, f"on-{host}") for host in two.names}
    for host, server in servers.items():
        assert two.record(server).host == host
        assert two.act(server, "os-stop", who="admin").status == 202
        two.until(lambda server=server: two.record(server).status == "SHUTOFF", "it is off")  # type: ignore[misc]
        assert two.call("DELETE", f"/servers/{server}", who="admin").status == 204
        two.until(lambda server=server: two.record(server).removed_at, "it is gone")  # type: ignore[misc]
    assert two.heard["east"].asked == {"h1", "h2"}
    assert two.heard["west"].asked == {"h3", "h4"}


def test_who_does_not_place_leaves_what_has_no_host(two: TwoClusters) -> None:
    two.places = "nobody"
    server = two.create("waits", who="admin", networks="none")
    two.cloud.run(pause())
    for engine in two.engines.values():
        two.until(engine.idle, "it has looked")
    assert two.record(server).host is None
    two.places = "east"
    two.cloud.loop.call_soon_threadsafe(two.wake, "servers", server)
    two.until(lambda: two.record(server).status == "ACTIVE", "it runs")


def test_what_is_placed_in_another_cluster_is_taken_up_there_at_once(two: TwoClusters) -> None:
    """The hosts' next reports are many seconds off, and the next look at everything five minutes."""
    two.places = "west"
    began = time.monotonic()
    server = on(two, "h1")
    assert time.monotonic() - began < 5
    assert set(two.guests(server)) == {"h1"}


def test_a_lost_hosts_servers_stay_in_its_cluster_and_its_own_manager_sees_to_it(two: TwoClusters) -> None:
    server = on(two, "h1")
    two.lose("h1")
    assert two.elsewhere(server, "h1") == "h2"
    assert two.fenced == ["h1"]
    assert "h1" not in two.heard["west"].asked


def test_who_hears_none_of_its_own_hosts_judges_none(two: TwoClusters) -> None:
    """The other manager hears its hosts, and writes so into the store that both see."""
    reconciler: Any = two.engines["east"].reconcilers["availability"]
    reconciler.liveness._since -= 3600
    two.cloud.write(lambda tx: tx.execute("UPDATE hosts SET seen_at = 0 WHERE cluster = 'east'"))
    for host in ("h1", "h2"):
        two.away.add(host)
    assert two.cloud.run(reconciler.scan()) == []
    two.cloud.write(lambda tx: tx.execute(f"UPDATE hosts SET seen_at = {time.time()} WHERE name = 'h2'"))
    assert two.cloud.run(reconciler.scan()) == ["h1"]


def test_a_scope_owns_its_clusters_hosts_also_new_ones(two: TwoClusters) -> None:
    async def look() -> list[bool]:
        return [await two.scopes["east"].owns(host) for host in ("h1", "h3", "unheard-of")]

    assert two.cloud.run(look()) == [True, False, False]
    assert two.scopes["east"].hears("east") and not two.scopes["east"].hears("west")
    assert not two.cloud.run(two.scopes["east"].owns(None)) and two.cloud.run(two.scopes["west"].owns(None))
    assert two.cloud.run(Scope().owns("anything")) and Scope().hears("anything")
