"""The looks in the background: what lasts is kept, what passes is not, and most of the time is rest."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.core.verify import INVARIANTS
from pileus.model.census import Census
from pileus.model.messages import CensusReply, NodeReply, NodeRequest, TakeCensus
from pileus.reconcile import verification
from pileus.reconcile.verification import Verifier
from pileus.store import verifications
from pileus.store.database import Database
from tests.store.test_world import do, found, with_world


def verifier(db: Database, tmp_path: Path, simulate: int = 1) -> Verifier:
    """One that looks at the store of the test."""
    return Verifier(db, LocalBus(), Config(state=str(tmp_path), simulate=simulate))


def test_a_whole_cloud_is_said_to_be_whole(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        result = await verifier(db, tmp_path).look(again=0.0)
        assert (result.cluster, result.invariants, result.breaches, result.note) == ("default", len(INVARIANTS), [], "")
        assert abs(result.at - time.time()) < 60
        assert await verifications.newest(db) == [result]

    with_world(tmp_path, work)


def test_a_breach_that_lasts_is_named_and_said_to_be_repairable(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await do(db, ["DELETE FROM image_tags", "UPDATE servers SET memory_mib = 7"])
        result = await verifier(db, tmp_path).look(again=0.0)
        assert [(one.name, one.repairable) for one in result.breaches] == [("sizes_are_the_flavors", False), ("images_are_indexed", True)]

    with_world(tmp_path, work)


def test_a_breach_that_passes_is_not_told(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await do(db, ["UPDATE servers SET memory_mib = 7"])
        looking = asyncio.create_task(verifier(db, tmp_path).look(again=0.2))
        while await found(db, tmp_path) and not looking.done():
            await do(db, ["UPDATE servers SET memory_mib = 128"])
        assert (await looking).breaches == []

    with_world(tmp_path, work)


def test_hosts_are_asked_what_they_have_and_one_that_is_silent_is_left_out(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        async def answer(request: NodeRequest) -> NodeReply:
            assert isinstance(request, TakeCensus)
            return CensusReply(census=Census(tag="0000", guest_directories=["s1", "stranger"], processes={"s1": [7]}))

        one = verifier(db, tmp_path, simulate=0)
        one.bus.attach("h1", answer)  # type: ignore[attr-defined]
        names = {breach.name for breach in (await one.look(again=0.0)).breaches}
        assert names == {"guests_have_servers", "wanted_namespaces_exist"}

    with_world(tmp_path, work)


def test_a_world_that_is_too_large_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(db: Database) -> None:
        monkeypatch.setattr(verification, "MOST_SERVERS", 0)
        result = await verifier(db, tmp_path).look(again=0.0)
        assert "1 servers are more than are looked at" in result.note and result.invariants == 0

    with_world(tmp_path, work)


def test_it_rests_much_longer_than_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async def work(db: Database) -> float:
        one = verifier(db, tmp_path)
        monkeypatch.setattr(asyncio, "sleep", rest)
        began = time.thread_time()
        await one.look(again=0.0)
        spent = time.thread_time() - began
        monkeypatch.undo()
        return spent

    spent: Any = with_world(tmp_path, work)
    assert len(rests) > 100
    assert sum(rests) > 10 * spent, f"{sum(rests):.3f} s of rest for {spent:.3f} s of work"


def test_a_look_that_fails_is_tried_again_at_the_next_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "EVERY", 0.001)

    async def work(db: Database) -> None:
        one = verifier(db, tmp_path)
        good, tries = one.look, 0

        async def look(again: float = 0.0) -> Any:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise RuntimeError("the first one fails")
            return await good(again)

        monkeypatch.setattr(one, "look", look)
        running = asyncio.create_task(one.run())
        deadline = time.monotonic() + 20
        while one.last is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert one.last.breaches == []

    with_world(tmp_path, work)
