"""What the session leaves is taken away: the PostgreSQL server of tests."""

import pytest

from tests import postgresql


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Called in each worker too, which runs nothing at exit."""
    postgresql.remove()
