"""Leases and join tokens: one holder, one use."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.model.errors import Conflict, Forbidden
from pileus.reconcile.leadership import SECONDS, Leadership
from pileus.store import join_tokens, leases, schema, shared_keys
from pileus.store.database import Database
from tests.store.conftest import store_at


def on_store(directory: Path, work: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        db = store_at(directory)
        try:
            await schema.migrate(db)
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


def test_a_lease_has_one_holder_until_it_runs_out_or_is_given_back(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        first = await db.write(lambda tx: leases.take(tx, "cluster/east", "one", 60))
        other = await db.write(lambda tx: leases.take(tx, "cluster/east", "two", 60))
        again = await db.write(lambda tx: leases.take(tx, "cluster/east", "one", 60))
        assert (first.holder, other.holder, again.holder) == ("one", "one", "one")
        assert first.term == again.term == 1
        assert 0 < other.left <= 60
        await db.write(lambda tx: leases.give_back(tx, "cluster/east", "two"))
        assert (await db.write(lambda tx: leases.take(tx, "cluster/east", "two", 60))).holder == "one"
        await db.write(lambda tx: leases.give_back(tx, "cluster/east", "one"))
        taken = await db.write(lambda tx: leases.take(tx, "cluster/east", "two", 0))
        assert (taken.holder, taken.term) == ("two", 2)
        assert (await db.write(lambda tx: leases.take(tx, "cluster/east", "one", 60))).holder == "one"

    on_store(tmp_path, work)


def test_of_many_who_want_it_one_gets_it(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        found = await asyncio.gather(*(db.write(lambda tx, n=n: leases.take(tx, "x", f"holder{n}", 60)) for n in range(20)))
        assert len({one.holder for one in found}) == 1

    on_store(tmp_path, work)


def test_another_process_takes_over_within_five_seconds_of_a_kill(tmp_path: Path) -> None:
    """The killed one is a leader whose loop just ends, as by SIGKILL: it gives nothing back."""

    async def work(db: Database) -> None:
        begun: list[str] = []

        def leadership(name: str) -> Leadership:
            async def begin() -> None:
                begun.append(name)

            async def end() -> None:
                begun.remove(name)

            return Leadership(db, "cluster/default", name, begin, end)

        first, second = leadership("first"), leadership("second")
        await first.start()
        await second.start()
        assert begun == ["first"]
        assert first._task is not None
        first._task.cancel()
        async with asyncio.timeout(5):
            while not second.leading:
                await asyncio.sleep(0.05)
        assert SECONDS < 5
        await second.close()
        assert begun == ["first"]

    on_store(tmp_path, work)


def test_who_stops_hands_over_at_once(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        async def nothing() -> None: ...

        first, second = (Leadership(db, "x", name, nothing, nothing) for name in ("first", "second"))
        await first.start()
        await second.start()
        await first.close()
        async with asyncio.timeout(2):
            while not second.leading:
                await asyncio.sleep(0.02)
        await second.close()

    on_store(tmp_path, work)


def test_a_join_token_is_good_for_one_host_one_cluster_and_a_while(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await db.write(lambda tx: join_tokens.insert(tx, "secret", "east", expires_at=100, now=10))
        with pytest.raises(Forbidden, match="unknown"):
            await db.write(lambda tx: join_tokens.use(tx, "other", None, "h1", 20))
        with pytest.raises(Forbidden, match="expired"):
            await db.write(lambda tx: join_tokens.use(tx, "secret", None, "h1", 100))
        with pytest.raises(Forbidden, match="for the cluster east, not west"):
            await db.write(lambda tx: join_tokens.use(tx, "secret", "west", "h1", 20))
        assert (await db.write(lambda tx: join_tokens.use(tx, "secret", "east", "h1", 20))).cluster == "east"
        await db.write(lambda tx: join_tokens.use(tx, "secret", None, "h1", 200))  # the answer was lost: asked again
        with pytest.raises(Conflict, match="used by another host"):
            await db.write(lambda tx: join_tokens.use(tx, "secret", None, "h2", 21))
        assert "secret" not in str(await db.all("SELECT * FROM join_tokens"))

    on_store(tmp_path, work)


def test_the_first_process_gives_the_keys_and_all_others_take_them(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        assert await db.write(lambda tx: shared_keys.agree(tx, {"a": "1"})) == {"a": "1"}
        assert await db.write(lambda tx: shared_keys.agree(tx, {"a": "2", "b": "3"})) == {"a": "1", "b": "3"}
        await db.write(lambda tx: shared_keys.put(tx, {"a": "4"}))
        await db.write(lambda tx: shared_keys.drop(tx, ["b"]))
        assert await db.write(lambda tx: shared_keys.agree(tx, {})) == {"a": "4"}

    on_store(tmp_path, work)
