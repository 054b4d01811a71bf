"""How long a password counts, what it must look like, and who is away for too long."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.harness import PASSWORD, Answer, TestCloud

V3 = "/identity/v3"
DAY = 86400.0


@pytest.fixture
def clouds() -> Iterator[Callable[..., TestCloud]]:
    """Makes clouds with rules."""
    made: list[TestCloud] = []

    def make(**settings: Any) -> TestCloud:
        made.append(TestCloud(**settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def create(cloud: TestCloud, name: str = "new", password: str = "first one", **more: Any) -> Answer:
    return cloud.call("POST", f"{V3}/users", token="admin", json={"user": {"name": name, "password": password, **more}})


def login(cloud: TestCloud, user: str, password: str) -> Answer:
    identity = {"methods": ["password"], "password": {"user": {"id": user, "password": password}}}
    return cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity, "scope": "unscoped"}})


def change(cloud: TestCloud, user: str, old: str, new: str) -> Answer:
    return cloud.call("POST", f"{V3}/users/{user}/password", json={"user": {"original_password": old, "password": new}})


def set_by_admin(cloud: TestCloud, user: str, **attributes: Any) -> Answer:
    return cloud.call("PATCH", f"{V3}/users/{user}", token="admin", json={"user": attributes})


def age(cloud: TestCloud, user: str, column: str, days: float) -> None:
    cloud.write(lambda tx: tx.execute(f"UPDATE users SET {column} = {column} - ? WHERE id = ?", days * DAY, user))


def test_a_password_expires_and_is_changed_by_who_knows_it(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_expires_days=30)
    user = create(cloud).json["user"]
    left = datetime.fromisoformat(user["password_expires_at"]).timestamp() - time.time()
    assert abs(left - 30 * DAY) < 60
    assert login(cloud, user["id"], "first one").json["token"]["user"]["password_expires_at"] == user["password_expires_at"]
    age(cloud, user["id"], "password_expires_at", 31)
    expired = login(cloud, user["id"], "first one")
    assert expired.status == 401 and "expired" in expired.json["error"]["message"]
    assert "expired" not in login(cloud, user["id"], "wrong").json["error"]["message"]
    assert change(cloud, user["id"], "first one", "second one").status == 204
    assert login(cloud, user["id"], "second one").status == 201


def test_a_password_of_an_exempt_user_does_not_expire(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_expires_days=30)
    user = create(cloud, options={"ignore_password_expiry": True}).json["user"]
    assert user["password_expires_at"] is None
    other = create(cloud, "other").json["user"]["id"]
    age(cloud, other, "password_expires_at", 31)
    assert login(cloud, other, "first one").status == 401
    assert set_by_admin(cloud, other, options={"ignore_password_expiry": True}).status == 200
    assert login(cloud, other, "first one").status == 201


def test_a_password_that_an_administrator_has_set_is_changed_first(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_change_first=True)
    user = create(cloud).json["user"]["id"]
    assert login(cloud, user, "first one").status == 401
    assert change(cloud, user, "first one", "my own").status == 204
    assert login(cloud, user, "my own").status == 201
    assert set_by_admin(cloud, user, password="reset").json["user"]["password_expires_at"] is not None
    assert login(cloud, user, "reset").status == 401
    free = create(cloud, "service", options={"ignore_change_password_upon_first_use": True}).json["user"]["id"]
    assert login(cloud, free, "first one").status == 201


def test_a_password_is_kept_for_its_least_time_unless_an_administrator_sets_another(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_minimum_days=2)
    user = create(cloud).json["user"]["id"]
    refused = change(cloud, user, "first one", "second one")
    assert refused.status == 400 and "2 day(s)" in refused.json["error"]["message"]
    assert set_by_admin(cloud, user, password="by an admin").status == 200
    age(cloud, user, "password_set_at", 2.1)
    assert change(cloud, user, "by an admin", "second one").status == 204


def test_a_password_that_must_be_changed_may_be_changed_at_once(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_minimum_days=2, password_change_first=True)
    user = create(cloud).json["user"]["id"]
    assert change(cloud, user, "first one", "my own").status == 204
    assert change(cloud, user, "my own", "another").status == 400


def test_a_password_must_look_as_the_cloud_wants_whoever_sets_it(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_regex=r"^(?=.*\d)(?=.*[a-z]).{7,}$", password_regex_description="seven, with a digit")
    refused = create(cloud, password="letters only")
    assert refused.status == 400 and "seven, with a digit" in refused.json["error"]["message"]
    user = create(cloud, password="letters and 1").json["user"]["id"]
    assert set_by_admin(cloud, user, password="letters only").status == 400
    assert change(cloud, user, "letters and 1", "short1").status == 400
    assert change(cloud, user, "letters and 1", "letters and 2").status == 204
    assert set_by_admin(cloud, user, password=None).status == 200


def test_who_was_away_for_too_long_is_disabled_until_an_administrator_says_otherwise(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(inactive_days=90)
    user = create(cloud).json["user"]["id"]
    assert login(cloud, user, "first one").status == 201
    age(cloud, user, "last_active_at", 91)
    place = f"{V3}/users/{user}"
    assert cloud.call("GET", place, token="admin").json["user"]["enabled"] is False
    assert user in {one["id"] for one in cloud.call("GET", f"{V3}/users?enabled=false", token="admin").json["users"]}
    assert user not in {one["id"] for one in cloud.call("GET", f"{V3}/users?enabled=true", token="admin").json["users"]}
    assert login(cloud, user, "first one").status == 401
    assert change(cloud, user, "first one", "second").status == 401
    assert set_by_admin(cloud, user, enabled=True).json["user"]["enabled"] is True
    assert login(cloud, user, "first one").status == 201


def test_who_never_logged_in_is_as_long_away_as_it_is_there(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(inactive_days=90)
    user, free = create(cloud).json["user"]["id"], create(cloud, "free", options={"ignore_user_inactivity": True}).json["user"]["id"]
    for one in (user, free):
        age(cloud, one, "created_at", 91)
    assert login(cloud, user, "first one").status == 401
    assert login(cloud, free, "first one").status == 201


def test_users_are_found_by_when_their_passwords_expire(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_expires_days=10)
    soon, late = create(cloud, "soon").json["user"]["id"], create(cloud, "late").json["user"]["id"]
    age(cloud, soon, "password_expires_at", 5)
    moment = datetime.fromtimestamp(time.time() + 7 * DAY, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def found(query: str) -> set[str]:
        return {one["id"] for one in cloud.call("GET", f"{V3}/users?{query}", token="admin").json["users"]}

    assert found(f"password_expires_at=lt:{moment}") == {soon}
    assert found(f"password_expires_at=gte:{moment}") == {late}
    assert found(f"password_expires_at=gt:1999-01-01T00:00:00Z&password_expires_at=lt:{moment}") == {soon}
    for bad in ("lt", "near:2020-01-01T00:00:00Z", "lt:soon", moment):
        assert cloud.call("GET", f"{V3}/users?password_expires_at={bad}", token="admin").status == 400
    group = cloud.call("POST", f"{V3}/groups", token="admin", json={"group": {"name": "g"}}).json["group"]["id"]
    for user in (soon, late):
        cloud.call("PUT", f"{V3}/groups/{group}/users/{user}", token="admin")
    listed = cloud.call("GET", f"{V3}/groups/{group}/users?password_expires_at=lt:{moment}", token="admin").json["users"]
    assert [one["id"] for one in listed] == [soon]


def test_a_login_does_not_tell_that_the_rules_are_there(clouds: Callable[..., TestCloud]) -> None:
    cloud = clouds(password_regex="^x")
    assert login(cloud, cloud.user_id("member"), PASSWORD).status == 201
