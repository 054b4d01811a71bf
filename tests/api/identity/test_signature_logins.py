"""Logins by EC2 keys: a service passes a signature on, and gets the token of whose key it is."""

import base64
import hashlib
import hmac
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.harness import Answer, TestCloud

V3 = "/identity/v3"
TEXT = "GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/bucket/key"


class Key:
    """An EC2 key of `member` on project demo, and the service that is sent its signatures."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        place = f"{V3}/users/{cloud.user_id('member')}/credentials/OS-EC2"
        made = cloud.call("POST", place, token="member", json={"tenant_id": cloud.project_id()})
        self.access, self.secret = made.json["credential"]["access"], made.json["credential"]["secret"]
        self.service = cloud.token("reader", roles={"service"})

    def post(self, where: str, given: dict[str, Any], name: str = "credentials", by: str | None = "") -> Answer:
        body = {name: {"access": self.access, **given}}
        return self.cloud.call("POST", f"{V3}/{where}", token=self.service if by == "" else by, json=body)

    def ec2(self, at: float = 0.0, secret: str = "", name: str = "credentials", by: str | None = "", **more: Any) -> Answer:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + at))
        params = {"Action": "Describe", "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Timestamp": moment}
        query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(params.items()))
        digest = hmac.new((secret or self.secret).encode(), f"GET\nhost\n/\n{query}".encode(), hashlib.sha256).digest()
        given = {"signature": base64.b64encode(digest).decode(), "verb": "GET", "host": "host", "path": "/", "params": params}
        return self.post("ec2tokens", {**given, **more}, name, by)

    def s3(self, by: str | None = "", **more: Any) -> Answer:
        digest = hmac.new(self.secret.encode(), TEXT.encode(), hashlib.sha1).digest()
        given = {"signature": base64.b64encode(digest).decode(), "token": base64.urlsafe_b64encode(TEXT.encode()).decode()}
        return self.post("s3tokens", {**given, **more}, by=by)


@pytest.fixture
def key(cloud: TestCloud) -> Key:
    """A key of `member`."""
    return Key(cloud)


def test_a_signature_gives_its_users_token_on_the_keys_project(key: Key) -> None:
    answer = key.ec2()
    assert answer.status == 200, answer
    token = answer.json["token"]
    assert (token["user"]["name"], token["project"]["name"], token["methods"]) == ("member", "demo", ["ec2credential"])
    assert {role["name"] for role in token["roles"]} == {"member", "reader"} and token["catalog"]
    text = answer.headers["x-subject-token"]
    assert key.cloud.call("GET", "/compute/v2.1/servers", token=text).status == 200
    assert key.secret.encode() not in answer.body


def test_an_s3_signature_tells_who_it_is_but_gives_no_token(key: Key) -> None:
    answer = key.s3()
    assert answer.status == 200 and answer.json["token"]["user"]["name"] == "member"
    assert "x-subject-token" not in answer.headers


@pytest.mark.parametrize("name", ["credentials", "credential", "ec2Credentials"])
def test_the_signature_may_come_by_any_of_its_names(name: str, key: Key) -> None:
    assert key.ec2(name=name).status == 200


def test_only_services_and_admins_may_ask(key: Key) -> None:
    for token, status in ((None, 401), ("member", 403), ("manager", 403), ("admin", 200)):
        assert key.ec2(by=token).status == status
        assert key.s3(by=token).status == status


def test_a_signature_that_is_wrong_missing_or_old_is_refused(key: Key) -> None:
    assert key.ec2(secret="wrong").status == 401
    assert key.ec2(signature=None).status == 401
    assert key.ec2(at=-1000).status == key.ec2(at=1000).status == 401
    assert key.ec2(params={"SignatureVersion": "9"}).status == 401
    assert key.s3(signature="x").status == key.s3(token="é").status == 401
    assert key.ec2(access="gone").status == 404
    assert key.cloud.call("POST", f"{V3}/ec2tokens", token="admin", json={}).status == 401


def test_signatures_are_not_guessed_at_leisure(key: Key) -> None:
    statuses = [key.ec2(secret="wrong").status for _ in range(12)]
    assert statuses[0] == 401 and statuses[-1] == 429


def test_a_key_counts_as_long_as_its_user_and_project_do(key: Key) -> None:
    cloud = key.cloud
    place = f"{V3}/users/{cloud.user_id('member')}"
    cloud.call("PATCH", place, token="admin", json={"user": {"enabled": False}})
    assert key.ec2().status == 401
    cloud.call("PATCH", place, token="admin", json={"user": {"enabled": True}})
    assert key.ec2().status == 200
    role = cloud.call("GET", f"{V3}/roles?name=member", token="admin").json["roles"][0]["id"]
    cloud.call("DELETE", f"{V3}/projects/{cloud.project_id()}/users/{cloud.user_id('member')}/roles/{role}", token="admin")
    assert key.ec2().status == 401


def test_a_key_that_was_made_of_something_lent_is_none(key: Key) -> None:
    blob = '{"access": "mine", "secret": "s", "trust_id": "t"}'
    body = {"credential": {"type": "ec2", "blob": blob, "project_id": key.cloud.project_id()}}
    assert key.cloud.call("POST", f"{V3}/credentials", token="member", json=body).status == 201
    assert key.ec2(access="mine", secret="s").status == 401


def test_the_token_of_a_key_is_not_made_to_last(key: Key) -> None:
    cloud, text = key.cloud, key.ec2().headers["x-subject-token"]
    own = f"{V3}/users/{cloud.user_id('member')}"
    exchange = {"auth": {"identity": {"methods": ["token"], "token": {"id": text}}}}
    assert cloud.call("POST", f"{V3}/auth/tokens", json=exchange).status == 403
    for path, body in (("application_credentials", {"application_credential": {"name": "x"}}), ("credentials/OS-EC2", {"tenant_id": "x"})):
        assert cloud.call("POST", f"{own}/{path}", token=text, json=body).status == 403
