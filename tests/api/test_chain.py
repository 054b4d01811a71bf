"""The way of every request, where nothing goes right."""

import pytest

from pileus.model.errors import Unavailable
from tests.api.harness import TestCloud


def test_an_unknown_service_is_not_found(shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("GET", "/nowhere/v1").status == 404


def test_an_unknown_path_is_not_found_for_who_has_a_token(shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("GET", "/identity/v3/nothing", token="member").status == 404
    assert shared_cloud.call("GET", "/identity/v3/nothing").status == 401


def test_a_wrong_method_says_which_are_right(shared_cloud: TestCloud) -> None:
    answer = shared_cloud.call("PUT", "/identity/v3/auth/tokens", token="member")
    assert answer.status == 405
    assert answer.headers["allow"] == "DELETE, GET, POST"


@pytest.mark.parametrize("content", [b"{", b"[1", b"\xff", b'{"auth": ' + b"[" * 3000, b"[" * 900 + b'"\\u0000"' + b"]" * 900])
def test_a_body_that_is_no_json_is_refused(content: bytes, shared_cloud: TestCloud) -> None:
    answer = shared_cloud.call("POST", "/identity/v3/auth/tokens", content=content)
    assert answer.status == 400
    assert "Malformed" in answer.json["error"]["message"]


@pytest.mark.parametrize("content", [b'{"auth": "a\\u0000b"}', b'{"a\\u0000": 1}', b'[[{"a": ["\\u0000"]}]]'])
def test_a_body_with_a_nul_is_refused(content: bytes, shared_cloud: TestCloud) -> None:
    answer = shared_cloud.call("POST", "/identity/v3/auth/tokens", content=content)
    assert answer.status == 400
    assert "NUL" in answer.json["error"]["message"]


def test_a_path_or_query_with_a_nul_is_refused(shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("GET", "/identity/v3/users/a\0b", token="admin").status == 400
    assert shared_cloud.call("GET", "/identity/v3/users?name=%00", token="admin").status == 400


def test_a_missing_body_is_refused(shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("POST", "/identity/v3/auth/tokens").status == 400


def test_a_body_of_another_type_is_refused(shared_cloud: TestCloud) -> None:
    headers = {"Content-Type": "text/xml"}
    assert shared_cloud.call("POST", "/identity/v3/auth/tokens", content=b"<a/>", headers=headers).status == 415


def test_a_body_that_is_too_long_is_refused(shared_cloud: TestCloud) -> None:
    content = b'{"auth": "' + b"x" * shared_cloud.cloud.config.body_limit + b'"}'
    assert shared_cloud.call("POST", "/identity/v3/auth/tokens", content=content).status == 413


def test_a_head_has_headers_and_no_body(shared_cloud: TestCloud) -> None:
    answer = shared_cloud.call("HEAD", "/identity/v3")
    assert answer.status == 200 and answer.body == b"" and int(answer.headers["content-length"]) > 0


def test_every_answer_has_a_request_id(shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("GET", "/identity/v3").headers["x-openstack-request-id"].startswith("req-")
    assert shared_cloud.call("GET", "/nowhere").headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.parametrize("token", ["nonsense", "gAAAAA", "ü", "x" * 9000])
def test_a_token_that_is_none_is_refused(token: str, shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("GET", "/identity/v3/auth/projects", token=token).status == 401


def test_the_listener_answers_a_bad_query_with_400(shared_cloud: TestCloud) -> None:
    import http.client

    connection = http.client.HTTPConnection(shared_cloud.url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/identity/v3?name=%ff")
    assert connection.getresponse().status == 400
    connection.close()


def test_a_repeat_of_a_post_is_answered_again_and_not_done_again(cloud: TestCloud) -> None:
    token, headers = cloud.token("admin"), {"Idempotency-Key": "k"}
    path, body = "/identity/v3/projects", {"project": {"name": "once"}}
    first = cloud.call("POST", path, token=token, json=body, headers=headers)
    again = cloud.call("POST", path, token=token, json=body, headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert again.json == first.json
    assert cloud.call("POST", path, token=token, json={"project": {"name": "twice"}}, headers=headers).status == 422
    assert cloud.call("POST", path, token=token, json=body).status == 409


def test_users_are_not_told_where_the_database_is(shared_cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise Unavailable("The database postgresql://pileus@10.0.0.9/pileus can't be used: refused.", public="It does not answer now.")

    monkeypatch.setattr(shared_cloud.db, "all", refuse)
    answer = shared_cloud.call("GET", "/network/v2.0/networks", token="member")
    assert (answer.status, answer.json["NeutronError"]["message"]) == (503, "It does not answer now.")
