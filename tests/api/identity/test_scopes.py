"""Readers of the system, and those who read or manage one domain."""

import pytest

from tests.api.harness import TestCloud

V3 = "/identity/v3"


@pytest.fixture
def other(cloud: TestCloud) -> str:
    """Another domain."""
    return cloud.call("POST", f"{V3}/domains", token="admin", json={"domain": {"name": "elsewhere"}}).json["domain"]["id"]


def manager(cloud: TestCloud) -> str:
    return cloud.token("manager", roles={"manager", "member", "reader"}, domain_id="default")


def reader(cloud: TestCloud) -> str:
    return cloud.token("reader", roles={"reader"}, domain_id="default")


def test_a_reader_of_the_system_reads_everything_and_changes_nothing(cloud: TestCloud, other: str) -> None:
    token = cloud.token("reader", roles={"reader"}, system=True)
    for plural in (
        "domains",
        "projects",
        "users",
        "groups",
        "roles",
        "services",
        "endpoints",
        "regions",
        "role_assignments",
        "credentials",
    ):
        assert cloud.call("GET", f"{V3}/{plural}", token=token).status == 200, plural
    assert cloud.call("GET", f"{V3}/domains/{other}", token=token).status == 200
    assert cloud.call("POST", f"{V3}/projects", token=token, json={"project": {"name": "p"}}).status == 403


def test_a_domains_reader_sees_that_domain_only(cloud: TestCloud, other: str) -> None:
    cloud.call("POST", f"{V3}/users", token="admin", json={"user": {"name": "far", "domain_id": other}})
    far = cloud.call("GET", f"{V3}/users?name=far", token="admin").json["users"][0]["id"]
    token = reader(cloud)
    assert [one["id"] for one in cloud.call("GET", f"{V3}/domains", token=token).json["domains"]] == ["default"]
    assert {one["domain_id"] for one in cloud.call("GET", f"{V3}/users", token=token).json["users"]} == {"default"}
    assert cloud.call("GET", f"{V3}/users/{far}", token=token).status == 403
    assert cloud.call("GET", f"{V3}/users/{cloud.user_id('demo')}", token=token).status == 200
    scopes = cloud.call("GET", f"{V3}/role_assignments", token=token).json["role_assignments"]
    assert scopes and not any("system" in one["scope"] for one in scopes)


def test_a_domains_manager_keeps_its_projects_and_people(cloud: TestCloud, other: str) -> None:
    token = manager(cloud)
    made = cloud.call("POST", f"{V3}/projects", token=token, json={"project": {"name": "p"}})
    assert made.status == 201 and made.json["project"]["domain_id"] == "default"
    assert cloud.call("POST", f"{V3}/users", token=token, json={"user": {"name": "u", "domain_id": "default"}}).status == 201
    assert cloud.call("POST", f"{V3}/groups", token=token, json={"group": {"name": "g"}}).status == 201
    for plural, kind in (("projects", "project"), ("users", "user"), ("groups", "group")):
        body = {kind: {"name": "x", "domain_id": other}}
        assert cloud.call("POST", f"{V3}/{plural}", token=token, json=body).status == 403, plural
    assert cloud.call("DELETE", f"{V3}/projects/{made.json['project']['id']}", token=token).status == 204


def test_a_domains_manager_hands_out_small_roles_only(cloud: TestCloud) -> None:
    token = manager(cloud)
    roles = {role["name"]: role["id"] for role in cloud.call("GET", f"{V3}/roles", token=token).json["roles"]}
    grant = f"{V3}/projects/{cloud.project_id()}/users/{cloud.user_id('reader')}/roles"
    assert cloud.call("PUT", f"{grant}/{roles['member']}", token=token).status == 204
    assert cloud.call("HEAD", f"{grant}/{roles['member']}", token=token).status == 204
    assert cloud.call("PUT", f"{grant}/{roles['admin']}", token=token).status == 403
    system = f"{V3}/system/users/{cloud.user_id('reader')}/roles/{roles['reader']}"
    assert cloud.call("PUT", system, token=token).status == 403


def test_everyone_reads_itself(cloud: TestCloud) -> None:
    path = f"{V3}/users/{cloud.user_id('reader')}"
    assert cloud.call("GET", path, token="reader").json["user"]["name"] == "reader"
    assert [one["name"] for one in cloud.call("GET", f"{path}/projects", token="reader").json["projects"]] == ["demo"]
    assert cloud.call("GET", f"{path}/groups", token="reader").json["groups"] == []
    assert cloud.call("GET", f"{V3}/projects/{cloud.project_id()}", token="reader").status == 200
    assert cloud.call("GET", f"{V3}/domains/default", token="reader").status == 200


def test_an_admin_of_a_domain_keeps_its_people_but_not_the_cloud(cloud: TestCloud) -> None:
    token = cloud.token("admin", roles={"admin", "manager", "member", "reader"}, domain_id="default")
    assert cloud.call("POST", f"{V3}/users", token=token, json={"user": {"name": "u", "domain_id": "default"}}).status == 201
    bodies: dict[str, dict[str, str]] = {
        "role": {"name": "r"},
        "domain": {"name": "d"},
        "region": {"id": "North"},
        "service": {"type": "billing"},
    }
    for kind, body in bodies.items():
        assert cloud.call("POST", f"{V3}/{kind}s", token=token, json={kind: body}).status == 403, kind
    for path in ("services", "endpoints", "role_inferences", "OS-TRUST/trusts", f"system/users/{cloud.user_id('demo')}/roles"):
        assert cloud.call("GET", f"{V3}/{path}", token=token).status == 403, path


def test_a_domain_s_manager_sees_the_roles_that_it_hands_out(cloud: TestCloud, other: str) -> None:
    made = {"name": "local", "domain_id": "default"}
    local = cloud.call("POST", f"{V3}/roles", token="admin", json={"role": made}).json["role"]["id"]
    roles = {one["name"]: one["id"] for one in cloud.call("GET", f"{V3}/roles", token="admin").json["roles"]}
    token = manager(cloud)
    assert cloud.call("GET", f"{V3}/roles/{roles['member']}", token=token).status == 200
    assert cloud.call("GET", f"{V3}/roles/{roles['admin']}", token=token).status == 403
    assert cloud.call("GET", f"{V3}/roles/{local}", token=token).status == 403
    assert cloud.call("GET", f"{V3}/roles?domain_id=default", token=token).status == 403
