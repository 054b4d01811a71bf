"""The list of all migrations: what it shows in which version, to whom, filtered and paged."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.compute.moving import Moving
from tests.api.harness import TestCloud


@pytest.fixture(scope="module")
def moved(shared_cloud: TestCloud) -> Iterator[tuple[Moving, str]]:
    """A server that was moved live by the administrator, then off and back by the project's manager."""
    moving = Moving(shared_cloud)
    server = moving.placed()
    body = {"host": None, "block_migration": "auto"}
    assert moving.act(server, "os-migrateLive", body, who="admin").status == 202
    moving.wait_move(server, "completed")
    moving.wait(server)
    assert moving.act(server, "migrate", who="manager").status == 202
    moving.wait(server, "VERIFY_RESIZE")
    moving.wait_move(server, "finished")
    yield moving, server
    moving.close()


def listed(moved: tuple[Moving, str], query: str = "", who: str = "admin", version: str = "2.104") -> Any:
    answer = moved[0].call("GET", f"/os-migrations{query}", who=who, version=version)
    assert answer.status == 200, answer
    return answer.json


def kinds(document: Any) -> list[str]:
    return [one["migration_type"] for one in document["migrations"]]


def test_the_newest_comes_first_with_where_from_and_where_to(moved: tuple[Moving, str]) -> None:
    moving, server = moved
    found = listed(moved)
    assert kinds(found) == ["migration", "live-migration"]
    newest = found["migrations"][0]
    assert (newest["instance_uuid"], newest["status"], newest["uuid"]) == (server, "finished", moving.migration(server).id)
    assert {newest["source_compute"], newest["dest_compute"]} == {"h1", "h2"}
    assert newest["dest_host"] == newest["dest_node"] == moving.record(server).host
    assert "links" not in newest


@pytest.mark.parametrize(
    ("version", "fields", "without"),
    [
        ("2.1", {"id", "status"}, {"uuid", "migration_type", "user_id", "links"}),
        ("2.23", {"migration_type"}, {"uuid", "user_id"}),
        ("2.59", {"uuid"}, {"user_id", "project_id"}),
        ("2.80", {"uuid", "user_id", "project_id"}, set[str]()),
    ],
)
def test_what_is_shown_grows_with_the_versions(moved: tuple[Moving, str], version: str, fields: set[str], without: set[str]) -> None:
    shown = set(listed(moved, version=version)["migrations"][0])
    assert fields <= shown
    assert not without & shown


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?status=finished", ["migration"]),
        ("?status=completed", ["live-migration"]),
        ("?migration_type=live-migration", ["live-migration"]),
        ("?host=h1", ["migration", "live-migration"]),
        ("?host=h3", []),
        ("?hidden=true", []),
        ("?hidden=0&status=finished", ["migration"]),
        ("?changes-since=2099-01-01T00:00:00", []),
        ("?changes-since=2020-01-01T00:00:00", ["migration", "live-migration"]),
        ("?changes-before=2020-01-01T00:00:00", []),
        ("?instance_uuid=00000000-0000-0000-0000-000000000000", []),
    ],
)
def test_filters(moved: tuple[Moving, str], query: str, found: list[str]) -> None:
    assert kinds(listed(moved, query)) == found


def test_by_source_user_and_project(moved: tuple[Moving, str]) -> None:
    moving, server = moved
    cloud, source = moving.cloud, moving.migration(server).source
    assert kinds(listed(moved, f"?source_compute={source}")) == ["migration"]
    assert kinds(listed(moved, f"?user_id={cloud.user_id('manager')}")) == ["migration"]
    assert kinds(listed(moved, f"?project_id={cloud.project_id('admin')}")) == ["live-migration"]


def test_pages(moved: tuple[Moving, str]) -> None:
    first = listed(moved, "?limit=1")
    assert kinds(first) == ["migration"]
    after = first["migrations_links"][0]["href"].partition("/os-migrations")[2]
    second = listed(moved, after)
    assert kinds(second) == ["live-migration"]
    assert "migrations_links" not in second


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ("?marker=nowhere", "2.104"),
        ("?limit=-1", "2.104"),
        ("?limit=1&unknown=1", "2.59"),
        ("?changes-before=2020-01-01T00:00:00", "2.65"),
        ("?user_id=u", "2.79"),
        ("?changes-since=2020-01-02T00:00:00&changes-before=2020-01-01T00:00:00", "2.80"),
        ("?changes-since=yesterday", "2.80"),
    ],
)
def test_queries_that_can_not_be_are_refused(moved: tuple[Moving, str], query: str, version: str) -> None:
    assert moved[0].call("GET", f"/os-migrations{query}", who="admin", version=version).status == 400


def test_a_manager_sees_the_projects_own_without_hosts_and_a_member_nothing(moved: tuple[Moving, str]) -> None:
    [one] = listed(moved, who="manager")["migrations"]
    assert one["migration_type"] == "migration"
    assert one["source_compute"] is None and one["dest_host"] is None
    assert moved[0].call("GET", "/os-migrations", who="member").status == 403


def test_a_servers_migrations_are_those_under_way_and_live(moved: tuple[Moving, str]) -> None:
    moving, server = moved
    path = f"/servers/{server}/migrations"
    number = moving.migration(server).number
    assert moving.call("GET", path, who="admin").json == {"migrations": []}
    for key in (number, number - 1, 99):
        assert moving.call("GET", f"{path}/{key}", who="admin").status == 404
    assert moving.call("DELETE", f"{path}/{number}", who="admin").status == 409
    assert moving.call("POST", f"{path}/{number}/action", {"force_complete": None}, who="admin").status == 409
    assert moving.call("GET", f"{path}/{number}/progress", who="admin").json["progress"]["status"] == "finished"
    assert moving.call("GET", f"{path}/{number}/progress", who="manager").status == 403
    assert moving.call("GET", f"/servers/{server}/pileus-forecast", who="admin").status == 409  # it waits for a word, and is not active
