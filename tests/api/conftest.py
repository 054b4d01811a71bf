"""Fixtures of the API tests."""

from collections.abc import Iterator

import pytest

from tests.api.harness import TestCloud


@pytest.fixture
def cloud() -> Iterator[TestCloud]:
    """A fresh cloud with projects admin, demo, service, other and the personas of the access test; password: harness.PASSWORD."""
    one = TestCloud()
    yield one
    one.close()


@pytest.fixture(scope="module")
def shared_cloud() -> Iterator[TestCloud]:
    """One cloud for all tests of a module: for the slow clients, and for tests that only read."""
    one = TestCloud()
    yield one
    one.close()
