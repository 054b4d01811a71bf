"""Copies of the SQLite file, taken while it is in use, and the way back to one of them. PostgreSQL has its own tools."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from pileus import durable
from pileus.model.errors import Conflict, Invalid, NotFound, Unavailable
from pileus.store.schema import migrations

KEPT = 7
AT_ONCE = 256
"""Pages that are copied before writers get their turn."""
ALONE = "mode=ro&immutable=1"
"""To read a file as it is, without what may lie beside it, and write nothing beside it."""
CHECKED_AT_START = 64 << 20
"""Bytes up to which a file is looked through before it is used: a tenth of a second."""


def directory_of(path: Path) -> Path:
    """Where the copies of a database lie."""
    return path.parent / "backups"


def found(path: Path) -> list[Path]:
    """The copies of a database, the newest first."""
    return sorted(directory_of(path).glob("pileus-*.db"), reverse=True)


def problems(path: Path, most: int = 20, options: str = "mode=ro") -> list[str]:
    """What is wrong with a database file, in SQLite's words; empty when it is whole. Reads all of it."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)) as connection:
            text = "\n".join(str(row[0]) for row in connection.execute(f"PRAGMA quick_check({most})"))
            return [] if text == "ok" else [line for line in text.splitlines() if not line.startswith("***")]
    except sqlite3.Error as error:
        return [str(error)]


def refuse_damaged(path: Path) -> None:
    """Unavailable, with the way out, when a database that is not too large for it is damaged. One that is not there is fine."""
    if not path.exists() or path.stat().st_size > CHECKED_AT_START:
        return
    if wrong := problems(path, 1):
        copies = found(path)
        newest = f"the newest copy is {copies[0]}" if copies else "there is no copy of it yet"
        raise Unavailable(
            f"The database {path} is damaged: {wrong[0]}. Nothing was changed. Look at all of it: pileus db check; "
            f"go back to a copy: pileus db restore ({newest})."
        )


def back_up(path: Path, target: Path | None = None) -> Path:
    """Copy a database, in use or not, to `target` (DIR/backups/pileus-TIME.db); older copies there go beyond KEPT. Returns the copy."""
    if not path.exists():
        raise NotFound(f"There is no database {path}.")
    kept = directory_of(path)
    if target is None:
        kept.mkdir(mode=0o700, exist_ok=True)
        target = kept / f"pileus-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.db"
    elif target.exists():
        raise Conflict(f"{target} is there already; name a file that is not.")
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(fresh)) as copy:
            source.backup(copy, pages=AT_ONCE, sleep=0.01)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, whole in itself
        if wrong := problems(fresh, 1):
            raise Unavailable(f"The database {path} is damaged, so that no copy of it was made: {wrong[0]}.")
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.rename(target)
        durable.sync_directory(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"The database {path} could not be copied to {target}: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)
    for old in found(path)[KEPT:] if target.parent == kept else []:
        old.unlink(missing_ok=True)
    return target


def restore(path: Path, copy: Path) -> Path | None:
    """Put a copy in the database's place, whose files go aside; returns where they are now. The cloud must be stopped."""
    if not copy.is_file():
        raise NotFound(f"There is no file {copy}.")
    if wrong := problems(copy, 1, ALONE):
        raise Invalid(f"{copy} is damaged itself: {wrong[0]}.")
    with contextlib.closing(sqlite3.connect(f"{copy.absolute().as_uri()}?{ALONE}", uri=True)) as connection:
        try:
            have = {str(row[0]) for row in connection.execute("SELECT name FROM schema_migrations")}
        except sqlite3.Error as error:
            raise Invalid(f"{copy} is no database of pileus: {error}.") from error
    if unknown := sorted(have - {name for name, _ in migrations()}):
        raise Invalid(f"{copy} was made by a newer pileus (migration {unknown[-1]}); upgrade the program.")
    content = copy.read_bytes()
    aside = path.with_name(f"{path.name}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    if there := path.exists():
        os.link(path, aside)
    for suffix in ("-wal", "-shm"):  # before the file changes: SQLite would write the one's journal into the other
        journal = path.with_name(path.name + suffix)
        if journal.exists():
            journal.rename(f"{aside}{suffix}")
    durable.write(path, content)
    return aside if there else None


def keep_contents(path: Path, images: Path) -> Path | None:
    """Move image contents that a database does not name, and that the cloud would remove, beside `images`; returns where they are now."""
    if not images.is_dir():
        return None
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        named = {row[0] for row in connection.execute("SELECT content FROM images WHERE content IS NOT NULL")}
    unnamed = [one for one in images.iterdir() if one.is_file() and not one.name.startswith(".") and one.name not in named]
    if not unnamed:
        return None
    name = f"{images.name}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside = images / f".{name}" if images.is_mount() else images.with_name(name)  # on the same disk
    aside.mkdir(mode=0o700)
    for one in unnamed:
        one.rename(aside / one.name)
    durable.sync_directory(aside)
    return aside
