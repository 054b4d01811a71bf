"""A PostgreSQL server for tests: from Debian's package, in a directory of its own, on a Unix socket; it ends with the tests.

`database()` gives the URL of a fresh, empty database, `database(filled)` that of a copy of a template which `filled` has filled once.
"""

import asyncio
import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.store.database import Database

PATIENCE = 30.0
MISSING = "needs PostgreSQL's server: sudo apt-get install postgresql"


def programs() -> Path | None:
    """The folder of the newest server that is installed."""
    found = [one.parent for one in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    beside = shutil.which("postgres")
    return max(found, key=lambda one: int(one.parent.name), default=Path(beside).parent if beside else None)


class Server:
    """A running server. As root it runs as another user, as it refuses to be root's."""

    def __init__(self, folder: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pileus-pg-"))
        self.directory.chmod(0o711)  # managers that have given up root reach its socket
        self._folder = folder
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = next(one for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", "data", "-A", "trust", "-U", "pileus", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    def start(self) -> None:
        """Start it; returns when it answers."""
        quick = [f"-c{one}" for one in ("fsync=off", "max_connections=200", "shared_buffers=32MB", "autovacuum=off")]
        socket = ["-k", str(self.directory), "-c", "listen_addresses="]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "INT", str(self._folder / "postgres"), "-D", "data", *socket, *quick],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._as,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while subprocess.run([str(self._folder / "pg_isready"), "-q", "-h", str(self.directory)], check=False).returncode:
            assert self._process.poll() is None and time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as a crash does; `start` starts it again."""
        if self._process:
            self._process.send_signal(3)  # SIGQUIT: immediate
            self._process.wait(PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Stop it and remove its files."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, name: str, user: str = "pileus") -> str:
        """The URL of one of its databases."""
        return f"postgresql://{user}@/{name}?host={self.directory}"

    def make(self, template: str = "template0") -> str:
        """A database of its own; returns its name."""
        name = f"d{uuid.uuid4().hex[:12]}"
        at = ["-h", str(self.directory), "-U", "pileus", "postgres"]
        self._run("psql", "-X", "-q", *at, "-c", f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _run(self, program: str, *words: str) -> None:
        ran = subprocess.run(
            [str(self._folder / program), *words],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **self._as,
        )
        assert ran.returncode == 0, ran.stderr


@functools.cache
def server() -> Server:
    """The session's server; skips the test where none can be had."""
    folder = programs()
    if folder is None:
        pytest.skip(MISSING)
    pytest.importorskip("asyncpg", reason="needs the package asyncpg")
    made = Server(folder)
    made.start()
    return made


def remove() -> None:
    """Stop the session's server, when there is one, and remove its files."""
    if server.cache_info().currsize:
        server().remove()
        server.cache_clear()
        template.cache_clear()


def connect(url: str) -> Database:
    """The store at a URL."""
    from pileus.config import Config
    from pileus.store.open import open_database

    return open_database(Config(database=url))


@functools.cache
def template(filled: Callable[[Database], Awaitable[Any]]) -> str:
    """The name of a database that `filled` has filled."""
    name = server().make()

    async def fill() -> None:
        db = connect(server().url(name))
        try:
            await filled(db)
        finally:
            await db.close()

    asyncio.run(fill())
    return name


def database(filled: Callable[[Database], Awaitable[Any]] | None = None) -> str:
    """The URL of a fresh database."""
    return server().url(server().make(template(filled) if filled else "template0"))
