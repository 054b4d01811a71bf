"""When a host was last seen, by the times of its reports."""

import asyncio
from pathlib import Path

from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.model.hosts import HostReport
from pileus.reconcile.hosts import Hosts
from pileus.store.database import Database
from tests.store.test_admissions import on_store


def said(at: float) -> HostReport:
    return HostReport(host="one", address="", version="", started_at=1.0, reported_at=at, vcpus=1, memory_mib=1, disk_gib=1)


def test_a_clock_that_is_set_back_makes_no_host_alive_in_the_future(tmp_path: Path) -> None:
    """Else its death would go unnoticed until the clock has caught up."""

    async def work(db: Database) -> None:
        hosts = Hosts(db, LocalBus(), Config(state=str(tmp_path)), lambda name, id: None)

        async def seen(*times: float) -> float:
            for at in times:
                hosts.receive(said(at))
                await hosts.step("one")
            await asyncio.sleep(0)
            return float(await db.value("SELECT seen_at FROM hosts WHERE name = 'one'"))

        assert await seen(10_000.0, 10_020.0, 10_040.0, 10_060.0) == 10_060.0
        assert await seen(6_460.0) == 6_460.0
        assert await seen(6_480.0, 6_500.0) == 6_500.0

    on_store(tmp_path, work)
