"""Brings a database to the newest schema by the numbered migrations."""

import re
from importlib import resources

from pileus import clock
from pileus.model.errors import Unavailable
from pileus.store.database import Database, Reader, Transaction

CREATE = "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, applied_at DOUBLE PRECISION NOT NULL)"


def migrations() -> list[tuple[str, str]]:
    """(name, SQL) of each migration, in order."""
    folder = resources.files("pileus.store.migrations")
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [(item.name.removesuffix(".sql"), item.read_text()) for item in files]


def statements(sql: str) -> list[str]:
    """The statements of a file: separated by a semicolon at a line's end; comment lines are dropped."""
    text = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in text.split(";\n") if part.strip().strip(";")]


async def applied(db: Reader) -> list[str]:
    """The names of the migrations that the database has."""
    return [row[0] for row in await db.all("SELECT name FROM schema_migrations ORDER BY name")]


async def migrate(db: Database) -> list[str]:
    """Run what is missing, all or nothing; returns the names that ran. A database newer than this program is refused."""

    known = migrations()

    async def run(tx: Transaction) -> list[str]:
        await tx.execute(CREATE)
        lacking = await _lacking(tx)
        for name, sql in known:
            if name not in lacking:
                continue
            for statement in statements(sql):
                await tx.execute(statement.rstrip(";"))
            await tx.execute("INSERT INTO schema_migrations (name, applied_at) VALUES (?, ?)", name, clock.now())
        return lacking

    return await db.exclusive(run)


async def missing(db: Database) -> list[str]:
    """The names of the migrations that the database lacks; waits for a process that runs some. A newer database is refused."""

    async def run(tx: Transaction) -> list[str]:
        await tx.execute(CREATE)
        return await _lacking(tx)

    return await db.exclusive(run)


async def check(db: Database) -> None:
    """Unavailable unless the database has every migration of this version."""
    if lacking := await missing(db):
        raise Unavailable(
            f"The database lacks {len(lacking)} migration(s) of this version, {lacking[0]} first. "
            "Start a cloud process of this version first (pileus serve --role cloud): that brings it up to date."
        )


async def _lacking(tx: Transaction) -> list[str]:
    known, have = [name for name, _ in migrations()], set(await applied(tx))
    if unknown := sorted(have - set(known)):
        raise Unavailable(f"The database was made by a newer pileus (migration {unknown[-1]}); upgrade the program.")
    return [name for name in known if name not in have]


async def erase(db: Database) -> None:
    """Drop every table of ours."""
    made = re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", "\n".join([CREATE, *(sql for _, sql in migrations())]))

    async def run(tx: Transaction) -> None:
        for name in reversed(made):  # what refers to another was made after it
            await tx.execute(f"DROP TABLE IF EXISTS {name}")

    await db.exclusive(run)
