"""Measures Placement: candidates over many providers, and placements (look, choose, claim) over many hosts.

    python bench/placement.py [number of hosts ...]

CPU is that of this process, store and commit included; "wall" is what one placement after another takes, each durable.
"""

import asyncio
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from pileus.api.chain import App
from pileus.api.cloud import Cloud
from pileus.api.placement.routes import SERVICE
from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.core.placement import choose
from pileus.model.hosts import DriverCapabilities, Host, HostReport
from pileus.model.identity import Identity
from pileus.model.placement import Claim, PlacementRequest, TraitWish
from pileus.store import allocations, providers
from pileus.store.database import Transaction
from pileus.store.host_views import hosts_of
from pileus.store.hosts import HOSTS
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase

WANTED = {"VCPU": 2, "MEMORY_MB": 4096, "DISK_GB": 20}
QUERY = b"resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20"
QEMU = DriverCapabilities(
    driver="qemu", hypervisor_type="QEMU", hypervisor_version=7, architectures=["x86_64", "aarch64", "riscv64"], modes=["hvm"]
)


class Anybody:
    """Takes every token for an administrator's."""

    def validate(self, text: str) -> Identity:
        """An administrator."""
        return Identity(user_id="bench", project_id="bench", roles=frozenset({"admin"}))


async def fill(tx: Transaction, count: int) -> None:
    """Hosts of two sizes, registered as their nodes would."""
    for number in range(count):
        now = time.time()
        host = Host(id=str(uuid.uuid4()), name=f"h{number:05}", number=number, service_id="", created_at=now, updated_at=now, seen_at=now)
        await HOSTS.insert(tx, host)
        report = HostReport(
            host=host.name,
            address="",
            version="",
            started_at=now,
            reported_at=now,
            vcpus=64 + 64 * (number % 2),
            memory_mib=262144,
            disk_gib=1000,
            capabilities=[QEMU],
        )
        await providers.register_host(tx, report, provider_id=host.id, ratios={"VCPU": 4.0})


async def candidates(app: App, rounds: int = 20) -> float:
    """ms CPU of GET /allocation_candidates."""
    headers = [(b"x-auth-token", b"x"), (b"openstack-api-version", b"placement 1.39")]
    scope = {"type": "http", "method": "GET", "path": "/placement/allocation_candidates", "query_string": QUERY, "headers": headers}

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200

    await app(scope, receive, send)
    started = time.process_time()
    for _ in range(rounds):
        await app(scope, receive, send)
    return (time.process_time() - started) / rounds * 1000


async def placements(db: SqliteDatabase, rounds: int = 200) -> tuple[float, float]:
    """(ms CPU, ms wall) of one placement."""
    await hosts_of(db, time.time(), 60.0)
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(rounds):
        wish = TraitWish(trait="COMPUTE_ARCH_X86_64", source="bench")
        decision = choose(PlacementRequest(resources=WANTED, traits=[wish], seed=number * 7919), await hosts_of(db, time.time(), 60.0))
        claim = Claim(
            consumer_id=str(number),
            provider_id=str(decision.provider_id),
            generation=decision.generation,
            resources=WANTED,
            project_id="bench",
            user_id="bench",
        )
        await db.write(lambda tx, claim=claim: allocations.claim(tx, claim))
    return (time.process_time() - cpu) / rounds * 1000, (time.perf_counter() - wall) / rounds * 1000


async def measure(count: int) -> None:
    """Everything over so many hosts."""
    with tempfile.TemporaryDirectory() as directory:
        db = SqliteDatabase(Path(directory) / "pileus.db")
        await migrate(db)
        await db.write(lambda tx: fill(tx, count))
        cloud = Cloud(config=Config(state=directory), db=db, bus=LocalBus(), tokens=Anybody(), wake=lambda name, key: None)
        cloud.services = {"placement": SERVICE}
        print(f"{count} hosts: candidates {await candidates(App(cloud)):.1f} ms CPU", end="; ")
        cpu, wall = await placements(db)
        print(f"placement {cpu:.2f} ms CPU, {wall:.2f} ms wall")
        await db.close()


if __name__ == "__main__":
    for wanted in [int(text) for text in sys.argv[1:]] or [1000, 10000]:
        asyncio.run(measure(wanted))
