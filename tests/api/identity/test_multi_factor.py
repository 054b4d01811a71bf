"""Logins by one-time passwords, rules that want more than one method, and receipts."""

import base64
import time
from typing import Any

import pytest

from pileus.core.totp import PERIOD, passcode
from tests.api.harness import PASSWORD, Answer, TestCloud

V3 = "/identity/v3"
SEED = b"a seed of twenty byt"
RECEIPT = "openstack-auth-receipt"


@pytest.fixture
def seeded(cloud: TestCloud) -> TestCloud:
    """`member` has a seed."""
    body = {"credential": {"type": "totp", "blob": base64.b32encode(SEED).decode().rstrip("="), "user_id": cloud.user_id("member")}}
    assert cloud.call("POST", f"{V3}/credentials", token="member", json=body).status == 201
    return cloud


def code(back: int = 0) -> str:
    return passcode(SEED, int(time.time() // PERIOD) - back)


def login(cloud: TestCloud, *methods: str, given: str = "", receipt: str = "", user: str = "member", **more: Any) -> Answer:
    name = {"name": user, "domain": {"id": "default"}}
    parts = {"password": {"user": {**name, "password": PASSWORD}}, "totp": {"user": {**name, "passcode": given or code()}}, **more}
    identity = {"methods": list(methods), **{name: parts[name] for name in methods}}
    headers = {RECEIPT: receipt} if receipt else {}
    return cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": identity}}, headers=headers)


def want(cloud: TestCloud, rules: Any, **more: Any) -> int:
    body = {"user": {"options": {"multi_factor_auth_rules": rules, **more}}}
    return cloud.call("PATCH", f"{V3}/users/{cloud.user_id('member')}", token="admin", json=body).status


def test_a_passcode_is_a_login_once(seeded: TestCloud) -> None:
    now = code()
    first = login(seeded, "totp", given=now)
    assert first.status == 201 and first.json["token"]["methods"] == ["totp"]
    assert seeded.call("GET", f"{V3}/auth/tokens", token="admin", headers={"X-Subject-Token": first.headers["x-subject-token"]}).json[
        "token"
    ]["methods"] == ["totp"]
    again = login(seeded, "totp", given=now)
    assert again.status == 401 and "x-subject-token" not in again.headers


def test_a_passcode_that_is_wrong_or_old_is_none(seeded: TestCloud) -> None:
    for given in (code(5), code(-5), "", "000000x", "9" * 60):
        assert login(seeded, "totp", given=given or " ").status == 401
    assert login(seeded, "totp", given="9" * 65).status == 400


def test_a_user_without_a_seed_and_nobody_are_told_the_same(seeded: TestCloud) -> None:
    answers = [login(seeded, "totp", user=user, given="123456") for user in ("reader", "nobody-here", "member")]
    assert {(one.status, one.body) for one in answers} == {(401, answers[0].body)}


def test_passcodes_are_not_guessed_at_leisure(seeded: TestCloud) -> None:
    statuses = [login(seeded, "totp", given="123456").status for _ in range(12)]
    assert statuses[:9] == [401] * 9 and statuses[-1] == 429


def test_a_seed_that_is_none_is_no_login(cloud: TestCloud) -> None:
    body = {"credential": {"type": "totp", "blob": "not base 32!", "user_id": cloud.user_id("member")}}
    assert cloud.call("POST", f"{V3}/credentials", token="member", json=body).status == 201
    assert login(cloud, "totp", given="123456").status == 401


def test_both_methods_at_once_meet_the_rules(seeded: TestCloud) -> None:
    assert want(seeded, [["password", "totp"]]) == 200
    assert login(seeded, "password").status == 401
    whole = login(seeded, "password", "totp")
    assert whole.status == 201 and whole.json["token"]["methods"] == ["password", "totp"]


def test_a_receipt_lets_the_login_go_on(seeded: TestCloud) -> None:
    want(seeded, [["password", "totp"], ["token", "totp"]])
    first = login(seeded, "password")
    assert first.status == 401 and "x-subject-token" not in first.headers
    assert first.json["required_auth_methods"] == [["password", "totp"]]
    receipt = first.json["receipt"]
    assert receipt["methods"] == ["password"] and receipt["user"]["id"] == seeded.user_id("member")
    assert receipt["user"]["domain"] == {"id": "default", "name": "Default"} and receipt["expires_at"] > receipt["issued_at"]
    rest = login(seeded, "totp", receipt=first.headers[RECEIPT])
    assert rest.status == 201 and rest.json["token"]["methods"] == ["password", "totp"]


def test_a_receipt_is_no_token_and_a_token_no_receipt(seeded: TestCloud) -> None:
    want(seeded, [["password", "totp"]])
    text = login(seeded, "password").headers[RECEIPT]
    assert seeded.call("GET", f"{V3}/auth/projects", token=text).status == 401
    assert seeded.call("GET", f"{V3}/auth/tokens", token="admin", headers={"X-Subject-Token": text}).status == 404
    for wrong in (seeded.token("member"), "x", text[:-4] + "AAAA", "é"):
        assert login(seeded, "totp", receipt=wrong).status == 401


def test_a_receipt_is_its_users_alone(seeded: TestCloud) -> None:
    want(seeded, [["password", "totp"]])
    text = login(seeded, "password").headers[RECEIPT]
    assert login(seeded, "password", user="reader", receipt=text).status == 401


def test_a_receipt_is_void_when_the_password_changes(seeded: TestCloud) -> None:
    want(seeded, [["password", "totp"]])
    text = login(seeded, "password").headers[RECEIPT]
    seeded.call("PATCH", f"{V3}/users/{seeded.user_id('member')}", token="admin", json={"user": {"password": "another"}})
    assert login(seeded, "totp", receipt=text).status == 401


def test_rules_that_are_switched_off_or_name_what_is_not_there_lock_nobody_out(seeded: TestCloud) -> None:
    assert want(seeded, [["password", "totp"]], multi_factor_auth_enabled=False) == 200
    assert login(seeded, "password").status == 201
    assert want(seeded, [["retina", "password"]], multi_factor_auth_enabled=True) == 200
    assert login(seeded, "password").status == 201


def test_rules_that_are_none_are_refused(seeded: TestCloud) -> None:
    for rules in ("password", ["password"], [[]], [["password", "password"]], [["totp"], ["totp"]]):
        assert want(seeded, rules) == 400


def test_an_application_credential_gets_no_receipt(seeded: TestCloud) -> None:
    path = f"{V3}/users/{seeded.user_id('member')}/application_credentials"
    made = seeded.call("POST", path, token="member", json={"application_credential": {"name": "mine"}}).json["application_credential"]
    want(seeded, [["password", "totp"], ["application_credential", "totp"]])
    given = {"id": made["id"], "secret": made["secret"]}
    alone = login(seeded, "application_credential", application_credential=given)
    assert alone.status == 401 and RECEIPT not in alone.headers
    assert login(seeded, "application_credential", "totp", application_credential=given).status == 401
    want(seeded, [["password", "totp"], ["application_credential"]])
    assert login(seeded, "application_credential", application_credential=given).status == 201


def test_a_token_is_exchanged_for_another_as_long_as_the_rules_are_met(seeded: TestCloud) -> None:
    token = login(seeded, "password").headers["x-subject-token"]
    exchange = {"token": {"id": token}}
    assert login(seeded, "token", **exchange).status == 201
    want(seeded, [["password", "totp"]])
    refused = login(seeded, "token", **exchange)
    assert refused.status == 401 and refused.json["receipt"]["methods"] == ["password", "token"]


def test_a_user_goes_with_what_is_known_of_its_passcodes(seeded: TestCloud) -> None:
    assert login(seeded, "totp").status == 201
    assert seeded.run(seeded.db.value("SELECT count(*) FROM passcode_uses")) == 1
    assert seeded.call("DELETE", f"{V3}/users/{seeded.user_id('member')}", token="admin").status == 204
    assert seeded.run(seeded.db.value("SELECT count(*) FROM passcode_uses")) == 0


def test_a_lent_token_neither_reads_nor_makes_nor_changes_a_seed(seeded: TestCloud) -> None:
    """Who has a seed logs in as its owner, with all that it may: more than was lent."""
    user = seeded.user_id("member")
    made = seeded.call("POST", f"{V3}/users/{user}/application_credentials", "member", {"application_credential": {"name": "lent"}})
    given = {"id": made.json["application_credential"]["id"], "secret": made.json["application_credential"]["secret"]}
    lent = login(seeded, "application_credential", application_credential=given).headers["x-subject-token"]
    [seed] = seeded.call("GET", f"{V3}/credentials", token="member").json["credentials"]
    body = {"credential": {"type": "totp", "blob": "GEZDGNBVGY3TQOJQ", "user_id": user}}
    place = f"{V3}/credentials/{seed['id']}"
    for method, path, sent in (
        ("GET", f"{V3}/credentials", None), ("GET", place, None), ("POST", f"{V3}/credentials", body), ("PATCH", place, body),
        ("DELETE", place, None), ("GET", f"{V3}/users/{user}/credentials/OS-EC2", None),
        ("GET", f"{V3}/OS-TRUST/trusts?trustor_user_id={user}", None),
    ):  # fmt: skip
        answer = seeded.call(method, path, token=lent, json=sent)
        assert answer.status == 403 and seed["blob"].encode() not in answer.body, path
