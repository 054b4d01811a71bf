"""OAuth 2: an application credential gets an access token."""

import base64
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.api.harness import Answer, TestCloud

V3 = "/identity/v3"


class Client:
    """An application credential of `member`."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        path = f"{V3}/users/{cloud.user_id('member')}/application_credentials"
        made = cloud.call("POST", path, token="member", json={"application_credential": {"name": "c", "roles": [{"name": "reader"}]}})
        self.id, self.secret = made.json["application_credential"]["id"], made.json["application_credential"]["secret"]

    def ask(self, secret: str = "", header: str = "", **form: str) -> Answer:
        basic = base64.b64encode(f"{self.id}:{secret or self.secret}".encode()).decode()
        headers = {"Authorization": header or f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        content = urlencode({"grant_type": "client_credentials", **form}).encode()
        return self.cloud.call("POST", f"{V3}/OS-OAUTH2/token", headers=headers, content=content)


@pytest.fixture
def client(cloud: TestCloud) -> Iterator[Client]:
    """A client."""
    yield Client(cloud)


def test_a_client_gets_an_access_token_that_is_a_token(client: Client) -> None:
    answer = client.ask()
    assert answer.status == 200, answer
    assert answer.json["token_type"] == "Bearer" and answer.json["expires_in"] > 3000 and answer.headers["cache-control"] == "no-store"
    shown = client.cloud.call("GET", f"{V3}/auth/tokens", token="admin", headers={"X-Subject-Token": answer.json["access_token"]})
    token = shown.json["token"]
    assert token["application_credential"]["id"] == client.id and {role["name"] for role in token["roles"]} == {"reader"}


def test_the_client_may_say_who_it_is_in_the_form(client: Client) -> None:
    assert client.ask(header="x", client_id=client.id, client_secret=client.secret).status == 200


def test_who_is_not_the_client_is_told_so_in_the_words_of_the_standard(client: Client) -> None:
    for answer in (
        client.ask("wrong"),
        client.ask(header="Basic é"),
        client.ask(header="x"),
        client.ask(header="x", client_id="gone", client_secret="x"),
    ):
        assert (answer.status, answer.json["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic")


def test_other_grants_are_refused(client: Client) -> None:
    assert client.ask(grant_type="password").json["error"] == "unsupported_grant_type"
    missing = client.cloud.call("POST", f"{V3}/OS-OAUTH2/token", content=b"")
    assert (missing.status, missing.json["error"]) == (400, "invalid_request")


def test_a_form_is_bounded(client: Client) -> None:
    assert client.ask(more="x" * 20000).status == 413


def test_secrets_are_not_guessed_at_leisure(client: Client) -> None:
    statuses = [client.ask("wrong").status for _ in range(12)]
    assert statuses[0] == 401 and statuses[-1] == 429


def test_a_client_of_a_disabled_user_gets_nothing(client: Client) -> None:
    cloud = client.cloud
    cloud.call("PATCH", f"{V3}/users/{cloud.user_id('member')}", token="admin", json={"user": {"enabled": False}})
    assert client.ask().status == 401
