"""What a token of a domain lists and changes, and what is told of things that are not there."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.harness import TestCloud

V3 = "/identity/v3"


class Two:
    """Two domains with a user, a group, a project and a role each; both users are in both groups."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        self.ids: dict[str, list[str]] = {"domain": [self.make("domains", "domain", name=name) for name in ("one", "two")]}
        for kind in ("user", "group", "project", "role"):
            self.ids[kind] = [self.make(f"{kind}s", kind, name=f"a-{kind}", domain_id=domain) for domain in self.ids["domain"]]
        for group in self.ids["group"]:
            for user in self.ids["user"]:
                assert cloud.call("PUT", f"{V3}/groups/{group}/users/{user}", token="admin").status == 204

    def make(self, path: str, key: str, **attributes: Any) -> str:
        made = self.cloud.call("POST", f"{V3}/{path}", token="admin", json={key: attributes})
        assert made.status == 201, made
        return made.json[key]["id"]

    def token(self, role: str, domain: int = 0) -> str:
        return self.cloud.token(role, domain_id=self.ids["domain"][domain])

    def status(self, method: str, path: str, role: str, body: Any = None) -> int:
        return self.cloud.call(method, f"{V3}/{path}", token=self.token(role), json=body).status

    def listed(self, path: str, role: str) -> set[str]:
        answer = self.cloud.call("GET", f"{V3}/{path}", token=self.token(role))
        assert answer.status == 200, answer
        return {one["id"] for one in next(value for name, value in answer.json.items() if name not in ("links", "truncated"))}


@pytest.fixture
def two(cloud: TestCloud) -> Two:
    """Two domains."""
    return Two(cloud)


@pytest.mark.parametrize("role", ["admin", "manager", "reader"])
def test_lists_are_of_the_tokens_domain(role: str, two: Two) -> None:
    for kind in ("domain", "user", "group", "project"):
        mine, other = two.ids[kind]
        assert two.listed(f"{kind}s", role) & {mine, other} == {mine}, kind
    assert two.listed(f"users/{two.ids['user'][0]}/groups", role) == {two.ids["group"][0]}
    assert two.listed(f"groups/{two.ids['group'][0]}/users", role) == {two.ids["user"][0]}


def test_an_admin_of_a_domain_still_reads_and_changes_what_is_elsewhere(two: Two) -> None:
    other = two.ids["project"][1]
    assert two.status("GET", f"projects/{other}", "admin") == 200
    assert two.status("PATCH", f"projects/{other}", "admin", {"project": {"description": "x"}}) == 200


def test_roles_of_domains_are_no_matter_of_a_domains_token(two: Two) -> None:
    mine = two.ids["role"][0]
    for role in ("admin", "manager"):
        assert two.status("GET", f"roles/{mine}", role) == 403
        assert two.status("GET", f"roles?domain_id={two.ids['domain'][0]}", role) == 403
    assert two.cloud.call("GET", f"{V3}/roles/{mine}", token="admin").status == 200


def test_a_domains_role_is_given_on_its_projects_and_on_domains(two: Two) -> None:
    user, (mine, other) = two.ids["user"][0], two.ids["role"]
    own, far = two.ids["project"][0], two.ids["domain"][1]

    def put(place: str, role: str) -> int:
        return two.cloud.call("PUT", f"{V3}/{place}/users/{user}/roles/{role}", token="admin").status

    assert put(f"projects/{own}", mine) == 204
    assert put(f"projects/{own}", other) == 403
    assert put(f"domains/{far}", mine) == 204
    assert put("system", mine) == 403
    assert two.cloud.call("DELETE", f"{V3}/projects/{own}/users/{user}/roles/{other}", token="admin").status == 404


def test_a_reader_of_a_domain_checks_no_role_of_another(two: Two) -> None:
    place = f"projects/{two.ids['project'][0]}/users/{two.ids['user'][0]}/roles"
    assert two.status("HEAD", f"{place}/{two.ids['role'][1]}", "reader") == 403
    assert two.status("HEAD", f"{place}/{two.ids['role'][0]}", "reader") == 404


def test_a_manager_is_not_told_which_users_are_there(two: Two) -> None:
    group = two.ids["group"][0]
    for method in ("PUT", "DELETE", "HEAD"):
        assert two.status(method, f"groups/{group}/users/gone", "manager") == 403
        assert two.status(method, f"groups/{group}/users/{two.ids['user'][1]}", "manager") == 403
        assert two.status(method, f"groups/{group}/users/gone", "admin") == 404


def test_a_manager_says_in_which_domain_a_user_is_to_be(two: Two) -> None:
    assert two.status("POST", "users", "manager", {"user": {"name": "new"}}) == 403
    assert two.status("POST", "users", "manager", {"user": {"name": "new", "domain_id": two.ids["domain"][1]}}) == 403
    assert two.status("POST", "users", "manager", {"user": {"name": "new", "domain_id": two.ids["domain"][0]}}) == 201


def test_assignments_below_a_project_are_its_domains(two: Two) -> None:
    query = "role_assignments?include_subtree=true&scope.project.id="
    assert two.status("GET", f"{query}{two.ids['project'][0]}", "reader") == 200
    assert two.status("GET", f"{query}{two.ids['project'][1]}", "reader") == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "domains/{}", {"domain": {"description": "x"}}),
        ("DELETE", "groups/{}", None),
        ("GET", "roles/{}", None),
        ("PATCH", "roles/{}", {"role": {"description": "x"}}),
        ("DELETE", "roles/{}", None),
    ],
)
def test_what_is_not_there_is_not_found_by_whoever_asks_and_what_is_there_is_forbidden(method: str, path: str, body: Any, two: Two) -> None:
    kind = path.split("s/")[0]
    for token in ("reader", "member", two.token("reader")):
        assert two.cloud.call(method, f"{V3}/{path.format('gone')}", token=token, json=body).status == 404
        assert two.cloud.call(method, f"{V3}/{path.format(two.ids[kind][0])}", token=token, json=body).status == 403


def test_access_rules_are_their_owners_and_the_systems(cloud: TestCloud) -> None:
    own = f"{V3}/users/{cloud.user_id('member')}"
    rule = {"service": "compute", "method": "GET", "path": "/v2.1/servers"}
    cloud.call("POST", f"{own}/application_credentials", "member", {"application_credential": {"name": "r", "access_rules": [rule]}})
    [one] = cloud.call("GET", f"{own}/access_rules", "member").json["access_rules"]
    place = f"{own}/access_rules/{one['id']}"
    for method, path in (("GET", f"{own}/access_rules"), ("GET", place), ("DELETE", place)):
        assert cloud.call(method, path, "admin").status == 403
    system: Callable[[str], str] = lambda role: cloud.token(role, system=True)  # noqa: E731
    assert cloud.call("GET", place, system("reader")).status == 200
    assert cloud.call("DELETE", place, system("reader")).status == 403
    assert cloud.call("DELETE", place, system("admin")).status == 403  # in use


def test_anothers_credential_is_forbidden_under_ones_own_name_as_well(cloud: TestCloud) -> None:
    made = cloud.call(
        "POST", f"{V3}/users/{cloud.user_id('member')}/application_credentials", "member", {"application_credential": {"name": "mine"}}
    ).json["application_credential"]["id"]
    own = f"{V3}/users/{cloud.user_id('reader')}/application_credentials"
    for method in ("GET", "DELETE"):
        assert cloud.call(method, f"{own}/{made}", "reader").status == 403
        assert cloud.call(method, f"{own}/gone", "reader").status == 404


def test_an_ec2_key_that_is_not_there_is_not_found(cloud: TestCloud) -> None:
    place = f"{V3}/users/{cloud.user_id('member')}/credentials/OS-EC2"
    key = cloud.call("POST", place, "member", {"tenant_id": cloud.project_id()}).json["credential"]["access"]
    for method in ("GET", "DELETE"):
        for token in ("reader", cloud.token("admin", domain_id="default")):
            assert cloud.call(method, f"{place}/gone", token).status == 404
            assert cloud.call(method, f"{place}/{key}", token).status == 403
