"""OAuth 1: consumers, what they ask for, what users give them, and tokens of that."""

import base64
import hashlib
import hmac
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from tests.api.harness import Answer, TestCloud

V3 = "/identity/v3"
OAUTH = f"{V3}/OS-OAUTH1"


def enc(text: str) -> str:
    return quote(text, safe="-._~")


class Program:
    """A consumer, with code of its own to sign."""

    def __init__(self, cloud: TestCloud, **attributes: Any) -> None:
        self.cloud = cloud
        body = {"consumer": {"description": "a program", **attributes}}
        made = cloud.call("POST", f"{OAUTH}/consumers", token="admin", json=body)
        assert made.status == 201, made
        self.consumer = made.json["consumer"]

    def call(self, path: str, token: tuple[str, str] = ("", ""), json: Any = None, secret: str = "", **more: str) -> Answer:
        headers = {name.replace("_", "-"): more.pop(name) for name in [*more] if not name.startswith("oauth_")}
        values = {
            "oauth_consumer_key": self.consumer["id"],
            "oauth_nonce": secrets.token_hex(8),
            "oauth_timestamp": str(int(time.time())),
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_version": "1.0",
            **({"oauth_token": token[0]} if token[0] else {}),
            **more,
        }
        pairs = "&".join(f"{name}={value}" for name, value in sorted((enc(name), enc(value)) for name, value in values.items()))
        base = f"POST&{enc(f'http://cloud.test{path}')}&{enc(pairs)}"
        key = f"{enc(secret or self.consumer['secret'])}&{enc(token[1])}"
        digest = hmac.new(key.encode(), base.encode(), hashlib.sha1).digest()
        values["oauth_signature"] = base64.b64encode(digest).decode()
        self.last = "OAuth " + ", ".join(f'{name}="{enc(value)}"' for name, value in values.items())
        return self.cloud.call("POST", path, json=json, headers={**headers, "Authorization": self.last})

    def asks(self, project: str = "demo") -> tuple[str, str]:
        answer = self.call(f"{OAUTH}/request_token", requested_project_id=self.cloud.project_id(project))
        assert answer.status == 201, answer
        return pair(answer)

    def fetches(self, asked: tuple[str, str], verifier: str) -> Answer:
        return self.call(f"{OAUTH}/access_token", asked, oauth_verifier=verifier)

    def logs_in(self, given: tuple[str, str], **scope: Any) -> Answer:
        body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}, **scope}}
        return self.call(f"{V3}/auth/tokens", given, json=body)


def pair(answer: Answer) -> tuple[str, str]:
    values = parse_qs(answer.body.decode())
    return values["oauth_token"][0], values["oauth_token_secret"][0]


def agree(cloud: TestCloud, asked: tuple[str, str], *roles: str, token: str = "") -> Answer:
    body = {"roles": [{"name": role} for role in roles]}
    return cloud.call("PUT", f"{OAUTH}/authorize/{asked[0]}", token=token or cloud.token("admin", project="demo"), json=body)


def given(program: Program, *roles: str) -> tuple[str, str]:
    """What an admin gives to a program on project demo."""
    asked = program.asks()
    verifier = agree(program.cloud, asked, *roles or ("member",)).json["token"]["oauth_verifier"]
    answer = program.fetches(asked, verifier)
    assert answer.status == 201, answer
    return pair(answer)


@pytest.fixture
def program(cloud: TestCloud) -> Program:
    """A consumer of a fresh cloud."""
    return Program(cloud)


def test_a_consumer_lives_its_life_and_its_secret_is_shown_once(cloud: TestCloud) -> None:
    made = Program(cloud, colour="red").consumer
    place = f"{OAUTH}/consumers/{made['id']}"
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert len(made["secret"]) >= 32 and shown["colour"] == "red"
    assert cloud.call("GET", place, token="admin").json["consumer"] == shown
    assert cloud.call("GET", f"{OAUTH}/consumers", token="admin").json["consumers"] == [shown]
    changed = cloud.call("PATCH", place, token="admin", json={"consumer": {"description": None}})
    assert changed.json["consumer"]["description"] is None and "secret" not in changed.json["consumer"]
    assert cloud.call("PATCH", place, token="admin", json={"consumer": {"secret": "mine"}}).status == 400
    assert made["secret"].encode() not in b"".join(one.read_bytes() for one in cloud.directory.glob("pileus.db*"))
    assert cloud.call("DELETE", place, token="admin").status == 204
    assert cloud.call("GET", place, token="admin").status == 404


def test_a_program_acts_for_a_user_with_the_roles_that_it_gave(program: Program) -> None:
    cloud = program.cloud
    login = program.logs_in(given(program, "member"))
    assert login.status == 201, login
    token = login.json["token"]
    assert token["methods"] == ["oauth1"] and token["user"]["name"] == "admin" and token["project"]["name"] == "demo"
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}
    assert token["OS-OAUTH1"]["consumer_id"] == program.consumer["id"]
    text = login.headers["x-subject-token"]
    assert cloud.call("GET", "/compute/v2.1/servers", token=text).status == 200
    assert cloud.call("GET", f"{V3}/users", token=text).status == 403


def test_what_was_given_is_not_made_to_last(program: Program) -> None:
    cloud = program.cloud
    text = program.logs_in(given(program, "admin")).headers["x-subject-token"]
    user = cloud.user_id("admin")
    exchange = {"auth": {"identity": {"methods": ["token"], "token": {"id": text}}}}
    assert cloud.call("POST", f"{V3}/auth/tokens", json=exchange).status == 403
    tries = [
        ("POST", f"users/{user}/application_credentials", {"application_credential": {"name": "x"}}),
        ("POST", f"users/{user}/credentials/OS-EC2", {"tenant_id": cloud.project_id()}),
        ("GET", f"users/{user}/OS-OAUTH1/access_tokens", None),
        ("POST", "OS-TRUST/trusts", {"trust": {"trustor_user_id": user, "trustee_user_id": cloud.user_id("member"), "impersonation": False,
                                                "project_id": cloud.project_id(), "roles": [{"name": "reader"}]}}),
    ]  # fmt: skip
    for method, path, body in tries:
        assert cloud.call(method, f"{V3}/{path}", token=text, json=body).status == 403, path
    assert agree(cloud, program.asks(), "member", token=text).status == 403


def test_a_signature_must_be_right_of_now_and_new(program: Program) -> None:
    cloud, token = program.cloud, given(program)
    assert program.logs_in((token[0], "wrong")).status == 401
    assert program.call(f"{V3}/auth/tokens", token, secret="wrong", json={}).status in (400, 401)
    body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
    assert program.call(f"{V3}/auth/tokens", token, json=body, oauth_timestamp=str(int(time.time()) - 1000)).status == 401
    assert program.logs_in(token).status == 201
    again = cloud.call("POST", f"{V3}/auth/tokens", json=body, headers={"Authorization": program.last})
    assert again.status == 401
    assert cloud.call("POST", f"{V3}/auth/tokens", json=body).status == 400


def test_another_program_can_not_use_what_it_was_not_given(program: Program) -> None:
    other, token = Program(program.cloud), given(program)
    assert other.logs_in(token).status == 401
    asked = program.asks()
    verifier = agree(program.cloud, asked, "member").json["token"]["oauth_verifier"]
    assert other.fetches(asked, verifier).status == 401
    assert program.fetches(asked, verifier).status == 201


def test_only_who_knows_the_verifier_fetches_and_only_once(program: Program) -> None:
    asked = program.asks()
    assert program.fetches(asked, "x").status == 401  # nobody has agreed yet
    verifier = agree(program.cloud, asked, "member").json["token"]["oauth_verifier"]
    assert program.fetches(asked, verifier + "x").status == 401
    assert program.fetches(asked, verifier).status == 201
    assert program.fetches(asked, verifier).status == 404


def test_nobody_gives_roles_that_it_does_not_have(program: Program) -> None:
    cloud = program.cloud
    assert agree(cloud, program.asks("other"), "member").status == 401
    assert agree(cloud, program.asks(), "service").status == 401
    assert agree(cloud, program.asks()).status == 401
    assert agree(cloud, program.asks(), "no-such-role").status == 404
    assert agree(cloud, ("gone", ""), "member").status == 404


def test_a_request_is_for_a_project_that_is_there(program: Program) -> None:
    assert program.call(f"{OAUTH}/request_token").status == 400
    assert program.call(f"{OAUTH}/request_token", requested_project_id="gone").status == 404
    assert program.call(f"{OAUTH}/request_token", requested_project_id=program.cloud.project_id(), secret="wrong").status == 401
    assert program.cloud.call("POST", f"{OAUTH}/request_token").status == 400


def test_what_has_expired_counts_no_more(program: Program) -> None:
    cloud, token, asked = program.cloud, given(program), program.asks()
    for table in ("oauth_access_tokens", "oauth_request_tokens"):
        cloud.write(lambda tx, table=table: tx.execute(f"UPDATE {table} SET expires_at = 1"))
    assert program.logs_in(token).status == 401
    assert agree(cloud, asked, "member").status == 401


def test_a_user_sees_what_it_gave_and_takes_it_back(program: Program) -> None:
    cloud = program.cloud
    token = given(program, "member")
    place = f"{V3}/users/{cloud.user_id('admin')}/OS-OAUTH1/access_tokens"
    [one] = cloud.call("GET", place, token="admin").json["access_tokens"]
    assert (one["id"], one["consumer_id"], one["project_id"]) == (token[0], program.consumer["id"], cloud.project_id())
    assert cloud.call("GET", f"{place}/{one['id']}", token="admin").json["access_token"] == one
    [role] = cloud.call("GET", f"{place}/{one['id']}/roles", token="admin").json["roles"]
    assert cloud.call("GET", f"{place}/{one['id']}/roles/{role['id']}", token="admin").json["role"]["name"] == "member"
    text = program.logs_in(token).headers["x-subject-token"]
    assert cloud.call("DELETE", f"{place}/{one['id']}", token="member").status == 403
    assert cloud.call("DELETE", f"{place}/{one['id']}", token="admin").status == 204
    assert cloud.call("GET", f"{place}/{one['id']}", token="admin").status == 404
    assert cloud.call("GET", f"{V3}/auth/projects", token=text).status == 401
    assert program.logs_in(token).status == 401


def test_a_consumer_goes_with_all_that_it_was_given(program: Program) -> None:
    cloud, token = program.cloud, given(program)
    program.asks()
    text = program.logs_in(token).headers["x-subject-token"]
    assert cloud.call("DELETE", f"{OAUTH}/consumers/{program.consumer['id']}", token="admin").status == 204
    assert cloud.call("GET", f"{V3}/auth/projects", token=text).status == 401
    left = "SELECT (SELECT count(*) FROM oauth_request_tokens) + (SELECT count(*) FROM oauth_access_tokens)"
    assert cloud.run(cloud.db.value(left)) == 0
