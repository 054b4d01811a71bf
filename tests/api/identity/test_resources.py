"""Domains, projects, users, groups, roles, catalog: made, read, changed, removed."""

from typing import Any

import pytest

from tests.api.harness import TestCloud

V3 = "/identity/v3"


def make(cloud: TestCloud, kind: str, plural: str, **attributes: Any) -> dict[str, Any]:
    answer = cloud.call("POST", f"{V3}/{plural}", token="admin", json={kind: attributes})
    assert answer.status == 201, answer
    return answer.json[kind]


CASES = [
    ("domain", "domains", {"name": "d"}, {"name": "e", "description": "x"}),
    ("project", "projects", {"name": "p", "tags": ["b", "a"]}, {"name": "q", "enabled": False}),
    ("user", "users", {"name": "u", "password": "p", "email": "u@example.org"}, {"name": "v", "email": "v@example.org"}),
    ("group", "groups", {"name": "g"}, {"description": "people"}),
    ("role", "roles", {"name": "r"}, {"name": "s", "description": "does things"}),
    ("service", "services", {"type": "billing", "name": "b"}, {"enabled": False}),
    ("region", "regions", {"id": "North"}, {"description": "cold"}),
    ("policy", "policies", {"type": "application/json", "blob": "{}"}, {"blob": "[]"}),
    ("credential", "credentials", {"type": "note", "blob": "secret"}, {"blob": "other"}),
]


@pytest.mark.parametrize("kind, plural, attributes, changes", CASES, ids=[case[0] for case in CASES])
def test_a_resource_lives_its_life(kind: str, plural: str, attributes: dict[str, Any], changes: dict[str, Any], cloud: TestCloud) -> None:
    made = make(cloud, kind, plural, **attributes, color="red")
    path = f"{V3}/{plural}/{made['id']}"
    assert made["color"] == "red"
    assert made["links"]["self"] == f"http://cloud.test{path}"
    assert cloud.call("GET", path, token="admin").json[kind] == made
    assert made in cloud.call("GET", f"{V3}/{plural}", token="admin").json[plural]
    changed = cloud.call("PATCH", path, token="admin", json={kind: {**changes, "color": None, "size": 3}})
    assert changed.status == 200, changed
    assert {name: changed.json[kind][name] for name in changes} == changes
    assert "color" not in changed.json[kind] and changed.json[kind]["size"] == 3
    if kind == "domain":
        assert cloud.call("DELETE", path, token="admin").status == 403
        cloud.call("PATCH", path, token="admin", json={"domain": {"enabled": False}})
    assert cloud.call("DELETE", path, token="admin").status == 204
    gone = cloud.call("GET", path, token="admin")
    assert gone.status == 404
    assert gone.json["error"]["message"] == f"Could not find {kind}: {made['id']}."


@pytest.mark.parametrize(
    "kind, plural", [("domain", "domains"), ("project", "projects"), ("user", "users"), ("group", "groups"), ("role", "roles")]
)
def test_a_name_can_be_taken_once(kind: str, plural: str, cloud: TestCloud) -> None:
    make(cloud, kind, plural, name="n")
    other = make(cloud, kind, plural, name="m")
    again = cloud.call("POST", f"{V3}/{plural}", token="admin", json={kind: {"name": "n"}})
    assert again.status == 409
    assert "Duplicate entry found with name n" in again.json["error"]["message"]
    assert cloud.call("PATCH", f"{V3}/{plural}/{other['id']}", token="admin", json={kind: {"name": "n"}}).status == 409


@pytest.mark.parametrize(
    "kind, plural, attributes, field",
    [
        ("project", "projects", {"name": ""}, "name"),
        ("project", "projects", {"name": "x" * 65}, "name"),
        ("project", "projects", {}, "name"),
        ("project", "projects", {"name": "p", "enabled": "yes"}, "enabled"),
        ("project", "projects", {"name": "p", "tags": ["a,b"]}, "tags"),
        ("project", "projects", {"name": "p", "options": {"sticky": True}}, "options"),
        ("user", "users", {"name": " "}, "name"),
        ("user", "users", {"name": "u", "password": 7}, "password"),
        ("role", "roles", {"name": None}, "name"),
        ("endpoint", "endpoints", {"service_id": "x", "interface": "private", "url": "http://x"}, "interface"),
    ],
)
def test_a_bad_attribute_is_named(kind: str, plural: str, attributes: dict[str, Any], field: str, cloud: TestCloud) -> None:
    answer = cloud.call("POST", f"{V3}/{plural}", token="admin", json={kind: attributes})
    assert answer.status == 400, answer
    assert field in answer.json["error"]["message"]


def test_lists_are_filtered_and_paged(cloud: TestCloud) -> None:
    for name in ("alpha", "Beta", "gamma"):
        make(cloud, "project", "projects", name=name, enabled=name != "gamma", tags=[name[0].lower()])

    def names(query: str) -> list[str]:
        return [one["name"] for one in cloud.call("GET", f"{V3}/projects?{query}", token="admin").json["projects"]]

    assert names("name=alpha") == ["alpha"]
    assert names("name__contains=amm") == ["gamma"]
    assert names("name__icontains=bet") == ["Beta"]
    assert names("name__startswith=beta") == []
    assert names("enabled=false") == ["gamma"]
    assert names("tags=g") == ["gamma"]
    assert names("tags-any=a,b") == ["alpha", "Beta"]
    assert names("domain_id=nowhere") == []
    assert "alpha" in names("no_such_parameter=1")
    everything = names("")
    first = cloud.call("GET", f"{V3}/projects?limit=2", token="admin").json
    assert first["truncated"] and [one["name"] for one in first["projects"]] == everything[:2]
    following = first["links"]["next"].removeprefix("http://cloud.test")
    assert [one["name"] for one in cloud.call("GET", following, token="admin").json["projects"]] == everything[2:4]


def test_projects_form_a_tree(cloud: TestCloud) -> None:
    top = make(cloud, "project", "projects", name="top")
    child = make(cloud, "project", "projects", name="child", parent_id=top["id"])
    assert top["parent_id"] == "default" and child["domain_id"] == "default"
    shown = cloud.call("GET", f"{V3}/projects/{top['id']}?subtree_as_ids", token="admin").json["project"]
    assert shown["subtree"] == {child["id"]: None}
    shown = cloud.call("GET", f"{V3}/projects/{child['id']}?parents_as_list", token="admin").json["project"]
    assert [one["project"]["name"] for one in shown["parents"]] == ["top"]
    assert cloud.call("DELETE", f"{V3}/projects/{top['id']}", token="admin").status == 403
    assert cloud.call("PATCH", f"{V3}/projects/{top['id']}", token="admin", json={"project": {"enabled": False}}).status == 403
    assert cloud.call("PATCH", f"{V3}/projects/{child['id']}", token="admin", json={"project": {"parent_id": "default"}}).status == 403


def test_tags_come_and_go(cloud: TestCloud) -> None:
    path = f"{V3}/projects/{cloud.project_id()}/tags"
    keeper = cloud.token("manager", roles={"manager", "member", "reader"}, domain_id="default")
    assert cloud.call("PUT", path, token=keeper, json={"tags": ["b", "a"]}).json["tags"] == ["a", "b"]
    assert cloud.call("PUT", f"{path}/c", token=keeper).status == 201
    assert cloud.call("HEAD", f"{path}/c", token="reader").status == 204
    assert cloud.call("DELETE", f"{path}/a", token=keeper).status == 204
    assert cloud.call("GET", path, token="reader").json["tags"] == ["b", "c"]
    assert cloud.call("PUT", f"{path}/d", token="manager").status == 403


def test_an_immutable_project_stays_until_it_is_freed(cloud: TestCloud) -> None:
    path = f"{V3}/projects/{make(cloud, 'project', 'projects', name='p', options={'immutable': True})['id']}"
    assert cloud.call("DELETE", path, token="admin").status == 403
    assert cloud.call("PATCH", path, token="admin", json={"project": {"name": "q"}}).status == 403
    assert cloud.call("PATCH", path, token="admin", json={"project": {"options": {"immutable": None}}}).status == 200
    assert cloud.call("DELETE", path, token="admin").status == 204


def test_groups_give_their_members_roles(cloud: TestCloud) -> None:
    group, user = make(cloud, "group", "groups", name="g"), make(cloud, "user", "users", name="u", password="p")
    role = cloud.call("GET", f"{V3}/roles?name=manager", token="admin").json["roles"][0]
    member = f"{V3}/groups/{group['id']}/users/{user['id']}"
    assert cloud.call("HEAD", member, token="admin").status == 404
    assert cloud.call("PUT", member, token="admin").status == 204
    assert cloud.call("HEAD", member, token="admin").status == 204
    assert [one["id"] for one in cloud.call("GET", f"{V3}/users/{user['id']}/groups", token="admin").json["groups"]] == [group["id"]]
    assert [one["id"] for one in cloud.call("GET", f"{V3}/groups/{group['id']}/users", token="admin").json["users"]] == [user["id"]]
    grant = f"{V3}/projects/{cloud.project_id()}/groups/{group['id']}/roles/{role['id']}"
    assert cloud.call("PUT", grant, token="admin").status == 204
    method = {"methods": ["password"], "password": {"user": {"id": user["id"], "password": "p"}}}
    login = {"auth": {"identity": method, "scope": {"project": {"id": cloud.project_id()}}}}
    token = cloud.call("POST", f"{V3}/auth/tokens", json=login)
    assert [one["name"] for one in token.json["token"]["roles"]] == ["manager", "member", "reader"]
    assert cloud.call("DELETE", member, token="admin").status == 204
    assert cloud.call("GET", f"{V3}/auth/projects", token=token.headers["x-subject-token"]).status == 401
    assert cloud.call("POST", f"{V3}/auth/tokens", json=login).status == 401


def test_role_assignments_are_shown_as_given_and_as_they_take_effect(cloud: TestCloud) -> None:
    demo, project = cloud.user_id("demo"), cloud.project_id()
    query = f"user.id={demo}&scope.project.id={project}&include_names=true"
    given = cloud.call("GET", f"{V3}/role_assignments?{query}", token="admin").json["role_assignments"]
    assert [one["role"]["name"] for one in given] == ["member"]
    assert given[0]["user"] == {"id": demo, "name": "demo", "domain": {"id": "default", "name": "Default"}}
    assert given[0]["scope"]["project"]["name"] == "demo"
    real = cloud.call("GET", f"{V3}/role_assignments?{query}&effective", token="admin").json["role_assignments"]
    assert sorted(one["role"]["name"] for one in real) == ["member", "reader"]
    system = cloud.call("GET", f"{V3}/role_assignments?scope.system=all", token="admin").json["role_assignments"]
    assert [one["scope"] for one in system] == [{"system": {"all": True}}]
    assert cloud.call("GET", f"{V3}/role_assignments?user.id=a&group.id=b", token="admin").status == 400


def test_roles_imply_others_but_never_in_a_circle(cloud: TestCloud) -> None:
    roles = {role["name"]: role["id"] for role in cloud.call("GET", f"{V3}/roles", token="admin").json["roles"]}
    assert cloud.call("PUT", f"{V3}/roles/{roles['reader']}/implies/{roles['member']}", token="admin").status == 400
    assert cloud.call("PUT", f"{V3}/roles/{roles['reader']}/implies/{roles['admin']}", token="admin").status == 403
    assert cloud.call("PUT", f"{V3}/roles/{roles['service']}/implies/{roles['reader']}", token="admin").status == 201
    shown = cloud.call("GET", f"{V3}/roles/{roles['service']}/implies", token="admin").json["role_inference"]
    assert [one["name"] for one in shown["implies"]] == ["reader"]
    assert len(cloud.call("GET", f"{V3}/role_inferences", token="admin").json["role_inferences"]) == 4


def test_our_own_services_are_listed_and_fixed(cloud: TestCloud) -> None:
    services = cloud.call("GET", f"{V3}/services?type=identity", token="admin").json["services"]
    endpoints = cloud.call("GET", f"{V3}/endpoints?service_id={services[0]['id']}", token="admin").json["endpoints"]
    assert {one["interface"] for one in endpoints} == {"public", "internal", "admin"}
    for path in (f"services/{services[0]['id']}", f"endpoints/{endpoints[0]['id']}"):
        assert cloud.call("GET", f"{V3}/{path}", token="admin").status == 200
        assert "this cloud" in cloud.call("DELETE", f"{V3}/{path}", token="admin").json["error"]["message"]


def test_an_operators_endpoint_stands_in_the_catalog(cloud: TestCloud) -> None:
    service = make(cloud, "service", "services", type="billing", name="b")
    make(cloud, "endpoint", "endpoints", service_id=service["id"], interface="public", url="http://b/%(project_id)s", region_id="RegionOne")
    catalog = cloud.call("GET", f"{V3}/auth/catalog", token="member").json["catalog"]
    billing = next(one for one in catalog if one["type"] == "billing")
    assert billing["endpoints"][0]["url"] == f"http://b/{cloud.project_id()}"
    assert cloud.call("DELETE", f"{V3}/services/{service['id']}", token="admin").status == 204
    assert not any(one["service_id"] == service["id"] for one in cloud.call("GET", f"{V3}/endpoints", token="admin").json["endpoints"])


def test_credentials_are_not_readable_in_the_database(cloud: TestCloud) -> None:
    make(cloud, "credential", "credentials", type="note", blob="a very secret blob")
    for path in cloud.directory.glob("pileus.db*"):
        assert b"a very secret blob" not in path.read_bytes()


@pytest.mark.parametrize("path", ["OS-FEDERATION/saml2/metadata", "auth/OS-FEDERATION/saml2/ecp"])
def test_what_is_not_there_says_so(path: str, cloud: TestCloud) -> None:
    answer = cloud.call("GET", f"{V3}/{path}", token="admin")
    assert answer.status == 501
    assert "not available" in answer.json["error"]["message"]


def test_a_domain_role_implies_but_is_in_no_token(cloud: TestCloud) -> None:
    domains = [make(cloud, "domain", "domains", name=name)["id"] for name in ("one", "two")]
    mine, theirs = (make(cloud, "role", "roles", name="local", domain_id=domain)["id"] for domain in domains)
    world = make(cloud, "role", "roles", name="World")["id"]
    for implied in (theirs, world):
        assert cloud.call("PUT", f"{V3}/roles/{mine}/implies/{implied}", token="admin").status == 201
        head = cloud.call("HEAD", f"{V3}/roles/{mine}/implies/{implied}", token="admin")
        assert (head.status, head.body) == (204, b"")
    assert cloud.call("PUT", f"{V3}/roles/{world}/implies/{mine}", token="admin").status == 403
    project = make(cloud, "project", "projects", name="p", domain_id=domains[0])["id"]
    user = make(cloud, "user", "users", name="u", password="secret", domain_id=domains[0])["id"]
    assert cloud.call("PUT", f"{V3}/projects/{project}/users/{user}/roles/{mine}", token="admin").status == 204
    listed = cloud.call("GET", f"{V3}/role_assignments?effective&scope.project.id={project}", token="admin").json["role_assignments"]
    assert [one["role"]["id"] for one in listed] == [world]
    identity = {"methods": ["password"], "password": {"user": {"id": user, "password": "secret"}}}
    token = cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity, "scope": {"project": {"id": project}}}})
    assert token.json["token"]["roles"] == [{"id": world, "name": "World"}]


def test_a_domain_made_as_a_project_goes_as_one(cloud: TestCloud) -> None:
    made = make(cloud, "project", "projects", name="d", is_domain=True)["id"]
    assert cloud.call("DELETE", f"{V3}/projects/{made}", token="admin").status == 403
    assert cloud.call("PATCH", f"{V3}/projects/{made}", token="admin", json={"project": {"enabled": False}}).status == 200
    assert cloud.call("DELETE", f"{V3}/projects/{made}", token="admin").status == 204
    assert cloud.call("GET", f"{V3}/domains/{made}", token="admin").status == 404
