"""`pileus status`: what it says of the invariants."""

import asyncio
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from pileus.cli.status import _verification, _verified
from pileus.config import Config
from pileus.model.verification import NamedBreach, Verification
from pileus.store import verifications
from pileus.store.open import open_database
from pileus.store.schema import migrate

WHOLE = Verification(cluster="default", at=1000.0, seconds=2.0, invariants=150)
BROKEN = msgspec.structs.replace(
    WHOLE, breaches=[NamedBreach(name="a", evidence="x"), NamedBreach(name="a", evidence="y"), NamedBreach(name="b", evidence="z")]
)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (WHOLE, "whole     2 min ago: 150 invariants hold"),
        (BROKEN, "broken    2 min ago: a, b; see: pileus verify"),
        (msgspec.structs.replace(WHOLE, note="too many servers"), "unknown   2 min ago: too many servers"),
    ],
)
def test_what_the_invariants_came_to_is_one_line(found: Verification, said: str) -> None:
    document: dict[str, Any] = msgspec.to_builtins(found)
    assert click.unstyle(_verified(document, 1121.0)) == said


def test_the_newest_result_of_each_cluster_is_read(tmp_path: Path) -> None:
    async def keep() -> None:
        db = open_database(Config(state=str(tmp_path)))
        await migrate(db)
        for one in (WHOLE, msgspec.structs.replace(BROKEN, cluster="west", at=time.time())):
            await db.write(lambda tx, one=one: verifications.keep(tx, one))  # type: ignore[misc]
        await db.close()

    asyncio.run(keep())
    assert [one.cluster for one in asyncio.run(_verification(Config(state=str(tmp_path))))] == ["default", "west"]


def test_a_cloud_that_an_older_program_runs_says_nothing(tmp_path: Path) -> None:
    async def older() -> None:
        db = open_database(Config(state=str(tmp_path)))
        await migrate(db)

        async def work(tx: Any) -> None:
            await tx.execute("DROP TABLE verifications")
            await tx.execute("DELETE FROM schema_migrations WHERE name LIKE '%_verifications'")

        await db.write(work)
        await db.close()

    asyncio.run(older())
    assert asyncio.run(_verification(Config(state=str(tmp_path)))) == []
