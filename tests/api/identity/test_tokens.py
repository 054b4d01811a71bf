"""Logging in, and what may be done with a token."""

import time

import pytest

from tests.api.harness import PASSWORD, TestCloud


def login(cloud: TestCloud, user: str = "demo", password: str = PASSWORD, scope: object = None, **identity: object):
    """POST /v3/auth/tokens by password, unless `identity` says otherwise."""
    who = identity or {"methods": ["password"], "password": {"user": {"name": user, "domain": {"id": "default"}, "password": password}}}
    return cloud.call("POST", "/identity/v3/auth/tokens", json={"auth": {"identity": who, **({"scope": scope} if scope else {})}})


def demo_scope() -> dict:
    return {"project": {"name": "demo", "domain": {"name": "Default"}}}


def test_a_password_login_gives_a_scoped_token_with_roles_and_catalog(cloud: TestCloud) -> None:
    answer = login(cloud, scope=demo_scope())
    assert answer.status == 201, answer
    token = answer.json["token"]
    assert token["user"]["name"] == "demo"
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    assert token["project"]["name"] == "demo"
    assert [role["name"] for role in token["roles"]] == ["member", "reader"]
    keystone = next(one for one in token["catalog"] if one["type"] == "identity")
    assert keystone["endpoints"][0]["url"] == "http://cloud.test/identity"
    shown = cloud.call(
        "GET",
        "/identity/v3/auth/tokens",
        token=answer.headers["x-subject-token"],
        headers={"X-Subject-Token": answer.headers["x-subject-token"]},
    )
    assert shown.status == 200
    assert shown.json["token"] == token


def test_without_a_scope_the_default_project_is_taken(cloud: TestCloud) -> None:
    assert login(cloud).json["token"]["project"]["name"] == "demo"


def test_an_unscoped_token_has_no_roles_and_can_be_scoped_later(cloud: TestCloud) -> None:
    unscoped = login(cloud, scope={"unscoped": {}})
    assert "project" not in unscoped.json["token"] and "catalog" not in unscoped.json["token"]
    text = unscoped.headers["x-subject-token"]
    scoped = login(cloud, scope=demo_scope(), methods=["token"], token={"id": text})
    assert scoped.status == 201, scoped
    assert scoped.json["token"]["project"]["name"] == "demo"
    assert scoped.json["token"]["expires_at"] == unscoped.json["token"]["expires_at"]
    assert scoped.json["token"]["audit_ids"][1] == unscoped.json["token"]["audit_ids"][0]
    assert sorted(scoped.json["token"]["methods"]) == ["password", "token"]


def test_system_and_domain_scope(cloud: TestCloud) -> None:
    assert login(cloud, "admin", scope={"system": {"all": True}}).json["token"]["system"] == {"all": True}
    assert login(cloud, "admin", scope={"domain": {"id": "default"}}).json["token"]["domain"] == {"id": "default", "name": "Default"}
    assert login(cloud, "demo", scope={"system": {"all": True}}).status == 401
    assert login(cloud, "demo", scope={"domain": {"id": "default"}}).status == 401


@pytest.mark.parametrize("user, password", [("demo", "wrong"), ("no such user", PASSWORD)])
def test_a_wrong_name_or_password_is_refused_in_the_same_words(cloud: TestCloud, user: str, password: str) -> None:
    answer = login(cloud, user, password)
    assert answer.status == 401
    assert answer.json["error"] == {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}
    assert answer.headers["www-authenticate"].startswith("Keystone uri=")


def test_no_such_project_is_refused_as_one_without_roles(cloud: TestCloud) -> None:
    for name in ("nowhere", "admin"):
        assert login(cloud, scope={"project": {"name": name, "domain": {"id": "default"}}}).status == 401


def test_a_bad_body_names_the_field(cloud: TestCloud) -> None:
    answer = cloud.call("POST", "/identity/v3/auth/tokens", json={"auth": {"identity": {"methods": "password"}}})
    assert answer.status == 400
    assert "auth.identity.methods" in answer.json["error"]["message"]


def test_a_revoked_token_is_worth_nothing(cloud: TestCloud) -> None:
    token = cloud.token("demo")
    assert cloud.call("GET", "/identity/v3/auth/projects", token=token).status == 200
    assert cloud.call("DELETE", "/identity/v3/auth/tokens", token=token, headers={"X-Subject-Token": token}).status == 204
    assert cloud.call("GET", "/identity/v3/auth/projects", token=token).status == 401
    again = cloud.call("GET", "/identity/v3/auth/tokens", token="admin", headers={"X-Subject-Token": token})
    assert again.status == 404


def test_others_tokens_are_shown_to_admins_only(cloud: TestCloud) -> None:
    subject = {"X-Subject-Token": cloud.token("demo")}
    assert cloud.call("GET", "/identity/v3/auth/tokens", token="member", headers=subject).status == 403
    assert cloud.call("HEAD", "/identity/v3/auth/tokens", token="admin", headers=subject).status == 200


def test_an_expired_token_is_shown_for_a_while_to_who_asks(cloud: TestCloud) -> None:
    now = time.time()
    old = {"X-Subject-Token": cloud.token("demo", issued_at=now - 7200, expires_at=now - 3600)}
    assert cloud.call("GET", "/identity/v3/auth/tokens", token="admin", headers=old).status == 404
    assert cloud.call("GET", "/identity/v3/auth/tokens?allow_expired=1", token="admin", headers=old).status == 200


def test_where_a_token_may_go(cloud: TestCloud) -> None:
    names = [one["name"] for one in cloud.call("GET", "/identity/v3/auth/projects", token=cloud.token("admin")).json["projects"]]
    assert sorted(names) == ["admin", "demo"]
    assert cloud.call("GET", "/identity/v3/auth/system", token="admin").json["system"] == [{"all": True}]
    assert cloud.call("GET", "/identity/v3/auth/domains", token="admin").json["domains"][0]["id"] == "default"
    assert cloud.call("GET", "/identity/v3/auth/catalog", token="admin").json["catalog"]


@pytest.mark.parametrize("path", ["/identity", "/identity/"])
def test_discovery_lists_the_version(cloud: TestCloud, path: str) -> None:
    answer = cloud.call("GET", path)
    assert answer.status == 300
    assert answer.json["versions"]["values"][0]["links"] == [{"rel": "self", "href": "http://cloud.test/identity/v3/"}]


@pytest.mark.parametrize("path", ["/identity/v3", "/identity/v3/"])
def test_the_version_describes_itself(cloud: TestCloud, path: str) -> None:
    assert cloud.call("GET", path).json["version"]["id"] == "v3.14"


def test_a_token_is_validated_below_a_tenth_of_a_millisecond(cloud: TestCloud) -> None:
    texts = [cloud.token("demo") for _ in range(200)]
    start = time.process_time()
    for text in texts:
        cloud.tokens.validate(text)
    assert (time.process_time() - start) / len(texts) < 0.0001
