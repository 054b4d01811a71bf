"""Fixtures of the driver tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driver import network_domains as domains
from tests.driver.network_domains import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with real namespaces; nothing of it may be left."""
    one = Host(tmp_path)
    yield one
    one.close()
    assert domains.left_on_host(one.tag) == []
