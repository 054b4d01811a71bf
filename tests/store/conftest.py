"""Every test of the store runs on SQLite and on PostgreSQL (which it skips, with its reason, where there is no server)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.config import Config
from pileus.store.database import Database
from pileus.store.open import open_database
from tests import postgresql

_urls: dict[Path, str] = {}
_engine = "sqlite"


@pytest.fixture(params=["sqlite", "postgresql"], autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database that `store_at` opens in this test."""
    global _engine
    if request.param == "postgresql":
        postgresql.server()
    _engine = request.param
    yield _engine
    _engine = "sqlite"
    _urls.clear()


def store_at(directory: Path) -> Database:
    """The test's store; the same for the same directory."""
    if _engine == "postgresql" and directory not in _urls:
        _urls[directory] = postgresql.database()
    return open_database(Config(state=str(directory), database=_urls.get(directory)))
