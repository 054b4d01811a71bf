"""A leader that can't keep its lease stops before another may take it: when the database refuses, and when it does not answer."""

import asyncio
import time
from typing import Any

import pytest

from pileus.model.errors import Unavailable
from pileus.reconcile import leadership
from pileus.reconcile.leadership import Leadership
from pileus.store.leases import Lease


class Store:
    """Grants the lease as long as it is well."""

    def __init__(self) -> None:
        self.granted_at = 0.0
        self.illness = ""

    async def write(self, work: Any) -> Lease:
        if self.illness == "refuses":
            raise Unavailable("The database is away.")
        if self.illness == "hangs":
            await asyncio.sleep(60)
        if self.illness == "breaks":
            raise KeyError("a defect")
        self.granted_at = time.monotonic()
        return Lease(name="cluster/x", holder="me", left=leadership.SECONDS, term=1)


@pytest.mark.parametrize("illness", ["refuses", "hangs"])
def test_it_stops_before_its_lease_has_run_out(illness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "SECONDS", 1.2)
    monkeypatch.setattr(leadership, "EVERY", 0.2)
    monkeypatch.setattr(leadership, "MARGIN", 0.4)
    store = Store()
    ended: list[float] = []

    async def run() -> None:
        async def begin() -> None: ...

        async def end() -> None:
            ended.append(time.monotonic())

        one = Leadership(store, "cluster/x", "me", begin, end)  # type: ignore[arg-type]
        await one.start()
        assert one.leading
        store.illness = illness
        async with asyncio.timeout(5):
            while one.leading:
                await asyncio.sleep(0.01)
        store.illness = ""
        await one.close()

    asyncio.run(run())
    assert len(ended) == 1
    assert ended[0] < store.granted_at + 1.2, "another may lead already"


def test_a_defect_in_one_look_does_not_end_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "EVERY", 0.02)
    store = Store()

    async def run() -> None:
        async def nothing() -> None: ...

        one = Leadership(store, "cluster/x", "me", nothing, nothing)  # type: ignore[arg-type]
        await one.start()
        store.illness = "breaks"
        await asyncio.sleep(0.1)
        store.illness, before = "", store.granted_at
        async with asyncio.timeout(5):
            while store.granted_at == before:
                await asyncio.sleep(0.01)
        await one.close()

    asyncio.run(run())
