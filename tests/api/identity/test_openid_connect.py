"""The official clients against a real provider of OpenID Connect: what a user types, and who is let in."""

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from pileus.model.federation import FederationSettings
from tests.api.harness import TestCloud
from tests.api.identity.real_provider import SECRET, RealProvider

F = "/identity/v3/OS-FEDERATION"
RULES = [
    {
        "local": [
            {"user": {"name": "{0}", "id": "{1}", "email": "{2}"}},
            {"groups": "{3}", "domain": {"name": "Default"}},
            {"projects": [{"name": "of {0}", "roles": [{"name": "member"}]}]},
        ],
        "remote": [
            {"type": "OIDC-name"},
            {"type": "HTTP_OIDC_SUB"},
            {"type": "OIDC-email"},
            {"type": "OIDC-groups", "whitelist": ["staff"]},
            {"type": "OIDC-groups", "any_one_of": ["staff"]},
        ],
    },
    {"local": [{"user": {"name": "robot {0}"}}, {"group": {"name": "staff", "domain": {"id": "default"}}}],
     "remote": [{"type": "OIDC-client_id"}, {"type": "OIDC-sub", "any_one_of": ["by-jwt"]}]},
]  # fmt: skip
PASSWORDS = {"alice": "word of alice", "mallory": "word of mallory"}
CALLBACK = "/identity/v3/auth/OS-FEDERATION/identity_providers/corp/protocols/openid/callback"


@pytest.fixture(scope="module")
def provider(shared_cloud: TestCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealProvider]:
    one = RealProvider(shared_cloud.url + CALLBACK, tmp_path_factory.mktemp("provider") / "log")
    yield one
    one.close()


@pytest.fixture(scope="module")
def corp(shared_cloud: TestCloud, provider: RealProvider) -> TestCloud:
    """A cloud that knows the provider: `openid` by opaque tokens, `jwt` by signed ones. Group staff is member of project demo."""
    cloud = shared_cloud
    for path, body in {
        "identity_providers/corp": {"identity_provider": {"enabled": True, "remote_ids": [provider.issuer]}},
        "mappings/corp": {"mapping": {"rules": RULES}},
        "identity_providers/corp/protocols/openid": {"protocol": {"mapping_id": "corp", "remote_id_attribute": "HTTP_OIDC_ISS"}},
        "identity_providers/corp/protocols/jwt": {"protocol": {"mapping_id": "corp"}},
        "identity_providers/corp/protocols/openid/openid": {
            "openid": {"issuer": provider.issuer, "client_id": "pileus", "client_secret": SECRET, "userinfo": True},
        },
        "identity_providers/corp/protocols/jwt/openid": {
            "openid": {"issuer": provider.issuer, "client_id": "by-jwt", "audiences": ["the cloud"]},
        },
    }.items():  # fmt: skip
        made = cloud.call("PUT", f"{F}/{path}", token="admin", json=body)
        assert made.status == 201, made
    group = cloud.call("POST", "/identity/v3/groups", token="admin", json={"group": {"name": "staff"}}).json["group"]["id"]
    role = cloud.call("GET", "/identity/v3/roles?name=member", token="admin").json["roles"][0]["id"]
    where = f"/identity/v3/projects/{cloud.project_id()}/groups/{group}/roles/{role}"
    assert cloud.call("PUT", where, token="admin").status == 204
    return cloud


def options(provider: RealProvider, method: str, protocol: str, client: str, **more: str) -> dict[str, str]:
    """What the client is told in its environment."""
    return {
        "OS_AUTH_TYPE": method, "OS_IDENTITY_PROVIDER": "corp", "OS_PROTOCOL": protocol, "OS_CLIENT_ID": client, "OS_CLIENT_SECRET": SECRET,
        "OS_DISCOVERY_ENDPOINT": f"{provider.issuer}/.well-known/openid-configuration", "OS_OPENID_SCOPE": "openid profile email", **more,
    }  # fmt: skip


def openstack(cloud: TestCloud, told: dict[str, str], *words: str, check: bool = True) -> Any:
    rest = {"OS_USERNAME": "", "OS_PASSWORD": "", "OS_USER_DOMAIN_ID": ""} | told
    return cloud.openstack(*words, check=check, **rest)


@pytest.mark.parametrize(("protocol", "client"), [("openid", "pileus"), ("jwt", "by-jwt")])
def test_a_user_logs_in_by_name_and_password_at_the_provider(corp: TestCloud, provider: RealProvider, protocol: str, client: str) -> None:
    told = options(provider, "v3oidcpassword", protocol, client, OS_USERNAME="alice", OS_PASSWORD=PASSWORDS["alice"])
    token = openstack(corp, told, "token", "issue", "-f", "json")
    assert token["project_id"] == corp.project_id()
    user = corp.call("GET", f"/identity/v3/users/{token['user_id']}", token="admin").json["user"]
    assert user["federated"] == [{"idp_id": "corp", "protocols": [{"protocol_id": protocol, "unique_id": "u-alice"}]}]
    assert user["email"] == "alice@example.org"
    assert openstack(corp, told, "server", "list", "-f", "json") == []


def test_a_user_reaches_the_project_that_the_mapping_makes(corp: TestCloud, provider: RealProvider) -> None:
    told = options(provider, "v3oidcpassword", "openid", "pileus", OS_USERNAME="alice", OS_PASSWORD=PASSWORDS["alice"])
    domain = corp.call("GET", f"{F}/identity_providers/corp", token="admin").json["identity_provider"]["domain_id"]
    own = {**told, "OS_PROJECT_NAME": "of alice", "OS_PROJECT_DOMAIN_ID": domain}
    found = openstack(corp, own, "federation", "project", "list", "-f", "json")
    assert {"of alice", "demo"} == {one["Name"] for one in found}


def test_a_program_logs_in_by_its_client_credentials(corp: TestCloud, provider: RealProvider) -> None:
    told = options(provider, "v3oidcclientcredentials", "jwt", "by-jwt")
    token = openstack(corp, told, "token", "issue", "-f", "json")
    user = corp.call("GET", f"/identity/v3/users/{token['user_id']}", token="admin").json["user"]
    assert user["name"] == "robot by-jwt"


def access_token(provider: RealProvider, client: str, username: str, kind: str = "access_token") -> str:
    auth = v3.OidcPassword(
        "http://127.0.0.1:1", "corp", "openid", client, SECRET, access_token_type=kind, scope="openid profile email",
        discovery_endpoint=f"{provider.issuer}/.well-known/openid-configuration", username=username, password=PASSWORDS[username],
    )  # fmt: skip
    one = session.Session()
    return auth._get_access_token(one, {**auth.get_payload(one), "grant_type": "password"})


def test_an_access_token_from_elsewhere_is_shown(corp: TestCloud, provider: RealProvider) -> None:
    token = access_token(provider, "by-jwt", "alice")
    told = {"OS_AUTH_TYPE": "v3oidcaccesstoken", "OS_IDENTITY_PROVIDER": "corp", "OS_PROTOCOL": "jwt", "OS_ACCESS_TOKEN": token}
    assert openstack(corp, told, "token", "issue", "-f", "json")["project_id"] == corp.project_id()


def test_an_id_token_for_the_client_is_none_for_the_cloud(corp: TestCloud, provider: RealProvider) -> None:
    token = access_token(provider, "by-jwt", "alice", "id_token")
    auth = v3.OidcAccessToken(f"{corp.url}/identity/v3", "corp", "jwt", access_token=token)
    with pytest.raises(exceptions.Unauthorized, match="audience"):
        auth.get_access(session.Session())


@pytest.mark.parametrize(("protocol", "client"), [("openid", "stranger"), ("jwt", "stranger"), ("jwt", "pileus")])
def test_a_token_that_another_client_was_given_is_refused(corp: TestCloud, provider: RealProvider, protocol: str, client: str) -> None:
    auth = v3.OidcAccessToken(f"{corp.url}/identity/v3", "corp", protocol, access_token=access_token(provider, client, "alice"))
    with pytest.raises(exceptions.Unauthorized):
        auth.get_access(session.Session())


def test_a_token_that_was_taken_back_is_refused(corp: TestCloud, provider: RealProvider) -> None:
    token = access_token(provider, "pileus", "alice")
    auth = v3.OidcAccessToken(f"{corp.url}/identity/v3", "corp", "openid", access_token=token)
    assert auth.get_access(session.Session()).username == "alice"
    body = urllib.parse.urlencode({"token": token, "client_id": "pileus", "client_secret": SECRET}).encode()
    with urllib.request.urlopen(f"{provider.issuer}/token/revocation", body, timeout=20) as answer:
        assert answer.status == 200
    with pytest.raises(exceptions.Unauthorized):
        v3.OidcAccessToken(f"{corp.url}/identity/v3", "corp", "openid", access_token=token).get_access(session.Session())


def test_whom_the_mapping_does_not_want_stays_out(corp: TestCloud, provider: RealProvider) -> None:
    told = options(provider, "v3oidcpassword", "openid", "pileus", OS_USERNAME="mallory", OS_PASSWORD=PASSWORDS["mallory"])
    assert "HTTP 401" in openstack(corp, told, "token", "issue", check=False)


DASHBOARD = "http://127.0.0.1:9/auth/websso/"


def test_a_user_logs_in_by_browser_and_the_dashboards_page_gets_a_token(corp: TestCloud, provider: RealProvider) -> None:
    settings = FederationSettings(trusted_dashboards=[DASHBOARD])
    corp.cloud.config = msgspec.structs.replace(corp.cloud.config, federation=settings)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def fill_in(page: Any, **fields: str) -> Any:
        where = re.search(r'action="([^"]+)"', page.read().decode())
        assert where, page.url
        return browser.open(urllib.parse.urljoin(page.url, where[1]), urllib.parse.urlencode(fields).encode(), timeout=20)

    page = browser.open(f"{corp.url}/identity/v3/auth/OS-FEDERATION/websso/openid?origin={urllib.parse.quote(DASHBOARD)}", timeout=20)
    assert page.url.startswith(provider.issuer)
    page = fill_in(page, prompt="login", login="u-alice", password="any")
    page = fill_in(page, prompt="consent")
    assert page.url.startswith(corp.url + CALLBACK)
    posted = re.search(r'action="([^"]+)".*name="token" id="token" value="([^"]+)"', page.read().decode())
    assert posted and posted[1] == DASHBOARD
    auth = v3.Token(f"{corp.url}/identity/v3", posted[2], project_id=corp.project_id())
    assert auth.get_access(session.Session()).username == "alice"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        browser.open(page.url, timeout=20)
