"""Trusts: another user acts with some of one's roles."""

from typing import Any

import pytest

from tests.api.harness import PASSWORD, Answer, TestCloud

V3 = "/identity/v3"
TRUSTS = f"{V3}/OS-TRUST/trusts"


def make(cloud: TestCloud, token: str = "manager", **attributes: Any) -> Answer:
    """Of manager, for other_project_member, on demo."""
    body = {
        "trustor_user_id": cloud.user_id("manager"),
        "trustee_user_id": cloud.user_id("other_project_member"),
        "project_id": cloud.project_id("demo"),
        "impersonation": False,
        "roles": [{"name": "member"}],
        **attributes,
    }
    return cloud.call("POST", TRUSTS, token=token, json={"trust": body})


def made(cloud: TestCloud, **attributes: Any) -> dict[str, Any]:
    answer = make(cloud, **attributes)
    assert answer.status == 201, answer
    return answer.json["trust"]


def login(cloud: TestCloud, trust: dict[str, Any], user: str = "other_project_member") -> Answer:
    identity = {"methods": ["password"], "password": {"user": {"id": cloud.user_id(user), "password": PASSWORD}}}
    return cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity, "scope": {"OS-TRUST:trust": {"id": trust["id"]}}}})


def works(cloud: TestCloud, token: str) -> bool:
    return cloud.call("GET", f"{V3}/auth/projects", token=token).status == 200


def test_the_trustee_acts_with_the_roles_that_were_given(cloud: TestCloud) -> None:
    trust = made(cloud)
    answer = login(cloud, trust)
    assert answer.status == 201, answer
    token = answer.json["token"]
    assert (token["user"]["name"], token["project"]["name"]) == ("other_project_member", "demo")
    assert [role["name"] for role in token["roles"]] == ["member", "reader"]
    parties = {"trustor_user": {"id": cloud.user_id("manager")}, "trustee_user": {"id": cloud.user_id("other_project_member")}}
    assert token["OS-TRUST:trust"] == {"id": trust["id"], "impersonation": False, **parties}
    shown = cloud.call("GET", f"{V3}/auth/tokens", token="admin", headers={"X-Subject-Token": answer.headers["x-subject-token"]})
    assert shown.json["token"]["OS-TRUST:trust"] == token["OS-TRUST:trust"]


def test_with_impersonation_it_bears_the_trustor_s_name(cloud: TestCloud) -> None:
    token = login(cloud, made(cloud, impersonation=True)).json["token"]
    assert token["user"]["name"] == "manager"
    assert [role["name"] for role in token["roles"]] == ["member", "reader"]


def test_nobody_but_the_trustee_may_use_it(cloud: TestCloud) -> None:
    assert login(cloud, made(cloud), "reader").status == 403
    assert login(cloud, {"id": "none"}).status == 401


def test_it_grants_no_more_than_the_trustor_has(cloud: TestCloud) -> None:
    assert make(cloud, roles=[{"name": "admin"}]).status == 403
    assert make(cloud, roles=[]).status == 400
    assert make(cloud, token="member").status == 403
    assert make(cloud, trustee_user_id="none").status == 404
    assert make(cloud, expires_at="bad.123Z").status == 400
    assert make(cloud, expires_at="2001-01-01T00:00:00Z").status == 400


def test_it_lasts_as_long_as_it_says_and_as_often(cloud: TestCloud) -> None:
    trust = made(cloud, expires_at="2097-01-01T00:00:00Z", remaining_uses=1)
    assert trust["expires_at"] == "2097-01-01T00:00:00.000000Z"
    assert login(cloud, trust).status == 201
    assert cloud.call("GET", f"{TRUSTS}/{trust['id']}", token="manager").status == 404  # used up
    assert login(cloud, trust).status == 401


def test_the_parties_read_it_and_the_trustor_ends_it(cloud: TestCloud) -> None:
    trust = made(cloud)
    path, user = f"{TRUSTS}/{trust['id']}", cloud.user_id("manager")
    token = login(cloud, trust).headers["x-subject-token"]
    assert cloud.call("GET", path, token="other_project_member").json["trust"] == trust
    assert [one["id"] for one in cloud.call("GET", f"{TRUSTS}?trustor_user_id={user}", token="manager").json["trusts"]] == [trust["id"]]
    assert [one["id"] for one in cloud.call("GET", TRUSTS, token="admin").json["trusts"]] == [trust["id"]]
    assert cloud.call("GET", TRUSTS, token="manager").status == 403
    assert cloud.call("GET", path, token="reader").status == 403
    assert cloud.call("DELETE", path, token="other_project_member").status == 403
    assert works(cloud, token)
    assert cloud.call("DELETE", path, token="manager").status == 204
    assert not works(cloud, token)
    assert cloud.call("GET", path, token="manager").status == 404


def test_its_roles_are_read_one_by_one(cloud: TestCloud) -> None:
    trust = made(cloud)
    path, role = f"{TRUSTS}/{trust['id']}/roles", trust["roles"][0]["id"]
    assert [one["name"] for one in cloud.call("GET", path, token="manager").json["roles"]] == ["member"]
    assert cloud.call("GET", f"{path}/{role}", token="manager").json["role"]["name"] == "member"
    assert cloud.call("HEAD", f"{path}/{role}", token="manager").status == 200
    other = next(one["id"] for one in cloud.call("GET", f"{V3}/roles", token="admin").json["roles"] if one["name"] == "admin")
    assert cloud.call("HEAD", f"{path}/{other}", token="manager").status == 404


def test_its_tokens_end_with_the_roles_of_the_trustor(cloud: TestCloud) -> None:
    trust = made(cloud)
    token = login(cloud, trust).headers["x-subject-token"]
    role = next(one["id"] for one in cloud.call("GET", f"{V3}/roles", token="admin").json["roles"] if one["name"] == "manager")
    grant = f"{V3}/projects/{cloud.project_id()}/users/{cloud.user_id('manager')}/roles/{role}"
    assert cloud.call("DELETE", grant, token="admin").status == 204
    assert not works(cloud, token)
    assert login(cloud, trust).status == 403


@pytest.mark.parametrize("party", ["manager", "other_project_member"])
@pytest.mark.parametrize("impersonation", [True, False])
def test_its_tokens_end_with_either_party(party: str, impersonation: bool, cloud: TestCloud) -> None:
    trust = made(cloud, impersonation=impersonation)
    token = login(cloud, trust).headers["x-subject-token"]
    user = f"{V3}/users/{cloud.user_id(party)}"
    assert cloud.call("PATCH", user, token="admin", json={"user": {"enabled": False}}).status == 200
    assert not works(cloud, token)
    assert login(cloud, trust).status in (401, 403)
    assert cloud.call("DELETE", user, token="admin").status == 204
    assert cloud.call("GET", f"{TRUSTS}/{trust['id']}", token="admin").status == 404


def test_what_was_lent_is_not_made_to_last(cloud: TestCloud) -> None:
    user = cloud.user_id("manager")
    token = login(cloud, made(cloud, impersonation=True)).headers["x-subject-token"]
    identity = {"methods": ["token"], "token": {"id": token}}
    assert cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity}}).status == 403
    body: dict[str, Any] = {"application_credential": {"name": "mine"}}
    assert cloud.call("POST", f"{V3}/users/{user}/application_credentials", token=token, json=body).status == 403
    ec2 = {"tenant_id": cloud.project_id()}
    assert cloud.call("POST", f"{V3}/users/{user}/credentials/OS-EC2", token=token, json=ec2).status == 403
    assert make(cloud, token=token).status == 403


def test_it_is_handed_on_where_that_is_allowed(cloud: TestCloud) -> None:
    first = made(cloud, impersonation=True, allow_redelegation=True, redelegation_count=1, expires_at="2097-01-01T00:00:00Z")
    token = login(cloud, first).headers["x-subject-token"]
    reader = cloud.user_id("reader")
    until = "2096-01-01T00:00:00Z"
    assert make(cloud, token=token, trustee_user_id=reader).status == 403  # it would last longer
    assert make(cloud, token=token, trustee_user_id=reader, expires_at=until, roles=[{"name": "manager"}]).status == 403
    assert make(cloud, token=token, trustee_user_id=reader, expires_at=until, remaining_uses=1).status == 403
    second = make(cloud, token=token, trustee_user_id=reader, expires_at=until)
    assert second.status == 201, second
    assert (second.json["trust"]["redelegated_trust_id"], second.json["trust"]["redelegation_count"]) == (first["id"], 0)
    third = login(cloud, second.json["trust"], "reader").headers["x-subject-token"]
    cloud.call("DELETE", f"{TRUSTS}/{first['id']}", token="manager")
    assert not works(cloud, third)
