"""Brings a database to the newest schema by the numbered migrations."""

import re
import time
from importlib import resources

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
        have = set(await applied(tx))
        if unknown := sorted(have - {name for name, _ in known}):
            raise Unavailable(f"The database was made by a newer pileus (migration {unknown[-1]}); upgrade the program.")
        missing = [(name, sql) for name, sql in known if name not in have]
        for name, sql in missing:
            for statement in statements(sql):
                await tx.execute(statement.rstrip(";"))
            await tx.execute("INSERT INTO schema_migrations (name, applied_at) VALUES (?, ?)", name, time.time())
        return [name for name, _ in missing]

    return await db.exclusive(run)


async def erase(db: Database) -> None:
    """Drop every table of ours."""
    made = re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", "\n".join([CREATE, *(sql for _, sql in migrations())]))

    async def run(tx: Transaction) -> None:
        for name in reversed(made):  # what refers to another was made after it
            await tx.execute(f"DROP TABLE IF EXISTS {name}")

    await db.exclusive(run)
