"""Lists of identity resources in pages: each thing once, in one order, whatever the page's size, and no more read than is shown."""

from typing import Any

import pytest

from pileus.api.identity import pages
from tests.api.harness import TestCloud

V3 = "/identity/v3"


def get(cloud: TestCloud, path: str) -> Any:
    answer = cloud.call("GET", path, "admin")
    assert answer.status == 200, answer
    return answer.json


@pytest.fixture
def crowded(cloud: TestCloud) -> TestCloud:
    for number in range(7):
        for kind, plural in (("user", "users"), ("group", "groups"), ("project", "projects")):
            body = {kind: {"name": f"{kind} {number}", "domain_id": "default"}}
            assert cloud.call("POST", f"{V3}/{plural}", "admin", body).status == 201
    return cloud


@pytest.mark.parametrize("kind", ["users", "groups", "projects"])
def test_pages_are_the_list_cut_in_pieces(kind: str, crowded: TestCloud) -> None:
    whole = [one["id"] for one in get(crowded, f"{V3}/{kind}")[kind]]
    found: list[str] = []
    path: str | None = f"{V3}/{kind}?limit=3"
    while path:
        document = get(crowded, path)
        assert len(document[kind]) <= 3
        found += [one["id"] for one in document[kind]]
        following = document["links"]["next"]
        assert bool(document.get("truncated")) == (following is not None)
        path = following and following.removeprefix("http://cloud.test")
    assert found == whole
    assert len(whole) > 6


def test_a_page_of_what_is_filtered_inexactly_has_that_only(crowded: TestCloud) -> None:
    document = get(crowded, f"{V3}/users?name__startswith=user&limit=4")
    assert [one["name"] for one in document["users"]] == [f"user {number}" for number in range(4)]
    assert document["truncated"]


def test_a_long_list_is_read_in_pieces_and_is_whole(crowded: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = get(crowded, f"{V3}/users")
    monkeypatch.setattr(pages, "CHUNK", 2)
    assert get(crowded, f"{V3}/users") == whole


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "limit=3&marker=nobody"])
def test_a_page_that_can_not_be_is_refused(query: str, cloud: TestCloud) -> None:
    assert cloud.call("GET", f"{V3}/users?{query}", "admin").status == 400


def test_who_has_a_role_on_a_project_is_found_by_what_is_above_it(crowded: TestCloud) -> None:
    """A role that is inherited from the domain is an effective one of each project, and of the one that is asked for."""
    user = get(crowded, f"{V3}/users?name=user%201")["users"][0]["id"]
    role = get(crowded, f"{V3}/roles?name=reader")["roles"][0]["id"]
    path = f"{V3}/OS-INHERIT/domains/default/users/{user}/roles/{role}/inherited_to_projects"
    assert crowded.call("PUT", path, "admin").status == 204
    project = get(crowded, f"{V3}/projects?name=project%201")["projects"][0]["id"]
    found = get(crowded, f"{V3}/role_assignments?effective&scope.project.id={project}")["role_assignments"]
    assert {(one["user"]["id"], one["scope"]["project"]["id"]) for one in found} == {(user, project)}
    mine = get(crowded, f"{V3}/role_assignments?effective&user.id={user}")["role_assignments"]
    projects = {one["id"] for one in get(crowded, f"{V3}/projects")["projects"] if one["domain_id"] == "default"}
    assert {one["scope"]["project"]["id"] for one in mine} == projects
