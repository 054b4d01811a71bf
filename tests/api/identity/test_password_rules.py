"""The rules of the cloud for passwords."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.harness import PASSWORD, TestCloud

V3 = "/identity/v3"


@pytest.fixture
def cloud() -> Iterator[TestCloud]:
    """A cloud with rules."""
    made = TestCloud(password_history=2, lockout_attempts=3, lockout_time=900.0)
    yield made
    made.close()


def login(cloud: TestCloud, password: str) -> int:
    identity = {"methods": ["password"], "password": {"user": {"id": cloud.user_id("member"), "password": password}}}
    return cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity}}).status


def change(cloud: TestCloud, old: str, new: str) -> int:
    body = {"user": {"original_password": old, "password": new}}
    return cloud.call("POST", f"{V3}/users/{cloud.user_id('member')}/password", json=body).status


def by_admin(cloud: TestCloud, **attributes: Any) -> int:
    return cloud.call("PATCH", f"{V3}/users/{cloud.user_id('member')}", token="admin", json={"user": attributes}).status


def test_a_password_comes_again_only_after_others(cloud: TestCloud) -> None:
    assert change(cloud, PASSWORD, "second") == 204
    assert change(cloud, "second", "second") == 400
    assert change(cloud, "second", PASSWORD) == 400
    assert by_admin(cloud, password="third") == 200
    assert change(cloud, "third", "second") == 400
    assert change(cloud, "third", "fourth") == 204
    assert change(cloud, "fourth", "second") == 204


def test_an_administrator_is_not_bound_by_it(cloud: TestCloud) -> None:
    assert by_admin(cloud, password="other") == 200
    assert by_admin(cloud, password="other") == 200


def test_after_too_many_failures_no_password_is_right(cloud: TestCloud) -> None:
    for _ in range(3):
        assert login(cloud, "wrong") == 401
    assert login(cloud, PASSWORD) == 401
    assert change(cloud, PASSWORD, "another") == 401


def test_a_login_between_failures_starts_the_count_anew(cloud: TestCloud) -> None:
    for _ in range(2):
        login(cloud, "wrong")
    assert login(cloud, PASSWORD) == 201
    for _ in range(2):
        login(cloud, "wrong")
    assert login(cloud, PASSWORD) == 201


def test_a_lock_ends_with_time_or_a_new_password(cloud: TestCloud) -> None:
    for _ in range(3):
        login(cloud, "wrong")
    cloud.write(lambda tx: tx.execute("UPDATE login_failures SET failed_at = failed_at - 901"))
    assert login(cloud, PASSWORD) == 201
    for _ in range(3):
        login(cloud, "wrong")
    assert by_admin(cloud, password="fresh") == 200
    assert login(cloud, "fresh") == 201


def test_who_is_exempt_is_not_locked(cloud: TestCloud) -> None:
    assert by_admin(cloud, options={"ignore_lockout_failure_attempts": True}) == 200
    for _ in range(4):
        login(cloud, "wrong")
    assert login(cloud, PASSWORD) == 201


def test_a_user_goes_with_all_that_is_known_of_its_passwords(cloud: TestCloud) -> None:
    change(cloud, PASSWORD, "second")
    login(cloud, "wrong")
    assert cloud.call("DELETE", f"{V3}/users/{cloud.user_id('member')}", token="admin").status == 204
    assert cloud.run(cloud.db.value("SELECT (SELECT COUNT(*) FROM password_history) + (SELECT COUNT(*) FROM login_failures)")) == 0
