"""Access rules: what an application credential may reach."""

from typing import Any

from tests.api.harness import Answer, TestCloud

V3 = "/identity/v3"
SERVERS = {"service": "compute", "method": "GET", "path": "/v2.1/servers/**"}
FLAVORS = {"service": "compute", "method": "GET", "path": "/v2.1/flavors"}


def place(cloud: TestCloud) -> str:
    return f"{V3}/users/{cloud.user_id('member')}"


def make(cloud: TestCloud, rules: Any, name: str = "robot") -> Answer:
    body = {"application_credential": {"name": name, "access_rules": rules}}
    return cloud.call("POST", f"{place(cloud)}/application_credentials", token="member", json=body)


def login(cloud: TestCloud, made: dict[str, Any]) -> Answer:
    identity = {"methods": ["application_credential"], "application_credential": {"id": made["id"], "secret": made["secret"]}}
    return cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity}})


def test_a_token_reaches_what_its_rules_say_and_nothing_else(cloud: TestCloud) -> None:
    made = make(cloud, [FLAVORS]).json["application_credential"]
    answer = login(cloud, made)
    assert answer.json["token"]["application_credential"]["access_rules"] == [FLAVORS]
    token = answer.headers["x-subject-token"]
    assert cloud.call("GET", "/compute/v2.1/flavors", token=token).status == 200
    for method, path in (("GET", "/compute/v2.1/flavors/1"), ("GET", "/compute/v2.1/servers"), ("GET", "/image/v2/images")):
        assert cloud.call(method, path, token=token).status == 403, path
    assert cloud.call("POST", "/compute/v2.1/flavors", token=token, json={}).status == 403


def test_no_rules_at_all_let_nothing_through(cloud: TestCloud) -> None:
    made = make(cloud, []).json["application_credential"]
    assert made["access_rules"] == []
    assert cloud.call("GET", "/compute/v2.1/flavors", token=login(cloud, made).headers["x-subject-token"]).status == 403


def test_a_token_of_such_a_token_is_confined_too(cloud: TestCloud) -> None:
    token = login(cloud, make(cloud, [FLAVORS]).json["application_credential"]).headers["x-subject-token"]
    identity = {"methods": ["token"], "token": {"id": token}}
    again = cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity}})
    assert again.status == 201, again
    assert cloud.call("GET", "/compute/v2.1/servers", token=again.headers["x-subject-token"]).status == 403


def test_a_rule_is_kept_once_and_used_by_its_id(cloud: TestCloud) -> None:
    first = make(cloud, [SERVERS]).json["application_credential"]["access_rules"]
    second = make(cloud, [SERVERS, {"id": first[0]["id"]}, FLAVORS], "another").json["application_credential"]["access_rules"]
    assert second[0] == first[0] and len(second) == 2
    listed = cloud.call("GET", f"{place(cloud)}/access_rules?path=/v2.1/flavors", token="member").json["access_rules"]
    assert [one["id"] for one in listed] == [second[1]["id"]]
    assert make(cloud, [{"id": "none"}], "third").status == 404


def test_a_rule_goes_when_no_credential_names_it(cloud: TestCloud) -> None:
    made = make(cloud, [SERVERS]).json["application_credential"]
    rule = f"{place(cloud)}/access_rules/{made['access_rules'][0]['id']}"
    assert cloud.call("GET", rule, token="member").json["access_rule"]["service"] == "compute"
    assert cloud.call("GET", rule, token="reader").status == 403
    assert cloud.call("DELETE", rule, token="member").status == 403
    cloud.call("DELETE", f"{place(cloud)}/application_credentials/{made['id']}", token="member")
    assert cloud.call("DELETE", rule, token="member").status == 204
    assert cloud.call("GET", rule, token="member").status == 404


def test_a_rule_is_whole(cloud: TestCloud) -> None:
    for wrong in ({"service": "compute"}, {**SERVERS, "method": "TRACE"}, {**SERVERS, "path": "servers"}, {**SERVERS, "user": "x"}):
        assert make(cloud, [wrong]).status == 400, wrong
    many = [{**SERVERS, "path": f"/{number:0100}"} for number in range(40)]
    assert make(cloud, many).status == 400
