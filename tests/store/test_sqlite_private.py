"""Every tenant's data is in one file: nobody but its owner reads it, nor the journals beside it."""

import asyncio
import os
from pathlib import Path

import pytest

from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase


@pytest.mark.parametrize("before", [None, 0o644])
def test_only_the_owner_reads_the_database(before: int | None, tmp_path: Path) -> None:
    path = tmp_path / "pileus.db"
    mask = os.umask(0)
    try:
        if before is not None:
            path.touch(mode=before)

        async def use() -> list[int]:
            db = SqliteDatabase(path)
            await migrate(db)
            modes = [one.stat().st_mode & 0o777 for one in tmp_path.iterdir()]
            await db.close()
            return modes

        assert set(asyncio.run(use())) == {0o600}
    finally:
        os.umask(mask)
