"""The official client library's ways to log in, over a socket."""

import base64
import time
from typing import Any

import pytest
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from pileus.core.totp import PERIOD, passcode
from tests.api.harness import PASSWORD, TestCloud

SEED = b"a seed of twenty byt"


@pytest.fixture
def url(cloud: TestCloud) -> str:
    """Where the identity service is; `member` has a seed, and needs it beside its password."""
    user = cloud.user_id("member")
    body = {"credential": {"type": "totp", "blob": base64.b32encode(SEED).decode(), "user_id": user}}
    assert cloud.call("POST", "/identity/v3/credentials", token="member", json=body).status == 201
    rules = {"user": {"options": {"multi_factor_auth_rules": [["password", "totp"]]}}}
    assert cloud.call("PATCH", f"/identity/v3/users/{user}", token="admin", json=rules).status == 200
    return f"{cloud.url}/identity/v3"


def member() -> dict[str, Any]:
    return {"username": "member", "user_domain_id": "default", "project_name": "demo", "project_domain_id": "default"}


def code() -> str:
    return passcode(SEED, int(time.time() // PERIOD))


def test_a_login_by_two_methods_at_once(url: str) -> None:
    methods = [
        v3.PasswordMethod(username="member", user_domain_id="default", password=PASSWORD),
        v3.TOTPMethod(username="member", user_domain_id="default", passcode=code()),
    ]
    auth = v3.Auth(url, methods, project_name="demo", project_domain_id="default")
    assert session.Session(auth).get_token()


def test_a_login_that_goes_on_with_its_receipt(url: str) -> None:
    with pytest.raises(exceptions.MissingAuthMethods) as wanted:
        v3.Password(url, password=PASSWORD, **member()).get_access(session.Session())
    error = wanted.value
    assert error.required_auth_methods == [["password", "totp"]] and error.methods == ["password"]
    more = v3.TOTP(url, passcode=code(), **member())
    more.add_method(v3.ReceiptMethod(receipt=error.receipt))
    assert more.get_access(session.Session()).project_id


def test_a_login_by_oauth_2(cloud: TestCloud, url: str) -> None:
    path = f"/identity/v3/users/{cloud.user_id('reader')}/application_credentials"
    made = cloud.call("POST", path, token="reader", json={"application_credential": {"name": "c"}}).json["application_credential"]
    auth = v3.OAuth2ClientCredential(
        url, oauth2_endpoint=f"{url}/OS-OAUTH2/token", oauth2_client_id=made["id"], oauth2_client_secret=made["secret"]
    )
    answer = session.Session(auth).get(f"{cloud.url}/compute/v2.1/servers")
    assert answer.status_code == 200
