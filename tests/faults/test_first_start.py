"""The control plane is killed at every write of its very first start; the next start makes a whole cloud of what is there."""

import asyncio
import json
from pathlib import Path

import pytest

from pileus.cli import first_start
from tests.faults.incarnation import KILLED, Life, live
from tests.faults.operations import status

MOST_POINTS = 150


def test_killed_at_any_point_of_the_first_start_the_next_one_makes_a_whole_cloud(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    async def quick(password: str) -> str:
        await asyncio.sleep(0)
        hashed.append(password)
        return f"hash of {password}"

    monkeypatch.setattr(first_start, "hash_password", quick)

    async def first(life: Life) -> None:
        await life.settled()

    async def next_(life: Life) -> None:
        await life.settled()
        passwords = json.loads((life.directory / "secrets" / "passwords.json").read_text())
        rows = dict(await life.db.all("SELECT name, password_hash FROM users WHERE name IN ('admin', 'demo')"))
        assert rows == {name: f"hash of {password}" for name, password in passwords.items()}
        text = (life.directory / "clouds.yaml").read_text()
        assert all(json.dumps(password) in text for password in passwords.values())
        assert await status(life) == "none" and await life.verify() == []

    for point in range(1, MOST_POINTS):
        directory = place / str(point)
        directory.mkdir()
        ended = live(directory, first, fuse=point)
        live(directory, next_)
        if ended != KILLED:
            break
    assert ended == 0 and point > 10
