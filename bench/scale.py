"""Measures placement over many hosts with the real code: agents that report, the reconciler that registers them, placements that claim.

    ./pileus bench scale [--hosts 100,1000,10000] [--servers N] [--seed S] [--clusters C] [--json]

Each number of hosts has a process and a store of its own. Simulated agents report, and are registered; then servers arrive: a seeded
process draws how many are asked for at once and of which flavor, their rows are written as the API writes them, and they are placed, as
many at a time as the engine has workers. A placement ends when its claim is on disk. The default is 20 servers a host, 20,000 at most:
for the whole of it, --hosts 10000 --servers 200000.
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pileus import heap
from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.core import placement as core_placement
from pileus.model.placement import Decision, PlacementRequest
from pileus.model.servers import Server, ServerFlavor
from pileus.node.agent import Agent
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.node.machine import SimulatedMachine
from pileus.node.network.simulated import SimulatedNetwork
from pileus.reconcile import placing
from pileus.reconcile.engine import Engine
from pileus.reconcile.hosts import Hosts
from pileus.store import actions, servers
from pileus.store.database import Transaction
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase

MOST_BY_DEFAULT = 20_000
WORKERS = 16  # the engine's
FLAVORS = [  # name, vCPUs, MiB, GiB, share of all servers
    ("tiny", 1, 512, 1, 20),
    ("small", 1, 2048, 20, 30),
    ("medium", 2, 4096, 40, 25),
    ("large", 4, 8192, 80, 15),
    ("memory", 2, 16384, 40, 6),
    ("huge", 8, 16384, 160, 4),
]
SIZES = [(32, 131072, 2048), (64, 262144, 4096), (96, 393216, 8192)]
"""vCPUs, MiB and GiB of the hosts, in turn."""


class Timed:
    """`choose`, with how long each call took."""

    def __init__(self) -> None:
        self.seconds = array("d")  # of 200,000 decisions: lists of floats would be a good part of the memory that is measured
        self._choose = core_placement.choose

    def __call__(self, request: PlacementRequest, hosts: Any) -> Decision:
        """The decision."""
        began = time.perf_counter()
        decision = self._choose(request, hosts)
        self.seconds.append(time.perf_counter() - began)
        return decision


def arrivals(count: int, seed: int) -> Iterator[list[Server]]:
    """Requests for one to eight servers of a flavor each, until there are so many."""
    draw = random.Random(seed)
    while count > 0:
        name, vcpus, memory, disk, _ = draw.choices(FLAVORS, [one[-1] for one in FLAVORS])[0]
        flavor = ServerFlavor(id=name, name=name, vcpus=vcpus, ram=memory, disk=disk)
        size = min(draw.choice([1, 1, 1, 1, 2, 3, 4, 8]), count)
        count -= size
        reservation, now = f"r-{draw.getrandbits(40):x}", time.time()
        yield [
            Server(
                id=str(uuid.UUID(int=draw.getrandbits(128), version=4)), created_at=now, updated_at=now, project_id="bench", user_id="b",
                name=f"{reservation}-{number}", hostname="bench", flavor=flavor, vcpus=vcpus, memory_mib=memory,
                image={"id": "i", "size": 1 << 30, "properties": {"hw_architecture": "x86_64"}},
                reservation_id=reservation, launch_index=number, request_id=f"req-{reservation}",
            )
            for number in range(size)
        ]  # fmt: skip


class Cloud:
    """A store, hosts and what places on them, in one process."""

    def __init__(self, directory: Path, clusters: int) -> None:
        self.clusters = clusters
        self.db = SqliteDatabase(directory / "pileus.db")
        self.config = Config(state=str(directory), node_silence=3600.0)
        self.bus = LocalBus()
        self.engine = Engine([])
        self.agents: list[Agent] = []
        self.placing = placing.Placing(self.db, self.config)

    async def start(self, hosts: int) -> float:
        """Seconds until so many hosts have reported and are registered."""
        await migrate(self.db)
        records = Hosts(self.db, self.bus, self.config, self.engine.wake)
        self.engine.reconcilers[records.name] = records
        self.bus.listeners.append(records.receive)
        began = time.perf_counter()
        await self.engine.start()
        for number in range(hosts):
            vcpus, memory, disk = SIZES[number % len(SIZES)]
            machine = SimulatedMachine(vcpus=vcpus, memory_mib=memory, disk_gib=disk)
            agent = Agent(f"h{number:05}", [SimulatedDriver()], SimulatedNetwork(), machine, period=3600.0)
            agent.cluster = f"cluster{number % self.clusters + 1}"
            self.agents.append(agent)
            await agent.start(self.bus.report)
        while not self.engine.idle():  # noqa: ASYNC110 the engine has no event for it
            await asyncio.sleep(0.01)
        return time.perf_counter() - began

    async def arrive(self, asked: list[list[Server]]) -> list[Server]:
        """The rows that POST /servers writes."""

        async def work(tx: Transaction) -> None:
            for group in asked:
                await servers.insert_servers(tx, group)
                for one in group:
                    await actions.start(tx, one.id, "create", one.request_id)

        await self.db.write(work)
        return [one for group in asked for one in group]

    async def place(self, wanted: list[Server], took: "array[float]") -> None:
        """Place these, as many at a time as the engine would."""
        left = iter(wanted)

        async def worker() -> None:
            for server in left:
                began = time.perf_counter()
                await self.placing.place(server)
                took.append(time.perf_counter() - began)

        await asyncio.gather(*(worker() for _ in range(WORKERS)))

    async def close(self) -> None:
        """Leave nothing running."""
        await self.engine.close()
        for agent in self.agents:
            await agent.close()
        await self.db.close()


async def measure(hosts: int, count: int, seed: int, clusters: int) -> dict[str, float]:
    """The figures of one size."""
    heap.in_one_piece()  # as a control plane does
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder), clusters)
        timed = Timed()
        placing.choose = timed  # type: ignore[attr-defined]
        found: dict[str, float] = {"hosts": hosts, "servers": count, "start of the hosts, s": await cloud.start(hosts)}
        took = array("d")
        wall = cpu = 0.0
        asked: list[list[Server]] = []
        for group in arrivals(count, seed):
            asked.append(group)
            if len(asked) < 100:
                continue
            waiting, asked = await cloud.arrive(asked), []
            began, spent = time.perf_counter(), time.process_time()
            await cloud.place(waiting, took)
            wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - spent
        waiting = await cloud.arrive(asked)
        began, spent = time.perf_counter(), time.process_time()
        await cloud.place(waiting, took)
        wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - spent
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before the figures are sorted
        found |= {
            "placements a second": count / wall,
            "CPU of a placement, ms": cpu / count * 1000,
            "decision p50, ms": percentile(timed.seconds, 0.5),
            "decision p99, ms": percentile(timed.seconds, 0.99),
            "decision max, ms": percentile(timed.seconds, 1.0),
            f"placement p50 ({WORKERS} at a time), ms": percentile(took, 0.5),
            f"placement p99 ({WORKERS} at a time), ms": percentile(took, 0.99),
            "without a host": float(await cloud.db.value("SELECT count(*) FROM servers WHERE host IS NULL")),
            "memory, MiB": memory,
            "store, MiB": sum(one.stat().st_size for one in Path(folder).glob("pileus.db*")) / (1 << 20),
        }
        await cloud.close()
        return found


def percentile(seconds: "array[float]", share: float) -> float:
    """Milliseconds below which this share of them is."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1000


def main() -> None:
    """Measure each size in a process of its own, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", default="100,1000,10000")
    parser.add_argument("--servers", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clusters", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        count = options.servers or min(20 * options.one, MOST_BY_DEFAULT)
        print(json.dumps(asyncio.run(measure(options.one, count, options.seed, options.clusters))))
        return
    more = ["--seed", str(options.seed), "--clusters", str(options.clusters)]
    more += ["--servers", str(options.servers)] if options.servers else []
    found = []
    for size in options.hosts.split(","):
        run = [sys.executable, __file__, "--one", size, *more]
        found.append(json.loads(subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name in found[0]:
        print(f"{name:<36}" + "".join(f"{one[name]:>14.2f}" for one in found))


if __name__ == "__main__":
    main()
