"""Tokens and what is lent: nothing is got by altering them, combining them, making others of them, or asking in another's name."""

import base64
import time
from typing import Any

import pytest

from tests.api.harness import PASSWORD, Answer, TestCloud

V3 = "/identity/v3"


class Identity:
    """Short words for Keystone's calls."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        self.member, self.demo, self.other = cloud.user_id("member"), cloud.project_id(), cloud.project_id("other")

    def post(self, methods: dict[str, Any], scope: Any = None) -> Answer:
        auth = {"identity": {"methods": [*methods], **methods}, **({} if scope is None else {"scope": scope})}
        return self.cloud.call("POST", f"{V3}/auth/tokens", json={"auth": auth})

    def password(self, user: str = "member", scope: Any = None, password: str = PASSWORD) -> Answer:
        return self.post({"password": {"user": {"name": user, "domain": {"id": "default"}, "password": password}}}, scope)

    def credential(self, who: str = "member", **fields: Any) -> dict[str, Any]:
        path = f"{V3}/users/{self.cloud.user_id(who)}/application_credentials"
        answer = self.cloud.call("POST", path, who, {"application_credential": {"name": f"c{time.time_ns()}", **fields}})
        assert answer.status == 201, answer
        return dict(answer.json["application_credential"])

    def lent(self, **fields: Any) -> str:
        """A token of an application credential."""
        one = self.credential(**fields)
        answer = self.post({"application_credential": {"id": one["id"], "secret": one["secret"]}})
        assert answer.status == 201, answer
        return answer.headers["x-subject-token"]

    def trusted(self, impersonation: bool = True, role: str = "reader") -> str:
        """A token of a trust of member's, for reader."""
        trust = {"trustor_user_id": self.member, "trustee_user_id": self.cloud.user_id("reader"), "impersonation": impersonation,
                 "project_id": self.demo, "roles": [{"name": role}]}  # fmt: skip
        made = self.cloud.call("POST", f"{V3}/OS-TRUST/trusts", "member", {"trust": trust})
        assert made.status == 201, made
        answer = self.password("reader", {"OS-TRUST:trust": {"id": made.json["trust"]["id"]}})
        assert answer.status == 201, answer
        return answer.headers["x-subject-token"]


@pytest.fixture
def identity(cloud: TestCloud) -> Identity:
    return Identity(cloud)


def test_a_token_that_was_altered_is_none_and_a_revoked_one_stays_so_however_it_is_written(identity: Identity) -> None:
    cloud = identity.cloud
    token = identity.password(scope={"project": {"id": identity.demo}}).headers["x-subject-token"]
    assert cloud.call("GET", f"{V3}/auth/projects", token).status == 200
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for place in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[place] ^= 1
        text = base64.urlsafe_b64encode(bytes(changed)).decode().rstrip("=")
        assert cloud.call("GET", f"{V3}/auth/projects", text).status == 401, place
    assert cloud.call("DELETE", f"{V3}/auth/tokens", token, headers={"x-subject-token": token}).status == 204
    for text in (
        token,
        token + "=",
        token + "==",
        token + "A",
        token[:-1],
        f" {token}",
        token.swapcase(),
        token.replace("-", "+").replace("_", "/"),
    ):
        assert cloud.call("GET", f"{V3}/auth/projects", text).status == 401, text


def test_a_token_of_a_token_ends_when_the_first_would_and_with_its_user(identity: Identity) -> None:
    cloud = identity.cloud
    first = identity.password()
    text = first.headers["x-subject-token"]
    for _ in range(3):
        again = identity.post({"token": {"id": text}}, {"project": {"id": identity.demo}})
        assert again.json["token"]["expires_at"] <= first.json["token"]["expires_at"]
        assert again.json["token"]["audit_ids"][1] == first.json["token"]["audit_ids"][0]
        text = again.headers["x-subject-token"]
    assert cloud.call("PATCH", f"{V3}/users/{identity.member}", "admin", {"user": {"password": "another"}}).status == 200
    assert cloud.call("GET", f"{V3}/auth/projects", text).status == 401


def test_another_users_application_credential_is_not_used_in_ones_own_name(identity: Identity) -> None:
    one = identity.credential("reader", roles=[{"name": "reader"}])
    for user in ({"id": identity.member}, {"name": "admin", "domain": {"id": "default"}}):
        answer = identity.post({"application_credential": {"id": one["id"], "secret": one["secret"], "user": user}})
        assert answer.status == 401 or answer.json["token"]["user"]["id"] == identity.cloud.user_id("reader")
        by_name = identity.post({"application_credential": {"name": one["name"], "secret": one["secret"], "user": user}})
        assert by_name.status == 401
    both = {"application_credential": {"id": one["id"], "secret": one["secret"]},
            "password": {"user": {"id": identity.member, "password": PASSWORD}}}  # fmt: skip
    assert identity.post(both).status == 401
    assert identity.post(dict(reversed(both.items()))).status == 401
    token = identity.password("member").headers["x-subject-token"]
    assert identity.post({"token": {"id": token}, "application_credential": both["application_credential"]}).status == 401


@pytest.mark.parametrize("scope", [None, "unscoped", {"unscoped": {}}, {"project": {"name": "other", "domain": {"id": "default"}}},
                                   {"domain": {"id": "default"}}, {"system": {"all": True}}])  # fmt: skip
def test_what_was_lent_does_not_leave_its_project(scope: Any, identity: Identity) -> None:
    cloud = identity.cloud
    cloud.grant("member", "member", "other")
    assert cloud.call("PATCH", f"{V3}/users/{identity.member}", "admin", {"user": {"default_project_id": identity.other}}).status == 200
    token = identity.lent(roles=[{"name": "reader"}], unrestricted=True)
    answer = identity.post({"token": {"id": token}}, scope)
    if answer.status == 201:
        shown = answer.json["token"]
        assert shown["project"]["id"] == identity.demo and [role["name"] for role in shown["roles"]] == ["reader"]
        assert "application_credential" in shown["methods"]
        assert cloud.call("POST", "/network/v2.0/networks", answer.headers["x-subject-token"], {"network": {}}).status == 403
    else:
        assert answer.status in (401, 403)
    assert identity.post({"token": {"id": identity.trusted()}}, scope).status in (401, 403)


def test_what_was_lent_makes_nothing_that_lasts(identity: Identity) -> None:
    cloud, own = identity.cloud, f"{V3}/users/{identity.member}"
    note = cloud.call("POST", f"{V3}/credentials", "member", {"credential": {"type": "note", "blob": '{"access": "x"}'}}).json["credential"]
    ec2 = cloud.call("POST", f"{own}/credentials/OS-EC2", "member", {"tenant_id": identity.demo}).json["credential"]
    key = next(one["id"] for one in cloud.call("GET", f"{V3}/credentials?type=ec2", "member").json["credentials"])
    trust = {"trustor_user_id": identity.member, "trustee_user_id": identity.member, "impersonation": True, "project_id": identity.demo,
             "roles": [{"name": "member"}]}  # fmt: skip
    blob = {"type": "ec2", "blob": '{"access": "a", "secret": "b"}', "project_id": identity.other}
    tries: list[tuple[str, str, Any]] = [
        ("POST", f"{own}/credentials/OS-EC2", {"tenant_id": identity.other}),
        ("POST", f"{own}/credentials/OS-EC2", {"tenant_id": identity.demo}),
        ("POST", f"{V3}/credentials", {"credential": blob}),
        ("PATCH", f"{V3}/credentials/{note['id']}", {"credential": blob}),
        ("PATCH", f"{V3}/credentials/{note['id']}", {"credential": {"type": "ec2"}}),
        ("PATCH", f"{V3}/credentials/{key}", {"credential": {"project_id": identity.other}}),
        ("PATCH", f"{V3}/credentials/{key}", {"credential": {"blob": '{"access": "a", "secret": "mine"}'}}),
        ("POST", f"{V3}/OS-TRUST/trusts", {"trust": trust}),
    ]
    lent = {
        "restricted": identity.lent(roles=[{"name": "member"}]),
        "unrestricted": identity.lent(unrestricted=True),
        "trust": identity.trusted(role="member"),
    }
    for name, token in lent.items():
        for method, path, body in tries:
            assert cloud.call(method, path, token, body).status == 403, f"{name}: {method} {path} {body}"
    made = {"application_credential": {"name": "more"}}
    for name in ("restricted", "trust"):
        assert cloud.call("POST", f"{own}/application_credentials", lent[name], made).status == 403
    assert cloud.call("GET", f"{own}/credentials/OS-EC2/{ec2['access']}", "member").json["credential"]["secret"] == ec2["secret"]


def test_an_unrestricted_credential_makes_others_of_its_own_roles_alone(identity: Identity) -> None:
    token = identity.lent(roles=[{"name": "reader"}], unrestricted=True)
    path = f"{V3}/users/{identity.member}/application_credentials"
    assert identity.cloud.call("POST", path, token, {"application_credential": {"name": "n", "roles": [{"name": "member"}]}}).status == 400
    made = identity.cloud.call("POST", path, token, {"application_credential": {"name": "n"}})
    assert [role["name"] for role in made.json["application_credential"]["roles"]] == ["reader"]


def test_a_credential_is_seen_and_changed_by_its_owner_alone_whatever_the_body_says(identity: Identity) -> None:
    cloud, reader = identity.cloud, identity.cloud.user_id("reader")
    one = cloud.call("POST", f"{V3}/credentials", "member", {"credential": {"type": "totp", "blob": "the seed"}}).json["credential"]
    place = f"{V3}/credentials/{one['id']}"
    target = {
        "user_id": reader,
        "project_id": identity.demo,
        "target": {"credential": {"user_id": reader}},
        "credential": {"user_id": reader},
    }
    for method, body in (("GET", target), ("DELETE", target), ("PATCH", target), ("PATCH", {"credential": {"blob": "mine"}, **target})):
        assert cloud.call(method, place, "reader", body).status == 403, (method, body)
    for query in ("", f"?user_id={identity.member}", "?type=totp", f"?user_id={reader}&user_id={identity.member}"):
        assert cloud.call("GET", f"{V3}/credentials{query}", "reader").json["credentials"] == [], query
    assert (
        cloud.call("POST", f"{V3}/credentials", "reader", {"credential": {"type": "note", "blob": "x", "user_id": identity.member}}).status
        == 403
    )
    mine = cloud.call("POST", f"{V3}/credentials", "reader", {"credential": {"type": "note", "blob": "x"}}).json["credential"]
    given = {"credential": {"user_id": identity.member}}
    assert cloud.call("PATCH", f"{V3}/credentials/{mine['id']}", "reader", given).status == 403
    assert cloud.call("GET", place, "member").json["credential"]["blob"] == "the seed"


def test_no_policy_is_met_by_what_the_body_says_of_its_target(identity: Identity) -> None:
    """A body that names the caller as the owner of everything, on every change of another user's things."""
    cloud, reader = identity.cloud, identity.cloud.user_id("reader")
    app = identity.credential()
    claims = {"user_id": reader, "target": {"user": {"id": reader, "domain_id": "default"}, "user_id": reader, "trustor_user_id": reader}}
    for method, path in (
        ("DELETE", f"users/{identity.member}/application_credentials/{app['id']}"), ("GET", f"users/{identity.member}"),
        ("PATCH", f"users/{identity.member}"), ("DELETE", f"users/{identity.member}"), ("PATCH", f"projects/{identity.demo}"),
        ("POST", f"users/{identity.member}/application_credentials"), ("POST", f"users/{identity.member}/credentials/OS-EC2"),
    ):  # fmt: skip
        body = {**claims, "user": {"id": reader, "name": "x"}, "tenant_id": identity.demo, "project": {"name": "x"},
                "application_credential": {"name": "x", "user_id": reader, "target": claims["target"]}}  # fmt: skip
        assert cloud.call(method, f"{V3}/{path}", "reader", body).status == 403, path
    trust = {"trustor_user_id": identity.member, "trustee_user_id": reader, "impersonation": True, "project_id": identity.demo,
             "roles": [{"name": "member"}]}  # fmt: skip
    assert cloud.call("POST", f"{V3}/OS-TRUST/trusts", "reader", {"trust": trust, **claims}).status == 403


@pytest.mark.parametrize("path", ["ec2tokens", "s3tokens"])
def test_a_signature_of_an_ec2_key_is_no_login(path: str, identity: Identity) -> None:
    key = identity.cloud.call("POST", f"{V3}/users/{identity.member}/credentials/OS-EC2", "member", {"tenant_id": identity.demo}).json[
        "credential"
    ]
    body = {
        "credentials": {"access": key["access"], "signature": "x", "host": "h", "verb": "GET", "path": "/", "params": {}, "token": "eA=="}
    }
    for token in (None, "member"):
        answer = identity.cloud.call("POST", f"{V3}/{path}", token, body)
        assert answer.status in (401, 403, 501) and "x-subject-token" not in answer.headers
        assert key["secret"].encode() not in answer.body


@pytest.mark.parametrize("path", ["OS-FEDERATION/saml2/metadata", "OS-OAUTH1/authorize/x", "auth/OS-FEDERATION/websso/x?origin=https://a",
                                  "auth/OS-FEDERATION/saml2"])  # fmt: skip
def test_what_is_not_there_tells_nothing_and_logs_nobody_in(path: str, identity: Identity) -> None:
    for method in ("GET", "POST", "PUT"):
        answer = identity.cloud.call(method, f"{V3}/{path}", "member", {} if method != "GET" else None)
        assert answer.status in (401, 403, 404, 405, 501), answer
        assert "x-subject-token" not in answer.headers and identity.other.encode() not in answer.body


def test_a_lock_tells_nobody_that_the_account_is_there(cloud: TestCloud) -> None:
    made = TestCloud(lockout_attempts=3)
    try:
        identity = Identity(made)
        seen = [
            [(one.status, one.body) for one in (identity.password(user, password="wrong") for _ in range(5))]
            for user in ("member", "nobody-here")
        ]
        assert seen[0] == seen[1] and {status for status, _ in seen[0]} == {401}
        assert identity.member.encode() not in seen[0][4][1]
        assert identity.password("member").status == 401
    finally:
        made.close()


@pytest.mark.parametrize(
    "header",
    ["X-Is-Admin-Project", "X-Roles", "X-User-Id", "X-Project-Id", "X-Identity-Status", "EXTRA-SPEC", "URL-Signature", "X-Forwarded-For",
     "X-Instance-Id", "X-Tenant-Id", "X-Service-Roles", "X-Service-Token"],
)  # fmt: skip
def test_a_forged_header_beside_a_good_token_gives_nothing(header: str, shared_cloud: TestCloud) -> None:
    for value in ("True", "admin", "", shared_cloud.user_id("admin"), shared_cloud.project_id("admin")):
        assert shared_cloud.call("GET", "/compute/v2.1/os-hypervisors", "member", headers={header: value}).status == 403
        assert shared_cloud.call("GET", "/compute/v2.1/servers", headers={header: value}).status == 401
        assert shared_cloud.call("GET", f"{V3}/users", "member", headers={header: value}).status == 403
