"""Another program looks at the database of a cloud that runs (`pileus verify`, `why`): nothing that is written afterwards is lost."""

import asyncio
import subprocess
import sys
from pathlib import Path

from pileus.store.sqlite import SqliteDatabase

LOOK = """
import asyncio, sys
from pathlib import Path
from pileus.store.sqlite import SqliteDatabase
async def main():
    db = SqliteDatabase(Path(sys.argv[1]))
    print(*[row[0] for row in await db.all("SELECT name FROM things ORDER BY name")])
    await db.close()
asyncio.run(main())
"""


def look(file: Path) -> list[str]:
    """What a process of its own finds."""
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run([sys.executable, "-c", LOOK, str(file)], env={"PYTHONPATH": source}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_is_written_after_another_program_has_looked_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "pileus.db"

    async def main() -> None:
        for _ in range(2):  # a fresh file, and one that was there
            db = SqliteDatabase(file)
            await db.write(lambda tx: tx.execute("CREATE TABLE IF NOT EXISTS things (name TEXT)"))
            count = len(look(file))
            for number in range(count, count + 3):
                await db.write(lambda tx, number=number: tx.execute("INSERT INTO things VALUES (?)", str(number)))
                assert look(file) == [str(one) for one in range(number + 1)]
            await db.close()

    asyncio.run(main())
