"""Application credentials: a part of one's own roles, with a secret of its own."""

from typing import Any

from tests.api.harness import Answer, TestCloud

V3 = "/identity/v3"


def make(cloud: TestCloud, token: str = "member", **attributes: Any) -> Answer:
    body = {"application_credential": {"name": "robot", **attributes}}
    return cloud.call("POST", f"{V3}/users/{cloud.user_id('member')}/application_credentials", token=token, json=body)


def login(cloud: TestCloud, scope: Any = None, **method: Any) -> Answer:
    identity = {"methods": ["application_credential"], "application_credential": method}
    return cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity, **({"scope": scope} if scope else {})}})


def test_it_logs_in_with_the_chosen_roles(cloud: TestCloud) -> None:
    made = make(cloud, roles=[{"name": "reader"}]).json["application_credential"]
    answer = login(cloud, id=made["id"], secret=made["secret"])
    assert answer.status == 201, answer
    token = answer.json["token"]
    assert [role["name"] for role in token["roles"]] == ["reader"]
    assert token["project"]["name"] == "demo"
    assert token["application_credential"] == {"id": made["id"], "name": "robot", "restricted": True}
    assert token["methods"] == ["application_credential"]
    by_name = login(cloud, name="robot", user={"id": cloud.user_id("member")}, secret=made["secret"])
    assert by_name.status == 201


def test_the_secret_is_shown_once(cloud: TestCloud) -> None:
    made = make(cloud, secret="mine").json["application_credential"]
    assert made["secret"] == "mine"
    shown = cloud.call("GET", f"{V3}/users/{cloud.user_id('member')}/application_credentials/{made['id']}", token="member")
    assert "secret" not in shown.json["application_credential"]
    assert login(cloud, id=made["id"], secret="not mine").status == 401


def test_it_grants_no_more_than_its_owner_has(cloud: TestCloud) -> None:
    assert make(cloud, roles=[{"name": "manager"}]).status == 400
    assert make(cloud, roles=[{"id": "there-is-no-such-role"}]).status == 404
    assert make(cloud, token="manager").status == 403


def test_it_can_not_ask_for_a_scope(cloud: TestCloud) -> None:
    made = make(cloud).json["application_credential"]
    scope = {"project": {"id": cloud.project_id()}}
    assert login(cloud, scope, id=made["id"], secret=made["secret"]).status == 401


def test_a_restricted_one_makes_no_others(cloud: TestCloud) -> None:
    made = make(cloud).json["application_credential"]
    token = login(cloud, id=made["id"], secret=made["secret"]).headers["x-subject-token"]
    assert make(cloud, token=token, name="another").status == 403
    free = make(cloud, name="free", unrestricted=True).json["application_credential"]
    token = login(cloud, id=free["id"], secret=free["secret"]).headers["x-subject-token"]
    assert make(cloud, token=token, name="another").status == 201


def test_it_ends_with_its_date(cloud: TestCloud) -> None:
    assert make(cloud, expires_at="2001-01-01T00:00:00").status == 400
    made = make(cloud, expires_at="2097-01-01T00:00:00.000000").json["application_credential"]
    assert made["expires_at"] == "2097-01-01T00:00:00.000000"


def test_a_name_is_taken_once_for_each_user(cloud: TestCloud) -> None:
    assert make(cloud).status == 201
    assert make(cloud).status == 409


def test_a_repeat_with_the_same_key_gives_the_same_secret_and_keeps_it_sealed(cloud: TestCloud) -> None:
    path = f"{V3}/users/{cloud.user_id('member')}/application_credentials"
    token, headers = cloud.token("member"), {"Idempotency-Key": "once"}
    body = {"application_credential": {"name": "robot"}}
    first = cloud.call("POST", path, token=token, json=body, headers=headers)
    again = cloud.call("POST", path, token=token, json=body, headers=headers)
    assert again.json == first.json and again.headers["idempotency-replayed"] == "true"
    secret = first.json["application_credential"]["secret"].encode()
    assert not any(secret in file.read_bytes() for file in cloud.directory.glob("pileus.db*"))


def test_it_grants_a_role_that_came_after_the_token(cloud: TestCloud) -> None:
    token = cloud.token("member")
    cloud.grant("member", "manager", "demo")
    made = make(cloud, token=token, roles=[{"name": "manager"}])
    assert made.status == 201, made
    assert [role["name"] for role in made.json["application_credential"]["roles"]] == ["manager"]
