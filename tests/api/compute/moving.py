"""A cloud with simulated hosts whose servers can move: the API, the reconcilers and the agents in one process."""

import asyncio
import json
import time
from typing import Any

import msgspec

from pileus.bus.local import LocalBus
from pileus.cli.reconcilers import reconcilers
from pileus.core.verify import View, guests, hosts, migrations, placement, ports
from pileus.core.verify import servers as server_invariants
from pileus.model.errors import Unavailable
from pileus.model.guests import ObservedPower
from pileus.model.messages import NodeReply, NodeRequest
from pileus.model.migrations import Migration
from pileus.model.servers import Server
from pileus.node.agent import Agent
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.node.hypervisor.simulated_moves import DIRTY_RATE
from pileus.node.machine import SimulatedMachine
from pileus.node.network.simulated import SimulatedNetwork
from pileus.reconcile.engine import Engine
from pileus.store import migration_records, servers
from pileus.store.routing import all_domains
from pileus.store.world import gather
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud

WITHIN = 20.0
SUBJECTS = (guests, server_invariants, migrations, placement, hosts, ports)
"""Of `verify`: the image and the network of these tests are rows that were made by hand."""
SETTLED = ("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "ERROR", "VERIFY_RESIZE")


class Moving(Compute):
    """Hosts h1, h2 ...; `requests` holds what was asked of which; a host in `away` answers nothing."""

    def __init__(self, cloud: TestCloud, hosts: int = 2, shared_disks: bool = False) -> None:
        super().__init__(cloud)
        cloud.write(lambda tx: tx.execute("DELETE FROM hosts WHERE name = 'one'"))
        self.shared_disks = shared_disks
        self.away: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.agents: dict[str, Agent] = {}
        self.drivers: dict[str, SimulatedDriver] = {}
        self.engine = Engine([])
        self.names = [f"h{number}" for number in range(1, hosts + 1)]
        self._wrap(cloud.bus)
        cloud.cloud.wake = self.engine.wake
        cloud.run(self._start())
        answer = self.call(
            "POST", "/flavors", {"flavor": {"name": "dirty", "ram": 8192, "vcpus": 1, "disk": 1, "id": "dirty"}}, who="admin"
        )
        assert answer.status == 200, answer
        spec = {"extra_specs": {DIRTY_RATE: str(1 << 40)}}
        assert self.call("POST", "/flavors/dirty/os-extra_specs", spec, who="admin").status == 200

    def _wrap(self, bus: LocalBus) -> None:
        request = bus.request

        async def asked(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
            if host in self.away:
                raise Unavailable(f"Host {host} is not connected.")
            self.requests.append((host, type(message).__name__))
            return await request(host, message, timeout)

        bus.request = asked  # type: ignore[method-assign]

    async def _start(self) -> None:
        for one in reconcilers(self.cloud.cloud, self.cloud.bus, self.engine.wake):
            self.engine.reconcilers[one.name] = one
        hosts: Any = self.engine.reconcilers["hosts"]
        self.cloud.bus.listeners.append(lambda report: None if report.host in self.away else hosts.receive(report))
        await self.engine.start()
        for name in self.names:
            agent = self.agents[name] = self.agent(name)
            agent.shared_disks = self.shared_disks
            self.cloud.bus.attach(name, agent.handle)
            await agent.start(self.cloud.bus.report)
        while not self.engine.idle():
            await pause()

    def agent(self, name: str) -> Agent:
        """A host's Computer Manager."""
        driver = self.drivers[name] = SimulatedDriver()
        return Agent(name, [driver], SimulatedNetwork(), SimulatedMachine(), address="127.0.0.1")

    def close(self) -> None:
        """Stop what was started."""
        self.cloud.run(self._close())

    async def _close(self) -> None:
        await self.engine.close()
        for agent in self.agents.values():
            await agent.close()

    def come_back(self, host: str) -> None:
        """A host that was away answers again, and what waits for it goes on."""
        self.away.discard(host)

        async def report() -> None:
            await self.agents[host]._report_all()  # as after a connection that was lost
            self.engine.retry()

        self.cloud.run(report())

    def record(self, server: str) -> Server:
        """The server's row."""
        found = self.cloud.run(servers.SERVERS.get(self.cloud.db, server))
        assert found is not None
        return found

    def migration(self, server: str) -> Migration:
        """The server's newest migration."""
        return self.cloud.run(migration_records.of_server(self.cloud.db, server))[0]

    def until(self, condition: Any, what: str) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + WITHIN
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true; {self.told()}"
            self.cloud.run(pause())

    def told(self) -> str:
        """What a failure of a test should say."""
        rows = self.cloud.run(
            self.cloud.db.all("SELECT status, task_state, next_step, host, migration, resize, fault, observed FROM servers")
        )
        moves = self.cloud.run(self.cloud.db.all("SELECT step, status, source, destination, error FROM server_migrations"))
        return f"failing: {self.engine.failing}; servers: {rows}; migrations: {moves}"

    def is_at(self, server: str, status: str, task: str | None = None) -> bool:
        """Whether the server is in a status, and nothing more is being done."""
        row = self.record(server)
        return (row.status, row.task_state) == (status, task) and row.next_step == "nothing"

    def wait(self, server: str, status: str = "ACTIVE", task: str | None = None) -> None:
        """Until the server is in a status."""
        self.until(lambda: self.is_at(server, status, task), f"{status} {task}")

    def wait_move(self, server: str, status: str) -> Migration:
        """Until the newest migration has a status and both hosts are as they should be."""
        waiting = ("finished", "running", "error", "cancelled", "completed")
        self.until(lambda: self.migration(server).status == status, f"the migration is {status}")
        if status not in ("finished", "running"):
            self.until(lambda: self.migration(server).step == "done" or self.away, "the migration is done")
        assert status in (*waiting, "confirmed", "reverted")
        return self.migration(server)

    def placed(self, name: str = "one", flavor: str = "1", **fields: Any) -> str:
        """A server that runs on one of the hosts."""
        server = self.create(name, flavorRef=flavor, **fields)
        self.wait(server)
        return server

    def other(self, server: str) -> str:
        """The first host on which the server is not."""
        return next(name for name in self.names if name != self.record(server).host)

    def guests(self, server: str) -> dict[str, str]:
        """Host -> power of every copy of the server's guest."""
        return {
            name: state.observed.power.value
            for name, driver in self.drivers.items()
            for key, state in driver._states.items()
            if key == server
        }

    def verified(self) -> None:
        """Until `verify` finds nothing in the records and on the hosts that answer: what is on its way needs a moment."""
        deadline = time.monotonic() + WITHIN
        while found := self.cloud.run(self._breaches()):
            assert time.monotonic() < deadline, found
            self.cloud.run(pause())

    async def _breaches(self) -> list[tuple[str, str]]:
        world = await gather(self.cloud.db, self.cloud.cloud.config.image_stores)
        views = [await self._view(name) for name in self.names if name not in self.away]
        world = msgspec.structs.replace(world, views=views, away=sorted(self.away))
        return [(one.name, one.evidence) for subject in SUBJECTS for invariant in subject.INVARIANTS for one in invariant.breaches(world)]

    async def _view(self, host: str) -> View:
        states = self.drivers[host]._states
        guests = [state.observed for state in states.values()]
        return View(
            host=host,
            guests=guests,
            guest_directories=list(states),
            processes={one.id: [1] for one in guests if one.power == ObservedPower.RUNNING},
            namespaces=sorted(await self.agents[host]._network.observe()),
            domains={one.id: [port.id for port in one.ports if port.local] for one in await all_domains(self.cloud.db, host)},
        )

    def shares(self, consumer: str) -> dict[str, dict[str, int]]:
        """Host -> what a consumer has of it."""
        sql = "SELECT h.name, a.resources FROM allocations a JOIN hosts h ON h.id = a.provider_id WHERE a.consumer_id = ?"
        rows = self.cloud.run(self.cloud.db.all(sql, consumer))
        return {row[0]: json.loads(row[1]) for row in rows}

    def port_hosts(self, server: str) -> set[tuple[str, str | None]]:
        """(host, where else it is being prepared) of the server's ports."""
        rows = self.cloud.run(self.cloud.db.all("SELECT host, migrating_to FROM ports WHERE device_id = ?", server))
        return {(row[0], row[1]) for row in rows}

    def events(self, server: str, action: str) -> list[tuple[str, str, str | None]]:
        """(event, result, details) of the newest action of a name, oldest first."""
        found = self.call("GET", f"/servers/{server}/os-instance-actions", who="admin").json["instanceActions"]
        request_id = next(one["request_id"] for one in found if one["action"] == action)
        shown = self.call("GET", f"/servers/{server}/os-instance-actions/{request_id}", who="admin").json["instanceAction"]
        return [(one["event"], one["result"], one["details"]) for one in reversed(shown["events"])]


async def pause() -> None:
    """Let the others run for a moment."""
    await asyncio.sleep(0.005)


class Silence:
    """A host that falls silent before or after a numbered request of the reconcilers, until `end`; requests of all are counted."""

    def __init__(self, moving: Moving, host: str, number: int, after: bool) -> None:
        self.moving = moving
        self.host = host
        self.number = number
        self.after = after
        self.seen = 0
        self.name = ""
        self.ended = False
        self._request = moving.cloud.bus.request

    def begin(self) -> None:
        """Count from now on."""
        request = self._request

        async def counted(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
            self.seen += 1
            mine = self.seen == self.number
            if mine:
                self.name = f"{type(message).__name__} to {host}"
            if mine and not self.after:
                self.moving.away.add(self.host)
            try:
                return await request(host, message, timeout)
            finally:
                if mine and self.after and not self.ended:
                    self.moving.away.add(self.host)

        self._replace(counted)

    def end(self) -> None:
        """The host is back, if it went."""
        self.ended = True
        self._replace(self._request)
        if self.host in self.moving.away:
            self.moving.come_back(self.host)

    def _replace(self, request: Any) -> None:
        self.moving.cloud.bus.request = request  # type: ignore[method-assign]
